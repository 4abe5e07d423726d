"""What it takes for an observation to count: cursors, windows, silence. The text of a failure is in ``failing.py``.

Rules of this file:

- An expectation looks only behind its cursor. By default that is the later of the last match on the same inbox and the
  last stimulus on any link of the device; ``after=`` names another instant. What was matched once is consumed: the
  order within one inbox is known, so consumption counts places, not stamps.
- Arrival stamps decide, never the moment at which Python looked. A stamp is an interval: surely after the cursor and
  surely inside the window passes, surely outside does not, anything else is inconclusive.
- Silence is evidence only with a witness: ``expect_none`` asks the inbox to prove that it was alive to the end.
- A host that stood still inside the window owes the device that time: it is waited for so much longer, and what comes
  then, or never, is inconclusive. What comes later still is too late.
- Nobody accuses a device of silence with an inbox that is known to have lost something.
"""

from __future__ import annotations

import contextlib
import json as _json
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ._core import Span, Stamp
from ._core.device import Change
from ._core.modbus import Reading
from .errors import FieldrigError, UsageError
from .units import nanoseconds


class Observation(Protocol):
    """Something that arrived."""

    @property
    def at(self) -> Stamp:
        """When it arrived."""

    def describe(self) -> str:
        """One line for a failure text."""


class HasInstant(Protocol):
    """An action of ours or an observation: anything with an instant."""

    @property
    def at(self) -> Stamp:
        """Its instant."""


class MessageLike(Protocol):
    """A message, as far as a pattern looks at it."""

    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...


class Stalled(Protocol):
    """A time for which the host did not let us run."""

    @property
    def latest_ns(self) -> int:
        """How long it lasted at most."""


class Restarted(HasInstant, Protocol):
    """An action of ours behind which the device starts anew."""

    @property
    def action(self) -> str:
        """What it is called."""


class Timeline:
    """The instants that all links of one device share: the last stimulus, the start of the test, the host's stalls.

    A private timeline serves an object that is used without a bench.
    """

    def __init__(self, now: Callable[[], Stamp], stalled: Callable[[Stamp], Iterable[Stalled]] | None = None) -> None:
        self._now = now
        self._stalled = stalled
        self._last = Stamp(0)
        self._clock: Stamp | None = None
        self._observers: list[Callable[[Stamp], list[tuple[str, Observation]]]] = []
        self._looks: list[Callable[[], object]] = []
        self._reached: list[Timeline] = []
        self.restarted: Restarted | None = None
        """The last time that we restarted the device, in this test."""
        self.trace: str | None = None
        self.mask: Callable[[str], str] = str
        """Takes secrets out of a failure text; on a bench, whoever reports does."""

    def now(self) -> Stamp:
        """The current instant of the run."""
        return self._now()

    def approach(self) -> Stamp | None:
        """About to act: gives the instant of the issue, then looks at every port on which something may be expected.

        Found empty after the issue, a port shows that what comes next came after it; without the look, the arrival of a
        quick reaction could reach back to before the action. None if there is no such port.
        """
        looks = list(self._looks)
        looks += [look for other in self._reached for look in other._looks if look not in looks]
        if not looks:
            return None
        at = self._now()
        for look in looks:
            look()
        return at

    def reach(self, other: Timeline) -> None:
        """What is done here can cause behaviour there, too: a stimulus here is one there."""
        if other is not self and other not in self._reached:
            self._reached.append(other)

    def look_with(self, look: Callable[[], object]) -> None:
        """Adds a port on which something may be expected."""
        if look not in self._looks:
            self._looks.append(look)

    def stimulus(self, at: Stamp) -> None:
        """Notes that something was done that can cause behaviour, from its issue on."""
        for timeline in (self, *self._reached):
            if at.earliest_ns > timeline._last.latest_ns:
                timeline._last = at.on_same_clock(at.earliest_ns)

    def restart(self) -> None:
        """A new test begins: nothing that arrived until now counts any more."""
        self._last = self.now()
        self.restarted = None

    @property
    def last_stimulus(self) -> Stamp:
        """The last stimulus on any link; before the first one the start of the test, else the beginning of the run."""
        return self._last

    def check_clock(self, at: Stamp) -> None:
        """Whether an instant is one of this run.

        Raises:
            UsageError: it is by another clock.
        """
        self._clock = self._clock or self.now()
        self._clock.order(at)

    def observe(self, observer: Callable[[Stamp], list[tuple[str, Observation]]]) -> None:
        """Adds a link whose arrivals are shown in failure texts; it gives what arrived since an instant."""
        if observer not in self._observers:
            self._observers.append(observer)

    def forget(self, observer: Callable[[Stamp], list[tuple[str, Observation]]]) -> None:
        """A link that is closed shows nothing any more."""
        if observer in self._observers:
            self._observers.remove(observer)

    def arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        """What arrived on all links since an instant, in order: pairs of link name and observation."""
        found = {}
        for observer in self._observers:
            # A link that is gone has nothing to show; it must not take the place of the failure that is told.
            with contextlib.suppress(FieldrigError):
                # What several devices heard on one wire is shown once.
                found.update({id(seen): (link, seen) for link, seen in observer(since)})
        return sorted(found.values(), key=lambda pair: pair[1].at.latest_ns)

    def stalled_ns(self, since: Stamp) -> int:
        """For how long the host stood still since an instant, in nanoseconds."""
        if self._stalled is None:
            return 0
        return sum(stall.latest_ns for stall in self._stalled(since))


