"""Measurements are judged at both ends, never stop a test, and are never lost."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from fieldrig import Rig
from fieldrig._core import Span, Stamp
from fieldrig.errors import InconclusiveError, LimitExceeded, UsageError
from fieldrig.measure import Measure, Measurement, most_stalled
from fieldrig.stream import Stream

MS = 1_000_000


def measure(stalled_ns: int = 0, declared: dict[str, dict[str, Any]] | None = None) -> Measure:
    noted: list[Measurement] = []
    return Measure(lambda length_ns: stalled_ns, noted.append, declared or {})


def test_a_750_ms_span_against_500_ms_fails() -> None:
    box = measure()
    taken = box("alarm_latency", Span(750 * MS), max="500ms")
    assert taken.verdict == "fail"
    outcome = box.outcome()
    assert isinstance(outcome, LimitExceeded)
    assert str(outcome).splitlines() == [
        "DUT: measurements failed: alarm_latency",
        "  alarm_latency = 750 ms (max 500 ms): fail",
    ]


def test_a_limit_inside_the_uncertainty_is_inconclusive() -> None:
    box = measure()
    box("latency", Span(499 * MS, 501 * MS), max="500ms")
    outcome = box.outcome()
    assert isinstance(outcome, InconclusiveError)
    assert "the limit lies within the uncertainty of 2 ms" in str(outcome)


def test_all_measurements_are_listed_and_the_worst_counts() -> None:
    box = measure()
    box("good", Span(1 * MS), max="500ms")
    box("unsure", Span(400 * MS, 600 * MS), max="500ms")
    box("voltage", 260.0, unit="V", min=207, max=253)
    outcome = box.outcome()
    assert isinstance(outcome, LimitExceeded)
    text = str(outcome)
    assert "good = 1 ms" in text and "unsure = 400 ms .. 600 ms" in text
    assert "voltage = 260 V (min 207 V, max 253 V): fail" in text


def test_a_stalled_host_explains_a_miss_and_spoils_a_lucky_pass() -> None:
    late = measure(stalled_ns=300 * MS)("latency", Span(750 * MS), max="500ms")
    assert (late.verdict, late.reason) == ("inconclusive", "the host stood still for 300 ms during the test")
    assert measure(stalled_ns=100 * MS)("latency", Span(750 * MS), max="500ms").verdict == "fail"
    assert measure(stalled_ns=300 * MS)("pause", Span(400 * MS), min="200ms").verdict == "inconclusive"
    assert measure(stalled_ns=300 * MS)("latency", Span(400 * MS), max="500ms").verdict == "pass"
    # What it ends with may have been overtaken while the host held up what it begins with.
    assert measure(stalled_ns=300 * MS)("order", Span(-200 * MS), max="500ms").verdict == "inconclusive"
    assert measure(stalled_ns=100 * MS)("order", Span(-200 * MS), max="500ms").verdict == "fail"


def test_a_span_between_two_things_seen_may_be_short_because_the_host_held_up_the_first() -> None:
    with Rig() as rig, Stream("pty://", rig=rig) as port:
        path = port.url.removeprefix("serial://").partition("?")[0]
        far = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            begun = rig.now()
            os.write(far, b"a")
            first = port.receive(1, within="30s")
            os.write(far, b"b")
            second = port.receive(1, within="30s")
        finally:
            os.close(far)
        assert (first.data, second.data) == (b"a", b"b")
        for began, verdict in ((first.at, "inconclusive"), (begun, "pass")):
            box = measure(stalled_ns=60_000 * MS)
            assert box("latency", began.until(second.at), max="60s").verdict == verdict


def test_what_was_declared_must_be_measured() -> None:
    box = measure(declared={"alarm_latency": {"max": "500ms"}})
    assert isinstance(box.outcome(), LimitExceeded)
    assert "alarm_latency: declared, but never measured: fail" in str(box.outcome())
    assert box("alarm_latency", Span(750 * MS)).verdict == "fail"
    box.declare("boot_time", max="5s")
    assert box.missing() == ["boot_time"]


def test_no_measurement_is_no_verdict() -> None:
    assert measure().outcome() is None


def test_not_a_number_fails() -> None:
    assert measure()("v", float("nan"), unit="V").verdict == "fail"


def test_properties_are_those_of_the_report_contract() -> None:
    taken = measure()("v", 230.5, unit="V", min=207, max=253)
    assert taken.properties() == [("m.v", "230.5"), ("m.v.unit", "V"), ("m.v.low", "207"), ("m.v.high", "253")]


@pytest.mark.parametrize(
    ("arguments", "limits", "problem"),
    [
        (("v", 3.0), {}, "needs its unit"),
        (("v", Span(1)), {"max": 5}, "is a duration"),
        (("v", 3.0), {"unit": "V", "max": "5s"}, "the limit of a number is a number"),
        (("v", "3"), {"unit": "V"}, "a Span or a number"),
        (("v", True), {"unit": "1"}, "a Span or a number"),
        (("a b", 3.0), {"unit": "V"}, "no name for a measurement"),
        (("v", Span(1)), {"max": "5"}, "unit"),
        (("v", 3.0), {"unit": "V", "max": float("nan")}, "not a number"),
        (("v", 3.0), {"unit": "V", "min": 5, "max": 1}, "min is above max"),
        (("v", Span(1)), {"min": "5s", "max": "1s"}, "min is above max"),
    ],
)
def test_wrong_arguments_are_usage_errors(arguments: Any, limits: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        measure()(*arguments, **limits)


def test_a_span_that_surely_ends_before_it_begins_fails_without_any_limit() -> None:
    taken = measure()("gap", Span(-2 * MS, -1 * MS), max="500ms")
    assert taken.verdict == "fail" and "ends before it begins" in taken.reason
    assert measure()("gap", Span(-1, 1 * MS), max="500ms").verdict == "pass"


def test_a_stall_may_make_a_span_of_two_arrivals_too_short() -> None:
    assert measure(300 * MS)("period", Span(800 * MS), min="1s").verdict == "inconclusive"
    assert measure(300 * MS)("period", Span(600 * MS), min="1s").verdict == "fail"


def test_each_measurement_is_settled_once() -> None:
    box = measure()
    assert box.settle() is None
    box("first", Span(750 * MS), max="500ms")
    assert "first" in str(box.settle())
    assert box.settle() is None
    box("second", Span(750 * MS), max="500ms")
    assert "first" not in str(box.settle())


def test_what_a_test_that_was_cut_short_did_not_measure_is_held_against_nobody() -> None:
    box = measure(declared={"a": {"unit": "V", "max": 9.0}, "b": {}})
    box("a", 5.0)
    assert box.settle(cut_short=True) is None
    assert box.settle() is None
    box = measure(declared={"a": {"unit": "V", "max": 9.0}, "b": {}})
    box("a", 10.0)
    outcome = box.settle(cut_short=True)
    assert isinstance(outcome, LimitExceeded) and "never measured" not in str(outcome)


def test_what_is_measured_on_a_broken_bench_proves_nothing_against_the_device() -> None:
    why: list[str] = []
    box = Measure(lambda length_ns: 0, lambda taken: None, {}, lambda: why[0] if why else None)
    assert box("before", 10.0, unit="V", max=9.0).verdict == "fail"
    why.append("the model of meter broke before")
    after = box("after", 10.0, unit="V", max=9.0)
    assert (after.verdict, after.reason) == ("inconclusive", "the model of meter broke before")
    assert box("fine", 1.0, unit="V", max=9.0).verdict == "pass"
    assert box.proven


def test_many_measurements_are_told_shortly_with_the_worst_first() -> None:
    box = measure()
    for number in range(60):
        box(f"m{number}", number, unit="V", max=58)
    lines = str(box.outcome()).splitlines()
    assert len(lines) <= 21 and lines[1].startswith("  m59 = ") and lines[-1] == "  ... and 42 more"


def test_a_name_is_measured_once() -> None:
    box = measure()
    box("v", 1, unit="V")
    with pytest.raises(UsageError, match="measured already"):
        box("v", 2, unit="V")


def test_what_delays_a_span_is_the_worst_time_that_is_as_long_as_it() -> None:
    def stalls(*times: tuple[int, int]) -> list[Any]:
        found = ((Stamp(start * MS), Stamp(end * MS)) for start, end in times)
        return [SimpleNamespace(start=start, end=end) for start, end in found]

    known = stalls((0, 20), (100, 130), (140, 150), (900, 925))
    assert [most_stalled(known, length * MS) for length in (0, 5, 10, 80, 1000)] == [
        *(30 * MS, 30 * MS, 40 * MS, 50 * MS, 85 * MS)
    ]
    assert most_stalled([], MS) == 0
