"""Whether a device, or the bench, let a stimulus program come to its end: what `Console.play` raises.

Rules of this file:

- The core decides at once, by what it has seen, since it must go on. Whether that decides anything about the device is
  said here, by arrival intervals: what may have come too late, or before the send that it answers, proves nothing.
- What an adapter may still have had at the deadline is waited for before silence is believed or held against anybody.
- Only waits that end the program are judged: what `otherwise=` goes on from is no demand.
"""

from __future__ import annotations

from typing import Protocol

from fieldrig._core import Stamp
from fieldrig._core.stream import Event, Match, Played
from fieldrig.errors import (
    ConnectionLost,
    InconclusiveError,
    ObserverBlind,
    PortLost,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.expect import Timeline, Window
from fieldrig.failing import failure, give_up
from fieldrig.stimulus import Awaited, Program

__all__ = ["unfulfilled"]

LOOK_NS = 1_000_000
"""So long before a send of a program the thread of the port may have looked at it last."""


class Source(Protocol):
    """The stream that the program ran on; see `StreamSource`."""

    @property
    def resolution_ns(self) -> int: ...
    def search(self, pattern: str, start: int, after: Stamp | None, deadline_ns: int, /) -> Match | None: ...
    def take_exactly(self, count: int, start: int, after: Stamp | None, deadline_ns: int, /) -> Match | None: ...
    def alive(self, since: Stamp, /) -> str | None: ...
    def offset_after(self, at: Stamp, /) -> tuple[int, int]: ...
    def missed(self, since: Stamp, /) -> str | None: ...


def unfulfilled(
    program: Program,
    played: Played,
    cursor: Stamp,
    name: str,
    source: Source,
    timeline: Timeline,
    doubt: str | None,
    belongs_to: str,
) -> Exception | None:
    """The exception for a program that was not fulfilled, or of which nobody knows whether it was; None if it was.

    Args:
        cursor: the last stimulus before the program.
        doubt: why nobody knows whether anything could have come, or None.
        belongs_to: whose port it is.
    """
    frame = Window(played.at, played.at, (played.done - played.at).latest_ns, played)
    problem = _of_waits(program.awaits(), played, cursor, name, source, frame, timeline)
    if problem is not None or played.outcome == "completed":
        return problem
    place = "" if played.step is None else f" ({program.step(played.step)})"
    reason = (played.reason or "").replace(":", f"{place}:", 1) if place else played.reason
    headline = f"{name}: the program was not completed: {reason}"
    if played.outcome == "timed out":
        return give_up(headline, frame, timeline, doubt or source.missed(played.at), None)
    if played.outcome == "seen":
        return _unexpected(headline, played, frame, timeline)
    if played.outcome == "too late":
        return InconclusiveError(failure(f"{headline}: the host was late", frame, timeline))
    if played.outcome == "lost":
        return (ConnectionLost if belongs_to == "dut" else PortLost)(headline)
    return UsageError(headline)


def _of_waits(
    awaits: dict[int, Awaited],
    played: Played,
    cursor: Stamp,
    name: str,
    source: Source,
    frame: Window,
    timeline: Timeline,
) -> Exception | None:
    """The first wait that does not bear what the core made of it."""
    held, ours = source.resolution_ns, True
    for event in played.events:
        awaited = awaits.get(event.step)
        if event.issued is not None:
            cursor, ours = event.at.on_same_clock(max(0, event.at.earliest_ns - LOOK_NS)), True
        elif awaited is not None and event.kind == "seen" and awaited.word == "wait":
            # Of what came behind something else that came, the order of the bytes tells.
            why = _misplaced(event, cursor if ours else None)
            if why:
                headline = f"{name}: what step {event.step} (wait) waited for came, but it may have come {why}"
                return InconclusiveError(failure(headline, frame, timeline))
        elif awaited is not None and event.kind == "timed out" and event.scheduled is not None:
            owed = held + (timeline.stalled_ns(frame.start) if awaited.word == "wait" else 0)
            came = _behind(awaited, source, cursor, event.scheduled.latest_ns, owed) if owed else None
            blind = source.alive(played.at) if awaited.word == "wait_none" else None
            if came is not None or blind:
                return _wrong(event, awaited, came, blind, name, frame, timeline)
        if event.kind == "seen":
            cursor, ours = event.at.on_same_clock(event.at.latest_ns + 1), False
    return None


def _misplaced(event: Event, cursor: Stamp | None) -> str:
    """Why what came may be no answer in time."""
    first = event.first if event.first is not None else event.at
    if event.scheduled is not None and event.at.latest_ns > event.scheduled.latest_ns:
        return "too late"
    # Of what came behind something else that came, the order of the bytes says so.
    if cursor is not None and first.order(cursor) != "after":
        return "before the send behind which it was to come"
    return ""


def _behind(awaited: Awaited, source: Source, cursor: Stamp, deadline_ns: int, owed_ns: int) -> Match | None:
    """What was seen only behind the deadline, and may have come in time."""
    until, (begin, _) = deadline_ns + owed_ns, source.offset_after(cursor)
    if awaited.what == "pattern":
        came = source.search(str(awaited.value), begin, None, until)
    elif awaited.what == "count":
        came = source.take_exactly(int(awaited.value), begin, None, until)
    else:
        came = None
    return came if came is not None and came.at.earliest_ns <= deadline_ns else None


def _wrong(
    event: Event, awaited: Awaited, came: Match | None, blind: str | None, name: str, frame: Window, timeline: Timeline
) -> Exception:
    """A wait that ended with nothing, although something may have come, or would not have been seen."""
    place = f"{name}: step {event.step} ({awaited.word})"
    if came is None:
        return ObserverBlind(failure(f"{place}: no witness for the silence: {blind}", frame, timeline))
    headline = f"{place}: {came.describe()} was seen behind its deadline, but it may have come before"
    return InconclusiveError(failure(headline, frame, timeline))


def _unexpected(headline: str, played: Played, frame: Window, timeline: Timeline) -> Exception:
    """Something came that should not: surely inside its window it is held against the device."""
    came, *before = reversed(played.events)
    began = before[0].done if before else played.at
    if came.at.order(began) != "after":
        return InconclusiveError(failure(f"{headline}, but it may have come before", frame, timeline))
    if came.scheduled is not None and came.at.latest_ns > came.scheduled.latest_ns:
        return InconclusiveError(failure(f"{headline}, but it may have come too late for that", frame, timeline))
    return UnexpectedEvent(failure(headline, frame, timeline))
