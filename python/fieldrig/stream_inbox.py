"""Expectations on a stream of bytes (a console), and reading from it line by line or byte by byte.

Rules of this file:

- The rules at the top of ``expect.py`` hold: a cursor, a window, arrival stamps. A match, and whatever is read,
  consumes everything up to its end.
- A mark is a place in the stream: ``after=mark`` looks at all that came behind it, also at what was matched before.
- What is read begins with the first byte that came surely behind the cursor. Where bytes may have come before or after
  it, nobody knows where that is: a line is read from the next one on, and anything else is inconclusive.
- Where the search leaves out control functions of terminals, so do lines; what is read as bytes is as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ._core import Span, Stamp
from ._core.stream import Line, Received
from .errors import InconclusiveError, ObserverBlind, UnexpectedEvent, UsageError
from .expect import HasInstant, Timeline, Window, window
from .failing import failure, give_up
from .inbox import blind_if_lost, edge
from .units import human

After = HasInstant | Stamp | None
Within = str | Span | None


AT_CURSOR = "may have come before or after the cursor"
ANYTHING = "(?s-u:.)"
"""A pattern for one byte."""


@dataclass(frozen=True)
class Mark:
    """A place in a stream: behind everything that had come by then."""

    at: Stamp
    """When it was made."""
    offset: int
    """Offset of the next byte then."""
    stream: object = field(default=None, repr=False, compare=False)
    """The stream that it is a place in; for any other, the mark is an instant. None: it is one for each."""

    def describe(self) -> str:
        """What failure texts call it."""
        return f"the mark at byte {self.offset}"


@dataclass(frozen=True)
class Asked:
    """A stimulus that is followed by what can be nothing but an answer to it, such as a mark of ours that was new.

    Behind it a port may tell as badly as it will when bytes came.
    """

    at: Stamp
    """When it was issued."""
    done: Stamp
    """When the port had it."""

    def describe(self) -> str:
        """What failure texts call it."""
        return "what was sent"


class StreamMatch(Protocol):
    """Where a pattern was found in a stream."""

    @property
    def at(self) -> Stamp: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    def describe(self) -> str: ...


S = TypeVar("S", bound=StreamMatch)
S_co = TypeVar("S_co", bound=StreamMatch, covariant=True)


class StreamSource(Protocol[S_co]):
    """A stream that keeps what it received, with stamps."""

    def search(self, pattern: str | Sequence[str], start: int, after: Stamp | None, deadline_ns: int, /) -> S_co | None:
        """The match of any of the patterns that is complete first, of those that begin at offset ``start`` or behind
        it, at a byte that surely came after ``after``.

        Waits for it until the deadline of the run clock; a deadline of 0 looks only at what is there.
        """

    def search_all(
        self, patterns: Sequence[str], start: int, after: Stamp | None, deadline_ns: int, /
    ) -> Sequence[S_co | None]:
        """The same for each pattern: its match or None."""

    def take_exactly(self, count: int, start: int, after: Stamp | None, deadline_ns: int, /) -> S_co | None:
        """The first so many bytes there, once they have come."""

    def read(self, start: int, end: int, /) -> Received:
        """The bytes from one offset up to another one."""

    def read_text(self, start: int, end: int, /) -> str:
        """The text among them."""

    def offset_after(self, at: Stamp, /) -> tuple[int, int]:
        """The offset of the first byte that may have come after an instant, and of the first that surely did."""

    def alive(self, since: Stamp, /) -> str | None:
        """Why the stream cannot be believed from an instant on (hung up, overrun, bytes dropped), or None."""

    def missed(self, since: Stamp, /) -> str | None:
        """What is known to have been lost of what came from an instant on, or None."""

    @property
    def start(self) -> int:
        """The offset of the oldest byte that can be had."""

    @property
    def resolution_ns(self) -> int:
        """So long may bytes have waited in the adapter before anybody could see them."""


Look = Callable[[int, Stamp | None, int], S | None]
"""Waits for something from an offset on, behind an instant, until a deadline."""


class StreamInbox(Generic[S]):
    """Expectations on a stream of text."""

    def __init__(
        self,
        source: StreamSource[S],
        timeline: Timeline,
        name: str,
        doubt: Callable[[], str | None] = lambda: None,
        shared: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``doubt`` says why nobody knows whether anything could come, ``shared`` who else may have it, or None."""
        self._source = source
        self._timeline = timeline
        self._name = name
        self._doubt = doubt
        self._shared = shared
        self._consumed = 0

    @property
    def consumed(self) -> int:
        """Up to which offset everything was matched or read."""
        return self._consumed

    def expect(self, pattern: str | Sequence[str], after: After, within: Within, called: str | None = None) -> S:
        """The first match that lies wholly behind the cursor and arrived surely inside the window.

        Of several patterns, the match of any of them that is complete first. ``called`` names it in failures.

        Raises:
            ExpectationFailed: none came.
            InconclusiveError: one came whose arrival cannot be placed, or the host stood still.
            BenchError: the port was lost.
        """
        called = called or _called(check_patterns(pattern))
        frame = window(self._timeline, after, within, "within")
        match, verdict = self._find(pattern, frame)
        if match is not None and verdict == "pass":
            self._consumed = match.end
            return match
        raise self._gave_up(called, pattern, frame, match, verdict)

    def expect_all(self, patterns: Sequence[str], after: After, within: Within) -> list[S]:
        """All patterns, in any order, each wholly behind the cursor and inside the window.

        Returns:
            The matches in the order of the patterns.
        """
        if isinstance(patterns, str) or not patterns:
            raise UsageError("expect_all() takes a list of patterns")
        check_patterns(patterns)
        frame = window(self._timeline, after, within, "within")
        distinct = list(dict.fromkeys(patterns))
        together = dict(zip(distinct, self._find_all(distinct, frame), strict=True))
        matches: list[S] = []
        behind: dict[str, int] = {}
        for pattern in patterns:
            match = together[pattern]
            verdict = self._judge(match, frame)
            if pattern in behind:  # the same pattern twice means two of them
                match, verdict = self._find(pattern, frame, behind[pattern])
            if match is None or verdict != "pass":
                raise self._gave_up(_called([pattern]), pattern, frame, match, verdict)
            matches.append(match)
            behind[pattern] = match.end
        self._consumed = max(match.end for match in matches)
        return matches

    def expect_none(self, pattern: str | Sequence[str], after: After, for_: Within) -> None:
        """The pattern, or any of several, does not come in the window, and the port was alive to its end.

        Raises:
            UnexpectedEvent: it came.
            InconclusiveError: it may have come outside the window, or the port cannot be believed.
        """
        called = _called(check_patterns(pattern))
        frame = window(self._timeline, after, for_, "for_")
        with blind_if_lost(self._name, frame, self._timeline):
            match, verdict = self._find(pattern, frame)
        if match is not None and verdict == "pass":
            headline = f"{self._name}: {called} came, it was not to come: {match.describe()}"
            raise UnexpectedEvent(failure(headline, frame, self._timeline))
        broken = self._source.alive(frame.cursor) or self._shared()
        if broken:
            headline = f"{self._name}: no witness for the silence: {broken}"
            raise ObserverBlind(failure(headline, frame, self._timeline))
        at_an_edge = match is not None and verdict.startswith("unsure")
        unsure = match.describe() if match is not None and at_an_edge else self._at_the_cursor(pattern, frame)
        if unsure:
            headline = f"{self._name}: {unsure} came at an edge of the window in which {called} was not to come"
            raise InconclusiveError(failure(headline, frame, self._timeline))

    def read_line(self, after: After, within: Within) -> Line:
        """The next whole line, without what ends it. Raises what ``expect`` raises."""
        frame = window(self._timeline, after, within, "within")
        match = self._wait(r"\n", frame, None, "a line")
        begin, unsure = self._begin(frame)
        if unsure and not self._source.read(begin - 1, begin).data.endswith(b"\n"):
            begin, match = match.end, self._wait(r"\n", frame, match.end, "a line")
        text = self._source.read_text(begin, match.end)
        self._consumed = match.end
        return Line(text.rstrip("\r\n"), match.at)

    def read_exactly(self, count: int, after: After, within: Within) -> Received:
        """The next so many bytes. Raises what ``expect`` raises."""
        if count < 1:
            raise UsageError(f"read_exactly() takes a positive number of bytes, not {count}")
        frame = window(self._timeline, after, within, "within")

        def look(start: int, cursor: Stamp | None, deadline_ns: int) -> S | None:
            return self._source.take_exactly(count, start, cursor, deadline_ns)

        match, verdict = self._await(look, frame, 0)
        if match is None or verdict != "pass":
            raise self._gave_up(f"{count} bytes", None, frame, match, verdict)
        self._surely_begins(frame)
        self._consumed = match.end
        return self._source.read(match.start, match.end)

    def read_until(self, pattern: str, after: After, within: Within) -> Received:
        """The bytes up to the end of the next match. Raises what ``expect`` raises."""
        check_patterns(pattern)
        frame = window(self._timeline, after, within, "within")
        match = self._wait(pattern, frame, None)
        begin = self._surely_begins(frame)
        self._consumed = match.end
        return self._source.read(begin, match.end)

    def text(self, start: int, end: int) -> str:
        """The text from one offset up to another one, with line feeds as line ends."""
        return self._source.read_text(start, end).replace("\r\n", "\n")

    def more_than(self, match: S, deadline_ns: int) -> bool:
        """Whether anything that patterns can see comes behind a match until a deadline."""
        return self._source.search(ANYTHING, match.end, None, deadline_ns) is not None

    def _wait(self, pattern: str, frame: Window, start: int | None, called: str | None = None) -> S:
        """The first match, from an offset on if one is given."""

        def look(begin: int, cursor: Stamp | None, deadline_ns: int) -> S | None:
            begin, cursor = (begin, cursor) if start is None else (start, None)
            return self._source.search(pattern, begin, cursor, deadline_ns)

        match, verdict = self._await(look, frame, 0)
        if match is None or verdict != "pass":
            raise self._gave_up(called or _called([pattern]), pattern, frame, match, verdict)
        return match

    def _mark(self, frame: Window) -> Mark | None:
        """The place in this stream that a window begins at. A place in another one is an instant like any other."""
        mark = frame.after
        return mark if isinstance(mark, Mark) and mark.stream in (None, self._source) else None

    def _begin(self, frame: Window) -> tuple[int, bool]:
        """Where reading begins, and whether bytes right before it may belong to it."""
        if (mark := self._mark(frame)) is not None:
            return mark.offset, False
        perhaps, surely = self._source.offset_after(frame.cursor)
        return max(self._consumed, surely), max(self._consumed, perhaps) < surely

    def _surely_begins(self, frame: Window) -> int:
        """Where reading begins, if that is known."""
        begin, unsure = self._begin(frame)
        if unsure:
            headline = f"{self._name}: bytes right before offset {begin} may have come before or after the cursor"
            hint = "read from a mark on: mark = console.mark(), .., after=mark"
            raise InconclusiveError(failure(headline, frame, self._timeline, hint=hint))
        return begin

    def _find(self, pattern: str | Sequence[str], frame: Window, behind: int = 0) -> tuple[S | None, str]:
        def look(start: int, cursor: Stamp | None, deadline_ns: int) -> S | None:
            return self._source.search(pattern, start, cursor, deadline_ns)

        return self._await(look, frame, behind)

    def _await(self, look: Look[S], frame: Window, behind: int) -> tuple[S | None, str]:
        """Waits for something until the end of the window, and for so much longer as it may have been held up."""
        start, cursor = self._place(frame, behind)
        deadline_ns = frame.deadline_ns
        while True:
            match = look(start, cursor, deadline_ns)
            if match is not None:
                return match, self._judge(match, frame)
            owed = self._owed(frame)
            if deadline_ns >= frame.deadline_ns + owed:
                return None, "none"
            deadline_ns = frame.deadline_ns + owed

    def _owed(self, frame: Window) -> int:
        """For how long what came in the window may not be seen behind its end: the host stood still, or an adapter
        still has it."""
        return self._timeline.stalled_ns(frame.start) + self._source.resolution_ns

    def _find_all(self, patterns: Sequence[str], frame: Window) -> Sequence[S | None]:
        start, cursor = self._place(frame, 0)
        deadline_ns = frame.deadline_ns
        while True:
            matches = self._source.search_all(patterns, start, cursor, deadline_ns)
            if None not in matches:
                return matches
            owed = self._owed(frame)
            if deadline_ns >= frame.deadline_ns + owed:
                return matches
            deadline_ns = frame.deadline_ns + owed

    def _place(self, frame: Window, behind: int) -> tuple[int, Stamp | None]:
        """From which offset on something is looked for, and behind which instant."""
        if (mark := self._mark(frame)) is not None:
            return max(mark.offset, behind), None
        if isinstance(frame.after, Asked):
            return max(self._consumed, self._source.offset_after(frame.cursor)[0], behind), None
        return max(self._consumed, behind), frame.cursor

    def _judge(self, match: S | None, frame: Window) -> str:
        if match is None:
            return "none"
        return frame.judge(match.at, self._timeline.stalled_ns(frame.start), isinstance(frame.after, Asked))

    def _at_the_cursor(self, pattern: str | Sequence[str], frame: Window) -> str | None:
        """A match that begins among the bytes that may have come before or after the cursor."""
        if self._mark(frame) is not None:
            return None
        perhaps, surely = self._source.offset_after(frame.cursor)
        start = max(self._consumed, perhaps)
        if start >= surely:
            return None
        match = self._source.search(pattern, start, None, 0)
        return match.describe() if match is not None and match.start < surely else None

    def _gave_up(
        self, called: str, pattern: str | Sequence[str] | None, frame: Window, match: S | None, verdict: str
    ) -> Exception:
        unsure = nearest = None
        if match is not None and verdict == "late":
            nearest = f"{match.describe()}, but too late"
        elif match is not None:
            why = AT_CURSOR if verdict == "unsure-before" else edge(self._timeline.stalled_ns(frame.start))
            unsure = f"{match.describe()} {why}"
        else:
            at_cursor = self._at_the_cursor(pattern, frame) if pattern else None
            stale = None if at_cursor or not pattern else self._stale(pattern, frame)
            missed = self._source.missed(frame.cursor) or self._doubt() or self._shared()
            unsure = f"{at_cursor} {AT_CURSOR}" if at_cursor else missed
            nearest = f"{stale.describe()}, but it came before the cursor: stale" if stale else None
        late = verdict == "late"
        hint = self._too_soon() if unsure and AT_CURSOR in unsure else None
        return give_up(f"{self._name}: {called} did not come", frame, self._timeline, unsure, nearest, late, hint)

    def _too_soon(self) -> str | None:
        """What helps if a port tells so badly when bytes came that an answer may have come before what was asked."""
        held = self._source.resolution_ns
        if held == 0:
            return None
        text = f"this port may hold bytes for {human(held)}: nobody knows that what came so soon is an answer"
        remedy = "`fieldrig calibrate PORT` measures for how long it really does; of a serial server `holds=` says it"
        return f"{text}; {remedy}"

    def _stale(self, pattern: str | Sequence[str], frame: Window) -> S | None:
        """A match before the cursor."""
        stale = self._source.search(pattern, self._source.start, None, 0)
        begin, _ = self._begin(frame)
        return stale if stale is not None and stale.start < begin else None


def _called(patterns: Sequence[str]) -> str:
    """What failure texts call patterns."""
    if len(patterns) == 1:
        return f"/{patterns[0]}/"
    return "any of " + ", ".join(f"/{pattern}/" for pattern in patterns)


def check_patterns(patterns: str | Sequence[str]) -> list[str]:
    """The patterns as a list; whoever searches refuses what is no regular expression.

    Raises:
        UsageError: one of them is no text, or empty, or there is none.
    """
    several = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(several, list | tuple):
        raise UsageError(f"a pattern is a text, not {patterns!r}")
    for pattern in several:
        if not isinstance(pattern, str):
            raise UsageError(f"a pattern is a text, not {pattern!r}")
        if not pattern:
            raise UsageError("an empty pattern is there at once", hint='for whatever comes first write r"(?s)."')
    if not several:
        raise UsageError("there is no pattern to look for")
    return list(several)
