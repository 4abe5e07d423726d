"""Verdicts on when things happened: within, not before, gap, period, jitter.

::

    from fieldrig import timing

    command = console.send("start")
    ticks = [console.expect(r"tick \\d+", within="2s") for _ in range(20)]
    timing.within(ticks[0], "50ms", after=command)
    timing.period(ticks, "100ms", tolerance="5ms", drift="100us")
    timing.jitter(ticks, "8ms")

Rules of this file:

- An event is anything with `.at`: an action of ours, or something observed. Its stamp is an interval, and so is every
  figure that is made of stamps: wholly inside the limit passes, wholly outside fails, anything else is inconclusive,
  with the reason. The arithmetic is that of the core (`fieldrig-proto/src/timing.rs`).
- What is finer than twice the resolution of the port is inconclusive at the call, whatever was seen.
- What only we did is held against nobody either: a miss among actions of ours alone is inconclusive.
- What our own late stimulus may have caused is held against nobody.
- A series is in order: an event that surely came before the one it stands behind fails, whatever the limits, if no host
  that stood still explains that. One event that is given twice judges nothing.
- A limit is one length: a span whose ends differ is none.
- A function here raises, or gives what it found. `measure.timing(name)` has the same functions: they note a measurement
  that is judged at the end of the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._core import Span, Stamp, duration_ns
from ._core.stream import Played
from ._core.timing import Figure, judge_timing, origin_of, too_fine
from .errors import InconclusiveError, LimitExceeded, UsageError
from .units import human

if TYPE_CHECKING:
    from .expect import HasInstant

__all__ = ["Judged", "Rules", "gap", "jitter", "not_before", "period", "within"]

R = TypeVar("R")
VERDICTS = ("pass", "inconclusive", "fail")


@dataclass(frozen=True)
class Judged:
    """What a rule says about events.

    Attributes:
        rule: the rule with its limits, for people.
        events: how many events it was held against.
        figures: what was found out.
        doubt: why that decides nothing: too fine for the port, or an own stimulus that was late.
        hint: what can be done about it.
        swapped: which event surely came before the one it stands behind; that is a fail.
    """

    rule: str
    events: int
    figures: tuple[Figure, ...]
    doubt: str = ""
    hint: str | None = None
    swapped: str = ""

    @property
    def verdict(self) -> str:
        """`pass`, `inconclusive` or `fail`."""
        return max((self.verdict_of(figure) for figure in self.figures), key=VERDICTS.index)

    @property
    def reason(self) -> str:
        """Why it is no pass; empty for one."""
        worst = self.verdict
        whole = self.doubt or self.swapped
        return whole or "; ".join(figure.reason for figure in self.figures if figure.verdict == worst)

    def verdict_of(self, figure: Figure) -> str:
        """What becomes of one of the figures: what is said of the whole counts for each."""
        return "inconclusive" if self.doubt else "fail" if self.swapped else figure.verdict

    def settle(self) -> Judged:
        """Gives itself if it is a pass.

        Raises:
            LimitExceeded: surely not.
            InconclusiveError: nobody knows.
        """
        if self.verdict == "pass":
            return self
        text = f"{self.rule}, {self.events} events: {self.reason}"
        if self.verdict == "fail":
            raise LimitExceeded(text)
        raise InconclusiveError(text, hint=self.hint)


class Rules(Generic[R]):
    """The rules; what becomes of what they say is up to whoever made this."""

    def __init__(self, settle: Callable[[Judged], R]) -> None:
        self._settle = settle

    def within(
        self,
        event: HasInstant,
        limit: str | Span,
        *,
        after: HasInstant,
        stimulus: HasInstant | Iterable[HasInstant] = (),
    ) -> R:
        """The event came after another one, and at most so much later.

        Args:
            event: what was to come.
            limit: how long it may have taken, e.g. `"50ms"`.
            after: an action of ours (then from the time it was sent, between its issue and its return), or an event.
            stimulus: further actions of ours that it depends on: if one was later than the limit, nothing is judged.
                Of a program that was played, that is all that it sent.

        Raises:
            LimitExceeded: it surely took longer, or came before.
            InconclusiveError: the stamps, the resolution of the port, a host that stood still or a late stimulus of our
                own leave it open.
            UsageError: no event, or no duration above 0.
        """
        length_ns = _length(limit, "limit")
        if length_ns == 0:
            raise UsageError("within(): nothing takes no time, so the limit 0 judges nothing")
        case = _Case("within", f"within {_shown(limit)}", max_ns=length_ns)
        return self._settle(case.judge([(_at(after), _at(event), _is_action(after))], [after, event], stimulus))

    def not_before(
        self,
        event: HasInstant,
        limit: str | Span,
        *,
        after: HasInstant,
        stimulus: HasInstant | Iterable[HasInstant] = (),
    ) -> R:
        """The event came at least so much later than another one.

        This judges the event it is given. That nothing else came before is silence, which takes a witness:
        `expect_none(.., after=.., for_=..)`.

        Args, raises: as `within`.
        """
        case = _Case("not_before", f"not before {_shown(limit)}", min_ns=_length(limit, "limit"))
        return self._settle(case.judge([(_at(after), _at(event), False)], [after, event], stimulus))

    def gap(
        self,
        events: Sequence[HasInstant],
        *,
        min: str | Span | None = None,
        max: str | Span | None = None,
        stimulus: HasInstant | Iterable[HasInstant] = (),
    ) -> R:
        """The time from each event to the next lies between the limits.

        Of an action of ours, it counts from its `.done`.

        Args:
            events: at least two, in order.
            min: the shortest that passes.
            max: the longest that passes.
            stimulus: as for `within`; the finer limit decides what is late.

        Raises: as `within`.
        """
        low, high = (None if end is None else _length(end, name) for end, name in ((min, "min"), (max, "max")))
        words = [f"{name} {_shown(end)}" for name, end in (("min", min), ("max", max)) if end is not None]
        if not words:
            raise UsageError('gap() without min= and max= judges nothing: write min="1.75ms", for example')
        if low is not None and high is not None and low > high:
            raise UsageError("gap(): min is above max, so nothing can pass")
        case = _Case("gap", f"gap ({', '.join(words)})", min_ns=low, max_ns=high)
        known = _series(events, 2, "gap")
        pairs = [_from_the_end(one, other) for one, other in pairwise(known)]
        return self._settle(case.judge(pairs, known, stimulus, _swapped(known)))

    def period(
        self,
        events: Sequence[HasInstant],
        nominal: str | Span,
        *,
        tolerance: str | Span,
        drift: str | Span | None = None,
        stimulus: HasInstant | Iterable[HasInstant] = (),
    ) -> R:
        """From each event to the next it takes the nominal period, give or take the tolerance.

        Args:
            events: at least two, in order.
            nominal: how long a period is.
            tolerance: so much may each of them deviate.
            drift: so much may the mean of all deviate, too: it shows a clock that is a little fast although no single
                period is wrong. Without it, the mean is reported, and not limited.
            stimulus: as for `within`; the tolerance decides what is late.

        Raises: as `within`.
        """
        case = _Case(
            "period",
            f"period {_shown(nominal)} +- {_shown(tolerance)}" + (f", drift {_shown(drift)}" if drift else ""),
            min_ns=_length(nominal, "nominal"),
            max_ns=_length(tolerance, "tolerance"),
            drift_ns=None if drift is None else _length(drift, "drift"),
        )
        known = _series(events, 2, "period")
        return self._settle(case.judge(_pairs(known), known, stimulus, _swapped(known)))

    def jitter(
        self, events: Sequence[HasInstant], max: str | Span, *, stimulus: HasInstant | Iterable[HasInstant] = ()
    ) -> R:
        """The longest time from an event to the next is at most so much longer than the shortest.

        That is the peak-to-peak period jitter; not a standard deviation.

        Args:
            events: at least three, in order.
            max: how much longer.
            stimulus: as for `within`.

        Raises: as `within`.
        """
        case = _Case("jitter", f"jitter {_shown(max)}", max_ns=_length(max, "max"))
        known = _series(events, 3, "jitter")
        return self._settle(case.judge(_pairs(known), known, stimulus, _swapped(known)))


class _Case:
    """A rule with its limits."""

    def __init__(self, name: str, words: str, **limits: int | None) -> None:
        self._name = name
        self._words = words
        self._limits: dict[str, Any] = limits

    def judge(
        self,
        intervals: Sequence[tuple[Stamp, Stamp, bool]],
        events: Sequence[HasInstant],
        stimulus: HasInstant | Iterable[HasInstant],
        swapped: tuple[str, str] = ("", ""),
    ) -> Judged:
        if len({id(event) for event in events}) < len(events):
            raise UsageError(f"{self._name}(): the same event is given twice; that judges nothing")
        figures = judge_timing(self._name, intervals, **self._limits)
        stamps = [stamp for interval in intervals for stamp in interval[:2]]
        fine = too_fine(self._name, stamps, len(intervals), **self._limits)
        if fine is not None:
            return Judged(self._words, len(events), figures, *explained(*fine))
        late = self._late([*events, *_listed(stimulus)])
        surely, perhaps = swapped
        judged = Judged(self._words, len(events), figures, late or perhaps, swapped=surely)
        if judged.verdict == "fail" and all(_is_action(event) for event in events):
            return replace(judged, doubt=f"{judged.reason}; all of that was our own doing, and none of the device's")
        return judged

    def _late(self, actions: Iterable[object]) -> str:
        """Which action of ours was later than the finest limit allows, or nothing."""
        limits = [limit for name, limit in self._limits.items() if limit and (self._name, name) != ("period", "min_ns")]
        tolerance = min(limits, default=0)
        for action in actions:
            scheduled, at = getattr(action, "scheduled", None), getattr(action, "at", None)
            issued = getattr(action, "issued", at)  # of what was waited for there is none
            if not isinstance(scheduled, Stamp) or not isinstance(issued, Stamp):
                continue
            late = issued.earliest_ns - scheduled.latest_ns
            if late > tolerance:
                return f"our own stimulus was issued {human(late)} late, and the tolerance is {human(tolerance)}"
        return ""


def explained(port: str, resolution_ns: int, note: str, limit_ns: int) -> tuple[str, str]:
    """Why a limit is too fine for a port, and what to do about it."""
    finest = f"{human(2 * resolution_ns)}, twice its resolution of {human(resolution_ns)}"
    why = f" ({note})" if note else ""
    text = f"{human(limit_ns)} is too fine for {port}: it decides nothing finer than {finest}{why}"
    if "`holds=`" in note:
        return text, "say in the URL of the serial server for how long it may hold a byte, such as `holds=2ms`"
    return text, f"`fieldrig calibrate {port}` measures the resolution; a native UART or an emulated line is finer"


def _at(event: HasInstant) -> Stamp:
    at = getattr(event, "at", None)
    if not isinstance(at, Stamp):
        raise UsageError(f"{event!r} is no event: it has no `.at` stamp")
    return at


def _is_action(event: HasInstant) -> bool:
    """Whether it is something we did: what came out of it is later, whatever the stamps say."""
    if hasattr(event, "issued") and event.issued is None:
        return False  # an event of a program, which it saw
    ends = (getattr(event, name, None) for name in ("done", "returned"))
    return any(isinstance(end, Stamp) for end in ends) and origin_of(_at(event)) is None


def _done(event: HasInstant) -> Stamp:
    ends = (getattr(event, name, None) for name in ("done", "returned"))
    return next((end for end in ends if isinstance(end, Stamp)), _at(event))


def _from_the_end(one: HasInstant, other: HasInstant) -> tuple[Stamp, Stamp, bool]:
    """From the end of one to the other; what was seen while our action had not returned came no time after it."""
    done, at = _done(one), _at(other)
    meanwhile = _is_action(one) and at.latest_ns < done.earliest_ns and at.earliest_ns >= _at(one).earliest_ns
    return (_at(one), at, True) if meanwhile else (done, at, False)


def _swapped(events: Sequence[HasInstant]) -> tuple[str, str]:
    """Which event surely came before the one that it stands behind, and which did unless a stall of the host did it."""
    perhaps = ""
    for number, (one, other) in enumerate(pairwise(events), 2):
        if _at(other).latest_ns >= _at(one).earliest_ns:
            continue
        early = human(_at(one).earliest_ns - _at(other).latest_ns)
        text = f"event {number} came {early} or more before event {number - 1}, behind which it stands"
        (order,) = judge_timing("gap", [(_at(one), _at(other), False)], min_ns=0)
        if order.verdict == "fail":
            return f"{text} (are they in order?)", ""
        perhaps = perhaps or f"{text}: {order.reason}"
    return "", perhaps


def _series(events: Sequence[HasInstant], least: int, name: str) -> list[HasInstant]:
    known = list(events)
    if len(known) < least:
        raise UsageError(f"{name}() takes at least {least} events, there are {len(known)}")
    return known


def _pairs(events: Sequence[HasInstant]) -> list[tuple[Stamp, Stamp, bool]]:
    stamps = [_at(event) for event in events]
    return [(one, other, False) for one, other in pairwise(stamps)]


def _listed(stimulus: HasInstant | Iterable[HasInstant]) -> list[Any]:
    """The actions of ours; of a program that was played, all that it sent."""
    try:
        given: list[Any] = [stimulus] if hasattr(stimulus, "at") else list(stimulus)
    except TypeError:
        raise UsageError(f"stimulus={stimulus!r} is neither an action of ours nor several of them") from None
    listed: list[Any] = []
    for action in given:
        _at(action)
        listed += action.sent if isinstance(action, Played) else [action]
    return listed


def exact(given: str | Span, name: str) -> None:
    """A limit is one length: held against one that is not known exactly, nothing is decided.

    Raises:
        UsageError: it is a span whose ends differ.
    """
    if isinstance(given, Span) and given.earliest_ns != given.latest_ns:
        text = f"{name}={given}: a limit is one length, and that of this span is not known exactly"
        raise UsageError(text, hint=f'write {name}="{given.latest_ns}ns" or {name}="{given.earliest_ns}ns"')


def _length(given: str | Span, name: str) -> int:
    exact(given, name)
    try:
        return duration_ns(given)
    except UsageError as error:
        raise UsageError(f"{name}={given!r}: {error.message}", hint=error.hint) from None


def _shown(given: str | Span) -> str:
    return given if isinstance(given, str) else str(given)


_RAISING = Rules(Judged.settle)
within = _RAISING.within
not_before = _RAISING.not_before
gap = _RAISING.gap
period = _RAISING.period
jitter = _RAISING.jitter
