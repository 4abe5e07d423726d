"""The text of a failed expectation: who is to blame, what was expected, in which window, what came instead.

::

    DUT: meter.mqtt site/a/#: a message with topic site/a/alarm did not arrive
      window: 2 s from setpoint = 85.0 (all times relative to it)
      nearest: site/a/alarm {"code":"LOW"} (QoS 1), but too late
      arrived on all links:
          +12.1 ms  meter.mqtt site/a/#: site/a/voltage {"v":230.1} (QoS 0)
          +18.4 ms  3 times until +41.0 ms  meter.console: ALARM
      trace: fieldrig-runs/20260101-120000-17/trace.pcapng
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core import Stamp
from .errors import ExpectationFailed, InconclusiveError
from .units import human

if TYPE_CHECKING:
    from collections.abc import Callable

    from .expect import HasInstant, Observation, Timeline, Window

LINES = 25
"""A failure text has at most so many lines, with the one in which the plug-in names the test."""

WIDTH = 160
"""A line has at most so many characters; the first one, which says what is wrong, as many as it needs. Secrets are
masked before lines are cut: nobody would know half of one again."""


def failure(
    headline: str,
    frame: Window,
    timeline: Timeline,
    nearest: str | None = None,
    hint: str | None = None,
) -> str:
    """The text of a failed or inconclusive expectation: headline, window, nearest miss, arrivals, hint, trace."""
    first, *more = headline.splitlines() or [""]
    mask = timeline.mask
    lines = [" ".join([first, *(line.strip() for line in more)]), _window(frame, mask)]
    if nearest:
        lines.append(mask(f"  nearest: {nearest}")[:WIDTH])
    tail = [f"  hint: {hint}"] if hint else []
    if timeline.trace:
        tail.append(f"  trace: {timeline.trace}")
    shown = _arrivals(timeline.arrivals(frame.cursor), frame.start, LINES - 2 - len(lines) - len(tail), mask)
    lines.append("  arrived on all links:" if shown else "  arrived on all links: nothing")
    return mask("\n".join(lines + shown + tail))


def _window(frame: Window, mask: Callable[[str], str]) -> str:
    length = human(frame.length_ns)
    if frame.after is not None:
        return f"  window: {length} from {_origin(frame.after, mask)} (all times relative to it)"
    cursor = _relative(frame.cursor, frame.start)
    return (
        f"  window: {length} from the call (all times relative to it), for what came after the last stimulus, {cursor}"
    )


def _origin(after: HasInstant | Stamp, mask: Callable[[str], str]) -> str:
    """What an action or observation is called."""
    if isinstance(after, Stamp):
        return "the stamp given as after="
    if (action := getattr(after, "action", None)) is not None:
        return str(action)
    if (describe := getattr(after, "describe", None)) is not None:
        return mask(str(describe()))[:60]
    if (topic := getattr(after, "topic", None)) is not None:
        return f"the publish to {topic}"
    if (point := getattr(after, "point", None)) is not None:
        return f"{point} = {getattr(after, 'value', None)!r}"
    if (function := getattr(after, "function", None)) is not None:
        return f"the Modbus request with function {function:02d}"
    return f"what was given as after= ({type(after).__name__})"


def _arrivals(seen: list[tuple[str, Observation]], start: Stamp, room: int, mask: Callable[[str], str]) -> list[str]:
    """A line for each arrival, one for equal ones in a row; if there are too many, the first and the last of them."""
    runs: list[tuple[Stamp, Stamp, int, str]] = []
    for link, arrival in seen:
        text = mask(f"{link}: {arrival.describe()}")
        if runs and runs[-1][3] == text:
            begin, _, count, _ = runs[-1]
            runs[-1] = (begin, arrival.at, count + 1, text)
        else:
            runs.append((arrival.at, arrival.at, 1, text))
    hidden: list[str] = []
    if len(runs) > room:
        head = (room - 1) // 2
        behind = len(runs) - (room - 1 - head)
        left_out = sum(count for _, _, count, _ in runs[head:behind])
        hidden = [f"    {'':>12}  ... and {left_out} more"]
        runs = runs[:head] + runs[behind:]
        room = head
    lines = [_line(*run, start) for run in runs]
    return lines[:room] + hidden + lines[room:]


def _line(begin: Stamp, end: Stamp, count: int, text: str, start: Stamp) -> str:
    often = f"{count} times until {_relative(end, start)}  " if count > 1 else ""
    return f"    {_relative(begin, start):>12}  {often}{text}"[:WIDTH]


def _relative(at: Stamp, start: Stamp) -> str:
    span = at - start
    middle = (span.earliest_ns + span.latest_ns) // 2
    return f"+{human(middle)}" if middle >= 0 else human(middle)


def give_up(
    headline: str,
    frame: Window,
    timeline: Timeline,
    unsure: str | None,
    nearest: str | None,
    late: bool = False,
    hint: str | None = None,
) -> Exception:
    """The exception for an expectation that nothing fulfilled: a fail, or inconclusive where the bench is why.

    Args:
        unsure: an arrival that could not be placed, or what the inbox has lost.
        late: something fits and is too late, however long the host stood still.

    Returns:
        ExpectationFailed, or InconclusiveError if something is unsure or the host stalled in the window.
    """
    if unsure:
        return InconclusiveError(failure(f"{headline}: {unsure}", frame, timeline, nearest, hint))
    stalled = timeline.stalled_ns(frame.start)
    if stalled and not late:
        why = f"{headline}, but the host stood still for {human(stalled)} in the window"
        return InconclusiveError(failure(why, frame, timeline, nearest, "run again on a quieter host"))
    return ExpectationFailed(failure(headline, frame, timeline, nearest, hint))
