"""Expectations on an inbox of pieces: messages, frames on a wire. Those on streams stand in ``stream_inbox.py``.

The rules stand at the top of ``expect.py``. What differs is consumption: a match takes one piece out of an inbox of
pieces, and everything up to its end out of a stream.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from ._core import Span, Stamp
from .errors import ConnectionLost, InconclusiveError, ObserverBlind, PortLost, UnexpectedEvent
from .expect import Doubt, HasInstant, Observation, Timeline, Window, window
from .failing import failure, give_up
from .units import human

M = TypeVar("M", bound=Observation)
M_co = TypeVar("M_co", bound=Observation, covariant=True)
M_contra = TypeVar("M_contra", bound=Observation, contravariant=True)


class Pattern(Protocol[M_contra]):
    """What is waited for; its text says so in a failure."""

    def fits(self, piece: M_contra, /) -> bool:
        """Whether a piece is what is waited for, or may be."""

    def doubt(self, piece: M_contra, /) -> str | None:
        """Why nobody knows whether a piece that fits is what is waited for, or None."""


class MessageSource(Protocol[M_co]):
    """Where messages come from."""

    def wait(self, index: int, deadline_ns: int) -> Sequence[M_co]:
        """The messages from number ``index`` on; waits for the first of them until the deadline of the run clock.

        At the deadline what has arrived is read once more, so an empty answer means that nothing came. Where old ones
        are dropped, the messages say their number themselves (``place``); `missed` says that some were.
        """

    @property
    def resolution_ns(self) -> int:
        """So long may what came have waited in an adapter before anybody could see it."""

    def alive(self, since: Stamp) -> str | None:
        """Proves that whatever came from an instant on was seen; gives the reason if that cannot be proven."""

    def missed(self, since: Stamp) -> str | None:
        """What is known to have been lost of what came from an instant on, or None."""


class MessageInbox(Generic[M]):
    """Expectations on messages."""

    def __init__(
        self,
        source: MessageSource[M],
        timeline: Timeline,
        name: str,
        doubt: Doubt | None = None,
    ) -> None:
        """``doubt`` says why nobody knows whether anything could have come."""
        self._source = source
        self._timeline = timeline
        self._name = name
        self._doubt = doubt or Doubt()
        self._taken: set[int] = set()
        self._floor = 0
        self._behind = 0
        """The place behind the last match."""

    def expect(
        self,
        pattern: Pattern[M],
        after: HasInstant | Stamp | None,
        within: str | Span | None,
        retained: bool = False,
    ) -> M:
        """The first message that fits, lies surely behind the cursor and arrived surely inside the window.

        Raises:
            ExpectationFailed: none came.
            InconclusiveError: one came whose arrival cannot be placed, or the host stood still.
            BenchError: the link was lost.
        """
        frame = window(self._timeline, after, within, "within")
        unsure = nearest = None
        late = False
        for place, message, owed in self._arrivals(frame):
            if place in self._taken or not pattern.fits(message):
                continue
            if _is_retained(message) and not retained:
                nearest = f"{message.describe()}, but it is a retained one (retained=True would take it)"
                continue
            verdict = frame.judge(message.at, owed)
            described, doubt = message.describe(), pattern.doubt(message)
            if verdict == "pass" and doubt is None:
                self._take(place)
                if not _is_retained(message):
                    self._doubt.heard()
                return message
            if verdict == "before":
                nearest = f"{described}, but it came before the cursor: stale"
            elif verdict == "late":
                nearest, late = f"{described}, but too late", True
            elif verdict == "pass":
                unsure = f"{described} {doubt}"
            elif verdict == "unsure-before":
                unsure = f"{described} may have come before or after the cursor"
            else:
                unsure = f"{described} {edge(owed)}"
        if not unsure and not late:
            unsure = self._doubt() or self._source.missed(frame.cursor)
        raise give_up(f"{self._name}: {pattern} did not arrive", frame, self._timeline, unsure, nearest, late)

    def _arrivals(self, frame: Window) -> Iterator[tuple[int, M, int]]:
        """What is and comes until the end of the window: place, message, for how long the host stood still so far.

        What came in the window may be seen so much behind its end as the host stood still and an adapter holds it.
        """
        index, deadline_ns, owed = self._floor, frame.deadline_ns, 0
        while True:
            messages = self._source.wait(index, deadline_ns)
            owed = self._timeline.stalled_ns(frame.start)
            for message in messages:
                place = _place(message, index)
                index = place + 1
                yield place, message, owed
            # Under a flood there is always one more message; those behind the end are of no concern.
            until_ns = frame.deadline_ns + owed + self._source.resolution_ns
            if messages and messages[-1].at.earliest_ns <= until_ns:
                continue
            if deadline_ns >= until_ns:
                return
            deadline_ns = until_ns

    def expect_none(self, pattern: Pattern[M], after: HasInstant | Stamp | None, for_: str | Span | None) -> None:
        """Nothing that fits arrives in the window, and the inbox is proven alive at its end.

        Raises:
            UnexpectedEvent: one came.
            InconclusiveError: one came whose arrival cannot be placed.
            ObserverBlind: the inbox could not be proven alive to the end.
        """
        frame = window(self._timeline, after, for_, "for_")
        with blind_if_lost(self._name, frame, self._timeline):
            # What came before the last match breaks no silence after it: their order is known, whatever their stamps.
            behind = self._behind if after is None else 0
            unsure = self._none_of(pattern, frame, behind)
            # What was on its way when the window ended is read before the marker, because the order is kept.
            broken = self._source.alive(frame.cursor)
            unsure = self._none_of(pattern, frame, behind) or unsure
        if broken:
            headline = f"{self._name}: no witness for the silence: {broken}"
            raise ObserverBlind(failure(headline, frame, self._timeline))
        if unsure:
            headline = f"{self._name}: {unsure} arrived; it may be {pattern}, which was not to come in the window"
            raise InconclusiveError(failure(headline, frame, self._timeline))

    def _none_of(self, pattern: Pattern[M], frame: Window, behind: int) -> str | None:
        """Waits to the end of the window; raises if something fits, and gives what fits and may be outside."""
        unsure = None
        for place, message, owed in self._arrivals(frame):
            if place < behind or place in self._taken or _is_retained(message) or not pattern.fits(message):
                continue
            verdict = frame.judge(message.at, owed)
            if verdict == "pass" and pattern.doubt(message) is None:
                headline = f"{self._name}: {pattern} arrived, none was to come: {message.describe()}"
                raise UnexpectedEvent(failure(headline, frame, self._timeline))
            if verdict == "pass" or verdict.startswith("unsure"):
                unsure = message.describe()
        return unsure

    def forget(self) -> None:
        """A new test begins: what has arrived is not looked at again."""
        for message in self._source.wait(self._floor, 0):
            self._floor = _place(message, self._floor) + 1
        self._taken.clear()
        self._behind = self._floor

    def _take(self, place: int) -> None:
        self._taken.add(place)
        self._behind = max(self._behind, place + 1)
        while self._floor in self._taken:
            self._taken.remove(self._floor)
            self._floor += 1


def _place(message: Observation, index: int) -> int:
    """The number of a message; without one, it is the next."""
    place = getattr(message, "place", index)
    return int(place)


def _is_retained(message: Observation) -> bool:
    """Whether a broker had kept it; of what is no message, nobody has."""
    return bool(getattr(message, "retained", False))


def edge(owed_ns: int) -> str:
    """Why nobody knows whether something came in time."""
    text = "may have come before or after the end of the window"
    return f"{text}: the host stood still for {human(owed_ns)}" if owed_ns else text


@contextlib.contextmanager
def blind_if_lost(name: str, frame: Window, timeline: Timeline) -> Iterator[None]:
    """Whoever waits for silence on a link that is lost has seen nothing: neither a fail nor a pass."""
    try:
        yield
    except (PortLost, ConnectionLost) as lost:
        headline = f"{name}: no witness for the silence: {lost.message}"
        raise ObserverBlind(failure(headline, frame, timeline)) from lost