class Doubt:
    """Why what does not come over a link is held against nobody, or not."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._until_heard: str | None = None

    def set(self, reason: str | None) -> None:
        """Something is being done to the link; None: nothing is."""
        self._reason, self._until_heard = reason, None

    def until_heard(self, reason: str) -> None:
        """Something was done to it, and nobody knows whether the device is back before something came from it."""
        self._reason, self._until_heard = None, reason

    def heard(self) -> None:
        """Something came."""
        self._until_heard = None

    def __call__(self) -> str | None:
        """The reason, or None."""
        return self._reason or self._until_heard


class Window:
    """The time in which an expectation must come true: behind ``cursor``, and ``length`` long from ``start``."""

    def __init__(self, cursor: Stamp, start: Stamp, length_ns: int, after: HasInstant | Stamp | None = None) -> None:
        """``after``: what the test named as its beginning, if it did."""
        self.cursor = cursor
        self.start = start
        self.after = after
        self.length_ns = length_ns
        self.deadline_ns = start.latest_ns + length_ns

    def judge(self, at: Stamp, owed_ns: int = 0, answers: bool = False) -> str:
        """``pass``: surely inside; ``before`` / ``late``: surely outside; ``unsure-before`` / ``unsure-late``.

        ``owed_ns`` is for how long the host stood still: so much later nothing is surely late. ``answers``: what came
        can be nothing but an answer to what the window begins with, whatever its stamp leaves open.
        """
        order = "after" if answers else at.order(self.cursor)
        if order == "before":
            return "before"
        since = at - self.start
        verdict = since.judge(max=f"{self.length_ns}ns")
        if verdict == "fail":
            return "late" if since.earliest_ns > self.length_ns + owed_ns else "unsure-late"
        if order == "unknown":
            return "unsure-before"
        return "pass" if verdict == "pass" else "unsure-late"


def instant(of: HasInstant | Stamp) -> Stamp:
    """The instant behind which things count as later.

    Of an action (it has ``.done``, or changed a point) that is the beginning of its issue, which is known exactly: its
    bytes leave while it is issued, and on a quick path the answer is there before the call has returned. Of an
    observation it is the whole interval in which it may have arrived.

    Raises:
        UsageError: the object has no instant.
    """
    at = getattr(of, "at", None)
    if not isinstance(at, Stamp):
        raise UsageError(f"after= takes an action, an observation or a Stamp, not {of!r}")
    return at.on_same_clock(at.earliest_ns) if hasattr(of, "done") or isinstance(of, Change) else at


def since(begin: Stamp, end: Stamp) -> Stamp:
    """The instant of an action that began at the earliest with ``begin`` and was over at the latest with ``end``.

    A span from the action is as uncertain as that: what held us up in between is not held against the device.
    """
    begin.order(end)  # of one clock
    return begin.on_same_clock(begin.earliest_ns, max(begin.earliest_ns, end.latest_ns))


def window(timeline: Timeline, after: HasInstant | Stamp | None, length: str | Span | None, name: str) -> Window:
    """The window of an expectation, from its arguments.

    Raises:
        UsageError: the length is missing or no duration, or the instant is by another clock.
    """
    if length is None:
        raise UsageError(f'{name}= is missing: how long may it take? For example {name}="2s"')
    length_ns = nanoseconds(length, name)
    if after is not None:
        timeline.check_clock(instant(after))
        return Window(instant(after), instant(after), length_ns, after)
    return Window(timeline.last_stimulus, timeline.now(), length_ns)


class Near:
    """A number within a tolerance; compares equal to what lies inside."""

    def __init__(self, value: float, tolerance: float) -> None:
        self.value = value
        self.tolerance = tolerance

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Reading):
            message = f"the reading of `{other.point}` is compared with {self!r}, not its value"
            raise UsageError(message, hint="write `.value` behind it")
        if isinstance(other, bool) or not isinstance(other, int | float):
            return False
        return abs(other - self.value) <= self.tolerance

    __hash__ = None  # type: ignore[assignment]  # equality is not transitive here

    def __repr__(self) -> str:
        return f"near({self.value}, {self.tolerance})"


def near(value: float, tolerance: float) -> Near:
    """Matches numbers from ``value - tolerance`` to ``value + tolerance``, both included.

    Raises:
        UsageError: the tolerance is negative.
    """
    if not tolerance >= 0:
        raise UsageError(f"near(): the tolerance must not be negative, it is {tolerance}")
    return Near(value, tolerance)


def json_matches(expected: Any, actual: Any) -> bool:
    """Whether a JSON value holds what is expected: objects may have further keys, all else must be equal."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            key in actual and json_matches(value, actual[key]) for key, value in expected.items()
        )
    if isinstance(expected, list | tuple):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(json_matches(one, other) for one, other in zip(expected, actual, strict=True))
        )
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    return bool(expected == actual)


