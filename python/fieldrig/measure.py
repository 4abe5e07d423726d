"""Measurements: a value with a unit and the band it must lie in; several in a test, judged at its end.

Rules of this file:

- A measurement never stops a test: it is noted, and the worst verdict is the test's at the end.
- A span is judged at both ends: surely inside passes, surely outside fails, else it is inconclusive. One that surely
  ends before it begins fails, whatever the limits.
- If the host stood still during the test for long enough to explain a miss (or a pass), it is inconclusive. What counts
  is the worst time of the test that is as long as the span: when in the test that was, a span does not tell.
- A limit finer than twice the resolution of the port through which something was seen is inconclusive.
- What was declared must be set; a declared measurement left unset fails the test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ._core import Span, Stall
from ._core.timing import span_begins_with_what_was_seen, span_too_fine
from .errors import InconclusiveError, LimitExceeded, UsageError
from .timing import Judged, Rules, exact, explained
from .units import human, nanoseconds

Bound = str | Span | float | int | None

_LINES = 18
"""So many measurements stand in a failure text, which with place, hint and what came after has 25 lines at most."""
_NAMES = 8


@dataclass(frozen=True)
class Measurement:
    """One measured value: seconds for spans, else in its own unit."""

    name: str
    low: float
    high: float
    unit: str
    min: float | None
    max: float | None
    verdict: str
    reason: str = ""

    @property
    def value(self) -> float:
        """The middle of what is known."""
        return (self.low + self.high) / 2

    def describe(self) -> str:
        """One line: name, value, limits, verdict."""
        limits = []
        if self.min is not None:
            limits.append(f"min {self._shown(self.min)}")
        if self.max is not None:
            limits.append(f"max {self._shown(self.max)}")
        value = self._shown(self.low)
        if self.high != self.low and self._shown(self.high) != value:
            value = f"{value} .. {self._shown(self.high)}"
        text = f"{self.name} = {value} ({', '.join(limits) or 'no limit'}): {self.verdict}"
        return f"{text}: {self.reason}" if self.reason else text

    def _shown(self, value: float) -> str:
        if self.unit == "s":
            return human(round(value * 1e9))
        return f"{value:.6g} {self.unit}".rstrip()

    def properties(self) -> list[tuple[str, str]]:
        """The JUnit properties of this measurement."""
        found = [(f"m.{self.name}", f"{self.value:.9g}"), (f"m.{self.name}.unit", self.unit)]
        if self.min is not None:
            found.append((f"m.{self.name}.low", f"{self.min:.9g}"))
        if self.max is not None:
            found.append((f"m.{self.name}.high", f"{self.max:.9g}"))
        return found


class Measure:
    """The ``measure`` fixture: ``measure("alarm_latency", cmd.until(alarm), max="500ms")``."""

    def __init__(
        self,
        stalled_ns: Callable[[int], int],
        note: Callable[[Measurement], None],
        declared: dict[str, dict[str, Any]],
        broken: Callable[[], str | None] = lambda: None,
    ) -> None:
        """``stalled_ns`` says for how long the host stood still, at most, within a time of so many nanoseconds.

        ``broken`` says why the bench is not now what it should be, or None.
        """
        self._broken = broken
        self._stalled_ns = stalled_ns
        self._note = note
        self._declared = declared
        self._taken: list[Measurement] = []
        self._settled = -1

    def __call__(
        self, name: str, value: Span | float, *, unit: str | None = None, min: Bound = None, max: Bound = None
    ) -> Measurement:
        """Takes a measurement and judges it; a miss fails the test at its end.

        Args:
            name: its name in reports; letters, digits, ``_``, ``.`` and ``-``.
            value: a Span (limits are durations), or a number in ``unit``.
            unit: the unit of a number, such as ``"V"``; required for numbers, ``"1"`` for none.
            min: lowest value that passes; a duration for spans.
            max: highest value that passes; a duration for spans.

        Raises:
            UsageError: a number without a unit, a limit of the wrong kind, a name used twice.
        """
        self._check_name(name)
        declared = self._declared.get(name, {})
        low_limit = min if min is not None else declared.get("min")
        high_limit = max if max is not None else declared.get("max")
        if isinstance(value, Span):
            taken = self._span(name, value, low_limit, high_limit)
        else:
            taken = self._number(name, value, unit or declared.get("unit"), low_limit, high_limit)
        return self._take(taken)

    def timing(self, name: str) -> Rules[list[Measurement]]:
        """The rules of `fieldrig.timing`, of which each takes measurements instead of raising.

        ``measure.timing("tick").period(ticks, "100ms", tolerance="5ms")`` takes ``tick``, the period that decides, and
        ``tick.mean``; the other rules take ``tick`` alone. They give the measurements, and raise `UsageError` only.

        Args:
            name: its name in reports.

        Raises:
            UsageError: the name is none, or used twice.
        """
        self._check_name(name)
        return Rules(lambda judged: [self._take(one) for one in _figures(name, judged)])

    def _check_name(self, name: str) -> None:
        if not name or not all(c.isalnum() or c in "_.-[]" for c in name):
            raise UsageError(f"measure(): {name!r} is no name for a measurement: use letters, digits, _ . -")
        if any(taken.name == name for taken in self._taken):
            raise UsageError(f"measure(): {name!r} was measured already in this test: give each its own name")

    def _take(self, taken: Measurement) -> Measurement:
        if taken.verdict == "fail" and (why := self._broken()) is not None:
            taken = replace(taken, verdict="inconclusive", reason=why)
        self._taken.append(taken)
        self._note(taken)
        return taken

    def declare(self, name: str, *, unit: str | None = None, min: Bound = None, max: Bound = None) -> None:
        """Announces a measurement; if the test ends without it, the test fails."""
        self._declared[name] = {"unit": unit, "min": min, "max": max}

    def _span(self, name: str, span: Span, minimum: Bound, maximum: Bound) -> Measurement:
        low = None if minimum is None else nanoseconds(_duration(minimum, "min"), "min")
        high = None if maximum is None else nanoseconds(_duration(maximum, "max"), "max")
        _check_band(name, low, high)
        for bound, word in ((minimum, "min"), (maximum, "max")):
            if isinstance(bound, Span):
                exact(bound, word)
        verdict = span.judge(
            min=None if low is None else f"{low}ns",
            max=None if high is None else f"{high}ns",
        )
        reason = ""
        if verdict == "inconclusive":
            reason = f"the limit lies within the uncertainty of {human(span.latest_ns - span.earliest_ns)}"
        stalled = self._stalled_ns(span.latest_ns)
        finest = _finest(low, high)
        fine = None if finest is None else span_too_fine(span, finest)
        if span.latest_ns < 0 and stalled >= -span.latest_ns:
            reason = f"it ends before it begins, but the host stood still for {human(stalled)} during the test"
            verdict = "inconclusive"
        elif span.latest_ns < 0:
            verdict, reason = "fail", "it ends before it begins (are its two ends swapped?)"
        elif fine is not None:
            verdict, reason = "inconclusive", explained(*fine)[0]
        elif stalled and verdict == "inconclusive":
            reason = f"{reason}; the host stood still for {human(stalled)} during the test"
        elif stalled and _stall_explains(verdict, span, low, high, stalled):
            verdict, reason = "inconclusive", f"the host stood still for {human(stalled)} during the test"
        return Measurement(
            name,
            span.earliest_ns / 1e9,
            span.latest_ns / 1e9,
            "s",
            None if low is None else low / 1e9,
            None if high is None else high / 1e9,
            verdict,
            reason,
        )

    def _number(self, name: str, value: float, unit: str | None, minimum: Bound, maximum: Bound) -> Measurement:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"measure({name!r}): the value is a Span or a number, not {value!r}")
        if unit is None:
            raise UsageError(f'measure({name!r}): a number needs its unit, for example unit="V" (unit="1" for none)')
        for bound in (minimum, maximum):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
                raise UsageError(f"measure({name!r}): the limit of a number is a number, not {bound!r}")
        low = None if minimum is None else float(minimum)  # type: ignore[arg-type]
        high = None if maximum is None else float(maximum)  # type: ignore[arg-type]
        _check_band(name, low, high)
        outside = math.isnan(value) or (low is not None and value < low) or (high is not None and value > high)
        shown = "" if unit == "1" else unit
        reason = "not a number" if math.isnan(value) else ""
        return Measurement(name, value, value, shown, low, high, "fail" if outside else "pass", reason)

    @property
    def taken(self) -> list[Measurement]:
        """What was measured so far."""
        return list(self._taken)

    def missing(self) -> list[str]:
        """Declared names that were not measured."""
        names = {taken.name for taken in self._taken}
        return [name for name in self._declared if name not in names]

    def settle(self, cut_short: bool = False) -> Exception | None:
        """The `outcome` of what was measured since the last call; the first call also misses what was declared.

        Not if the test was cut short: nobody knows what it would have measured.
        """
        before, self._settled = self._settled, len(self._taken)
        if before == self._settled:
            return None
        return self._outcome(self._taken[max(before, 0) :], self.missing() if before < 0 and not cut_short else [])

    @property
    def proven(self) -> bool:
        """Whether a measurement failed, whatever came after it."""
        return any(taken.verdict == "fail" for taken in self._taken)

    def outcome(self) -> Exception | None:
        """The worst verdict as an exception, or None if everything passed."""
        return self._outcome(self._taken, self.missing())

    def _outcome(self, judged: list[Measurement], missing: list[str]) -> Exception | None:
        failed = [taken for taken in judged if taken.verdict == "fail"]
        unsure = [taken for taken in judged if taken.verdict == "inconclusive"]
        lines = [f"  {name}: declared, but never measured: fail" for name in missing]
        lines += [f"  {taken.describe()}" for taken in sorted(judged, key=_worst_first)]
        text = "\n".join(_shortened(lines))
        if failed or missing:
            names = _named([taken.name for taken in failed] + missing)
            return LimitExceeded(f"measurements failed: {names}\n{text}")
        if unsure:
            names = _named([taken.name for taken in unsure])
            return InconclusiveError(f"measurements could not be decided: {names}\n{text}")
        return None


def _figures(name: str, judged: Judged) -> list[Measurement]:
    """What a rule found out, as measurements."""

    def seconds(nanos: int | None) -> float | None:
        return None if nanos is None else nanos / 1e9

    return [
        Measurement(
            f"{name}.mean" if figure.name.startswith("mean") else name,
            figure.value.earliest,
            figure.value.latest,
            "s",
            seconds(figure.min_ns),
            seconds(figure.max_ns),
            judged.verdict_of(figure),
            judged.doubt or judged.swapped or figure.reason,
        )
        for figure in judged.figures
    ]


def _finest(low: int | None, high: int | None) -> int | None:
    """The finest limit: zero distinguishes nothing."""
    return min((end for end in (low, high) if end), default=None)


def _check_band(name: str, low: float | None, high: float | None) -> None:
    """A band that nothing can lie in, or everything does, is a mistake of the test."""
    if any(bound is not None and math.isnan(bound) for bound in (low, high)):
        raise UsageError(f"measure({name!r}): a limit is not a number")
    if low is not None and high is not None and low > high:
        raise UsageError(f"measure({name!r}): min is above max, so nothing can pass")


def most_stalled(stalls: Iterable[Stall], length_ns: int) -> int:
    """For how long the host stood still, at most, in any time of this length: what may have delayed a span (ns)."""
    known = sorted((stall.start.latest_ns, stall.end.latest_ns) for stall in stalls)
    most = total = first = 0
    for start, end in known:
        total += end - start
        # Those that were over so long before this one began did not delay the same span.
        while known[first][1] + length_ns < start:
            total -= known[first][1] - known[first][0]
            first += 1
        most = max(most, total)
    return most


def _stall_explains(verdict: str, span: Span, low: float | None, high: float | None, stalled: int) -> bool:
    """Whether a host that ran all the time might have seen another verdict: a stall moves either end of a span."""
    if verdict == "fail":
        too_long = high is not None and high < span.earliest_ns <= high + stalled
        too_short = low is not None and low - stalled <= span.latest_ns < low
        return too_long or too_short
    lucky = low is not None and span.earliest_ns - stalled < low
    # What we did ourselves was done when its stamp says: only a beginning that was seen may have been held up itself.
    shortened = high is not None and span.latest_ns + stalled > high and span_begins_with_what_was_seen(span)
    return verdict == "pass" and (lucky or shortened)


def _worst_first(taken: Measurement) -> int:
    return ("fail", "inconclusive", "pass").index(taken.verdict)


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES])
    return f"{shown} and {len(names) - _NAMES} more" if len(names) > _NAMES else shown


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _LINES else [*lines[:_LINES], f"  ... and {len(lines) - _LINES} more"]


def _duration(bound: Bound, name: str) -> str | Span:
    if isinstance(bound, str | Span):
        return bound
    raise UsageError(f'{name}={bound!r}: the limit of a span is a duration, such as {name}="500ms"')
