"""Stimulus programs: what the core does to a line alone, and when, while Python does nothing or something else.

::

    from fieldrig.stimulus import Program

    hello = Program().send(b"hello\\r\\n", at="10ms").wait(rb"ok", within="1s").send(b"go\\r\\n", after="5ms")
    polls = Program().send(b"poll\\r\\n").repeat(every="10ms", count=100, late="skip")

    played = console.play(hello + polls)
    print(played.sent[0].late, played.of(3)[0].delay, len(played.skipped))

Rules of this file:

- A program is a value: each method gives a new one, so parts can be named, put together (`+`) and used again.
- What is wrong with it is said where it is written, by `UsageError`; what only the port can know ends it as `refused`.
- Steps are numbered from 1, those inside others (`then=`, `otherwise=`, repeats) included, in the order of writing.

What a step counts from, and what becomes of what is late, stands in docs/stimulus.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

from fieldrig._core import Span, Stamp
from fieldrig._core.stream import Event, Played, Playing
from fieldrig.errors import UsageError
from fieldrig.stimulus_step import OTHERWISE, Place, When, close_to

__all__ = ["Event", "Performance", "Played", "Playing", "Program"]

Late = Literal["catch_up", "skip", "abort"]
Lowered = list[dict[str, Any]]


class Program:
    """What is to be done, step by step. See the top of this file.

    When a step is due is said by at most one of these (durations with their unit); without one, it is due together with
    the step before it, or when that is over:

    - ``at``: so long after the start of the program; within a repeat, of the slot.
    - ``after``: so long after the step before it was due, or after the arrival that it waited for, or after the end of
      a break; with ``of="NAME"``, after the step of that name.
    - ``quiet``: once nothing was on the line for so long, either way.
    - ``after_received``: so long after the last byte that had come when the step was reached.
    - ``after_sent``: so long after the last bit of ours had left.

    In the signatures below they are ``**when``.
    """

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: tuple[dict[str, Any], ...] = ()

    def send(
        self,
        data: bytes,
        *,
        name: str | None = None,
        **when: Unpack[When],
    ) -> Program:
        """Sends bytes.

        Raises:
            UsageError: nothing to send, a duration without unit, two answers to the question when.
        """
        place = self._place("send", name)
        due = place.when(**when)
        return self._with(place, what="send", pieces=[(0, place.octets(data))], when=due)

    def burst(
        self,
        pieces: bytes | Sequence[bytes],
        *,
        gap: str | Span | Sequence[str | Span],
        name: str | None = None,
        **when: Unpack[When],
    ) -> Program:
        """Sends pieces with silence between them. A gap counts from the last bit before it, and is never shorter.

        Args:
            pieces: the pieces; bytes are a piece for each byte.
            gap: the silence, one for all or one for each place between two pieces.

        Raises:
            UsageError: as `send`; fewer or more gaps than places.
        """
        place = self._place("burst", name)
        due = place.when(**when)
        if isinstance(pieces, bytes | bytearray):
            pieces = [bytes(pieces[index : index + 1]) for index in range(len(pieces))]
        parts = [place.octets(piece) for piece in pieces]
        if not parts:
            raise place.wrong("there is nothing to send", "give it bytes, or a list of them")
        gaps = list(gap) if isinstance(gap, Iterable) and not isinstance(gap, str) else [gap] * (len(parts) - 1)
        if len(gaps) != len(parts) - 1:
            raise place.wrong(
                f"{len(parts)} pieces have {len(parts) - 1} gaps between them, not {len(gaps)}",
                'write one gap for all, such as gap="2ms", or one for each place',
            )
        lengths = [0, *(place.nanos(one, "gap") for one in gaps)]
        return self._with(place, what="send", pieces=list(zip(lengths, parts, strict=True)), when=due)

    def rts(
        self,
        on: bool,
        *,
        name: str | None = None,
        **when: Unpack[When],
    ) -> Program:
        """Drives request-to-send. On a port that has none, the program ends there as `refused`."""
        place = self._place("rts", name)
        due = place.when(**when)
        return self._with(place, what="line", command=("rts", place.switch(on)), when=due)

    def dtr(
        self,
        on: bool,
        *,
        name: str | None = None,
        **when: Unpack[When],
    ) -> Program:
        """Drives data-terminal-ready. On a port that has none, the program ends there as `refused`."""
        place = self._place("dtr", name)
        due = place.when(**when)
        return self._with(place, what="line", command=("dtr", place.switch(on)), when=due)

    def send_break(
        self,
        length: str | Span,
        *,
        name: str | None = None,
        **when: Unpack[When],
    ) -> Program:
        """Holds the line low for so long; what follows counts from its end."""
        place = self._place("send_break", name)
        due = place.when(**when)
        held = place.nanos(length, "length")
        if not held:
            raise place.wrong("a break of no length is none", 'write for example send_break("20ms")')
        return self._with(place, what="line", command=("break", held), when=due)

    def settings(
        self,
        line: str,
        *,
        name: str | None = None,
        **when: Unpack[When],
    ) -> Program:
        """Sets speed and format of the line: ``"19200 8N1"``. With ``quiet="0ms"``, once what was sent has left."""
        place = self._place("settings", name)
        due = place.when(**when)
        if not isinstance(line, str):
            raise place.wrong(f"{line!r} is no speed and format", 'write for example settings("19200 8N1")')
        return self._with(place, what="line", command=("settings", line), when=due)

    def pause(
        self,
        after: str | Span | None = None,
        *,
        at: str | Span | None = None,
        of: str | None = None,
        name: str | None = None,
    ) -> Program:
        """Does nothing until it is due; what follows counts from there."""
        place = self._place("pause", name)
        return self._with(place, what="pause", when=place.when(at=at, after=after, of=of))

    def wait(
        self,
        until: str | bytes | int,
        *,
        within: str | Span | None = None,
        then: Program | None = None,
        otherwise: Literal["abort", "go_on"] | Program = "abort",
        name: str | None = None,
    ) -> Program:
        """Waits for a pattern, or so many bytes, behind the later of the last match and the last send of the program.

        A match counts as soon as it is there: let the pattern end with what ends the text, if what follows would make
        it longer.

        Args:
            until: a regular expression over the bytes, as `Console.expect` takes it, or a number of bytes.
            within: at most so long after the step before it was done.
            then: what is done next if it came.
            otherwise: what is done if it did not: the program ends (`timed out`), goes on, or does this first.
        """
        place = self._place("wait", name)
        return self._with(
            place,
            what="wait",
            until=place.awaited(until),
            within=place.limit(within),
            seen=_inner(place, then if then is not None else "go_on", "then"),
            missed=_inner(place, otherwise, "otherwise"),
        )

    def wait_silence(
        self,
        length: str | Span,
        *,
        within: str | Span | None = None,
        then: Program | None = None,
        otherwise: Literal["abort", "go_on"] | Program = "abort",
        name: str | None = None,
    ) -> Program:
        """Waits until nothing has come for so long. The rest as `wait`."""
        place = self._place("wait_silence", name)
        return self._with(
            place,
            what="wait",
            until=("silence", place.nanos(length, "length")),
            within=place.limit(within),
            seen=_inner(place, then if then is not None else "go_on", "then"),
            missed=_inner(place, otherwise, "otherwise"),
        )

    def wait_none(
        self,
        until: str | bytes | int,
        *,
        for_: str | Span,
        otherwise: Literal["abort", "go_on"] | Program = "abort",
        name: str | None = None,
    ) -> Program:
        """Sees to it that something does not come for so long.

        Args:
            until: as `wait`.
            for_: how long.
            otherwise: what is done as soon as it comes: the program ends (`seen`), goes on, or does this first.
        """
        place = self._place("wait_none", name)
        return self._with(
            place,
            what="wait",
            until=place.awaited(until),
            within=place.nanos(for_, "for_"),
            seen=_inner(place, otherwise, "otherwise"),
            missed=[],
        )

    def repeat(
        self,
        *,
        every: str | Span,
        count: int | None = None,
        until: str | bytes | None = None,
        within: str | Span | None = None,
        otherwise: Literal["abort", "go_on"] | Program = "abort",
        late: Late = "catch_up",
        tolerance: str | Span | None = None,
        name: str | None = None,
    ) -> Program:
        """Repeats all that was written so far, in slots of a fixed period: slot n begins n periods after the first.

        Args:
            every: the period.
            count: how many slots.
            until: no slot begins after this pattern came, wherever in the repeat.
            within: with `until`: no slot begins later than this after the first.
            otherwise: what is done if `until` did not come `within`: the program ends, goes on, or does this first.
            late: what becomes of a slot that cannot begin within `tolerance`: ``"catch_up"`` does it at once,
                ``"skip"`` leaves it out (an event says so), ``"abort"`` ends the program.
            tolerance: how late is late; one period if not given.

        Raises:
            UsageError: nothing to repeat, no period, a count that is none, an unknown policy.
        """
        place = self._place("repeat", name)
        period = place.nanos(every, "every")
        place.check_repeat(self, period, count, late, tolerance)
        place.check_end(count, until, within)
        whole = Program()
        return whole._with(
            place,
            what="repeat",
            steps=self,
            every=period,
            count=count,
            until=None if until is None else place.awaited(until)[1],
            within=None if within is None else place.nanos(within, "within"),
            missed=_inner(place, otherwise, "otherwise"),
            late=late,
            tolerance=None if tolerance is None else place.nanos(tolerance, "tolerance"),
        )

    def then(self, more: Program) -> Program:
        """This program, then another; `+` is the same."""
        if not isinstance(more, Program):
            raise UsageError(f"Program.then(): {more!r} is no program", hint="write then(Program().send(..))")
        both = Program()
        both._steps = self._steps + more._steps
        return both

    def __add__(self, more: Program) -> Program:
        return self.then(more)

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"<Program, {len(self._steps)} steps>"

    def lowered(self) -> tuple[Lowered, bool]:
        """The steps as the core takes them, and whether the program has no end of its own.

        Raises:
            UsageError: the program is empty; a step counts from a name that no step before it has.
        """
        if not self._steps:
            raise UsageError("the program is empty", hint="write for example Program().send(b'..', at=\"10ms\")")
        lowering = _Lowering()
        return lowering.steps(self), lowering.endless

    def step(self, number: int) -> str:
        """What the step of a number does, in a word: ``wait``."""
        lowering = _Lowering()
        lowering.steps(self)
        return lowering.words.get(number, "step")

    def awaits(self) -> dict[int, Awaited]:
        """What the steps wait for that decide whether the program is fulfilled, by their numbers."""
        lowering = _Lowering()
        lowering.steps(self)
        return lowering.awaits

    def _place(self, method: str, name: str | None) -> Place:
        place = Place(method, len(self._steps) + 1, name)
        if name is not None and not (isinstance(name, str) and name):
            raise place.wrong(f"name={name!r} is no name", 'write for example name="login"')
        return place

    def _with(self, place: Place, **step: Any) -> Program:
        longer = Program()
        longer._steps = (*self._steps, {"word": place.method, "name": place.name, **step})
        return longer


@dataclass(frozen=True)
class Awaited:
    """What a step waits for: `what` is a `pattern`, a `count` of bytes, or a `silence` (ns)."""

    word: str
    what: str
    value: str | int


class _Lowering:
    """Numbers the steps and looks whether the names that they count from are there."""

    def __init__(self) -> None:
        self.number = 0
        self.names: set[str] = set()
        self.words: dict[int, str] = {}
        self.awaits: dict[int, Awaited] = {}
        self.endless = False

    def steps(self, program: Program) -> Lowered:
        return [self.step(step) for step in program._steps]

    def step(self, step: dict[str, Any]) -> dict[str, Any]:
        lowered = {key: value for key, value in step.items() if key != "word"}
        if isinstance(step.get("steps"), Program):  # they were written before the repeat
            lowered["steps"] = self.steps(step["steps"])
        self.number += 1
        number, word = self.number, step["word"]
        self.words[number] = word
        lowered["number"] = number
        when = step.get("when")
        if when is not None and when[2] is not None and when[2] not in self.names:
            raise UsageError(
                f"Program, step {number}, {word}(): no step before it has the name {when[2]!r}",
                hint=close_to(when[2], self.names) or "give the step that it counts from a name=",
            )
        if step["what"] == "wait" and (step["seen"] is None or step["missed"] is None):
            self.awaits[number] = Awaited(word, *step["until"])
        for key in ("seen", "missed"):
            if isinstance(step.get(key), Program):
                lowered[key] = self.steps(step[key])
        if step["what"] == "repeat" and step["count"] is None and step["until"] is None:
            self.endless = True
        if step["name"] is not None:
            self.names.add(step["name"])
        return lowered


class Performance:
    """A program that runs on the console of a device: what it sends moves the cursor of the device.

    While it runs the cursor stands at its start; `wait` and `stop` move it to the last thing that it did.
    """

    def __init__(self, playing: Playing, note: Callable[[Played], None]) -> None:
        self._playing = playing
        self._note = note

    @property
    def at(self) -> Stamp:
        """When it begins: what `at=` counts from."""
        return self._playing.at

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._playing.running

    @property
    def so_far(self) -> Played:
        """What it came to so far."""
        return self._playing.so_far

    def wait(self, *, within: str | Span | None = None) -> Played:
        """Waits for its end, at most so long; gives what it came to by then.

        Raises:
            UsageError: it has no end, and no `within` was given.
        """
        played = self._playing.wait(within=within)
        self._note(played)
        return played

    def stop(self) -> Played:
        """Ends it now. What was to be sent later is not sent. Stopping what has ended is fine."""
        played = self._playing.stop()
        self._note(played)
        return played

    def __repr__(self) -> str:
        return f"<Performance, {'running' if self.running else 'ended'}>"


def _inner(place: Place, what: object, name: str) -> Program | list[object] | None:
    """What follows a condition: None is the end of the program."""
    if isinstance(what, Program):
        return what
    if what == "abort":
        return None
    if what == "go_on":
        return []
    hint = close_to(what, OTHERWISE) if isinstance(what, str) else None
    raise place.wrong(f'{name}={what!r} is not "abort", "go_on" or a Program', hint)