class MessagePattern:
    """What an MQTT message must look like: topic filter, JSON content, payload."""

    def __init__(
        self, topic: str | None, json: Any, payload: bytes | str | re.Pattern[str] | re.Pattern[bytes] | None
    ) -> None:
        if not isinstance(payload, bytes | str | re.Pattern | None):
            raise UsageError(
                f"payload= is text, bytes or a compiled pattern, not {payload!r}; a value is matched by json="
            )
        self.topic = topic
        self.json = json
        self.payload = payload.encode() if isinstance(payload, str) else payload
        self._has_json = json is not None
        self._topic_parts = _filter_parts(topic) if topic is not None else None

    def fits(self, message: MessageLike) -> bool:
        """Whether a message fits."""
        return self.matches(message.topic, message.payload)

    def doubt(self, message: MessageLike) -> str | None:
        """None: a message can be read in one way only."""
        return None

    def matches(self, topic: str, payload: bytes) -> bool:
        """Whether a message with this topic and payload fits."""
        if self._topic_parts is not None and not topic_matches(self._topic_parts, topic):
            return False
        if self._has_json:
            try:
                actual = _json.loads(payload)
            except (ValueError, RecursionError):
                return False
            if not json_matches(self.json, actual):
                return False
        if isinstance(self.payload, re.Pattern):
            pattern: re.Pattern[Any] = self.payload
            text = payload if isinstance(pattern.pattern, bytes) else payload.decode("utf-8", "replace")
            return pattern.search(text) is not None
        return self.payload is None or payload == self.payload

    def __str__(self) -> str:
        parts = []
        if self.topic is not None:
            parts.append(f"topic {self.topic}")
        if self._has_json:
            parts.append(f"json {self.json!r}")
        if isinstance(self.payload, re.Pattern):
            parts.append(f"payload /{self.payload.pattern!s}/")
        elif self.payload is not None:
            parts.append(f"payload {self.payload!r}")
        return "a message with " + ", ".join(parts) if parts else "any message"


def _filter_parts(topic: str) -> list[str]:
    """The levels of a topic filter; one that is none would match nothing and so accuse the device (MQTT 5.0, 4.7.1)."""
    parts = topic.split("/")
    wrong = [part for part in parts[:-1] if "#" in part] + [
        part for part in parts if len(part) > 1 and set(part) & set("#+")
    ]
    if not topic or wrong:
        raise UsageError(f"{topic!r} is no topic filter: `+` and `#` stand alone in a level, and `#` in the last one")
    return parts


def topic_matches(filter_parts: list[str], topic: str) -> bool:
    """Whether a topic fits an MQTT topic filter, given in levels (MQTT 5.0, 4.7)."""
    levels = topic.split("/")
    if topic.startswith("$") and filter_parts[0] in ("#", "+"):
        return False
    for index, part in enumerate(filter_parts):
        if part == "#":
            return True
        if index >= len(levels) or (part != "+" and part != levels[index]):
            return False
    return len(levels) == len(filter_parts)
