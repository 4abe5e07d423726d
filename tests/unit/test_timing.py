"""Timing verdicts: interval arithmetic with reasons, and measurements of them. The arithmetic is proven in Rust."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from fieldrig import Rig, Span, Stamp, timing
from fieldrig.errors import DutError, InconclusiveError, LimitExceeded, UsageError
from fieldrig.measure import Measure, Measurement
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

MS = 1_000_000


@dataclass
class Event:
    at: Stamp


@dataclass
class Action:
    at: Stamp
    done: Stamp = field(default_factory=lambda: Stamp(0))
    scheduled: Stamp | None = None


def seen(*instants: float, unsure: float = 0) -> list[Event]:
    """Events at these milliseconds, each known to within so many."""
    return [Event(Stamp(round((at - unsure) * MS), round(at * MS))) for at in instants]


SENT = Action(Stamp(100 * MS, 101 * MS), Stamp(101 * MS))


def test_within_and_not_before_pass_fail_and_doubt() -> None:
    (event,) = seen(110, unsure=2)
    assert timing.within(event, "10ms", after=SENT).figures[0].value == Span(7 * MS, 10 * MS)
    timing.not_before(event, "7ms", after=SENT)
    with pytest.raises(LimitExceeded, match="within 6ms, 2 events: the time is 7 ms to 10 ms, surely above 6 ms"):
        timing.within(event, "6ms", after=SENT)
    with pytest.raises(DutError, match="surely below 11 ms"):
        timing.not_before(event, "11ms", after=SENT)
    with pytest.raises(InconclusiveError, match="and the limit 9 ms lies in between: its beginning is known to within"):
        timing.within(event, "9ms", after=SENT)


def test_what_came_while_our_action_was_under_way_came_after_it() -> None:
    (event,) = seen(100.8, unsure=0.5)
    timing.within(event, "1ms", after=SENT)
    with pytest.raises(InconclusiveError):
        timing.within(event, "1ms", after=Event(SENT.at))
    with pytest.raises(LimitExceeded, match="it ends before it begins"):
        timing.within(seen(99)[0], "1ms", after=SENT)


def test_gaps_count_from_the_end_of_what_we_sent() -> None:
    events = seen(10, 12, 16)
    timing.gap(events, min="2ms", max="4ms")
    with pytest.raises(LimitExceeded, match="the gap 2 of 2 is 4 ms, surely above 3 ms"):
        timing.gap(events, max="3ms")
    timing.gap([Action(Stamp(10 * MS), Stamp(13 * MS)), *seen(15)], max="2ms")


def test_a_period_is_judged_one_by_one_and_as_a_whole() -> None:
    ticks = seen(*(1 + index * 10.05 for index in range(21)), unsure=0.1)
    whole = timing.period(ticks, "10ms", tolerance="1ms")
    assert [figure.name for figure in whole.figures] == ["period", "mean period"]
    assert whole.figures[1].value == Span(10_045_000, 10_055_000)
    with pytest.raises(LimitExceeded, match="the mean period of 20 periods is .*, surely above 10.04 ms"):
        timing.period(ticks, "10ms", tolerance="1ms", drift="40us")
    with pytest.raises(LimitExceeded, match="the period 2 of 3 is 15 ms, surely above 11 ms"):
        timing.period(seen(0.1, 10.1, 25.1, 35.1), "10ms", tolerance="1ms")


def test_jitter_is_peak_to_peak() -> None:
    timing.jitter(seen(1, 11, 22, 31), "2ms")
    with pytest.raises(LimitExceeded, match="the jitter of 3 periods is 2 ms, surely above 1.9 ms"):
        timing.jitter(seen(1, 11, 22, 31), "1.9ms")


def test_a_late_stimulus_of_our_own_is_held_against_nobody() -> None:
    late = Action(Stamp(104 * MS), Stamp(104 * MS), Stamp(100 * MS))
    reply = seen(106)[0]
    timing.within(reply, "5ms", after=late)
    with pytest.raises(InconclusiveError, match="our own stimulus was issued 4 ms late, and the tolerance is 3 ms"):
        timing.within(reply, "3ms", after=late)
    with pytest.raises(InconclusiveError, match="issued 4 ms late, and the tolerance is 1 ms"):
        timing.period(seen(10, 20, 30), "10ms", tolerance="1ms", stimulus=[late])
    timing.period(seen(10, 20, 30), "10ms", tolerance="4ms", stimulus=late)


def test_what_a_program_waited_for_is_no_late_stimulus() -> None:
    @dataclass
    class Waited(Event):
        scheduled: Stamp
        issued: Stamp | None = None

    deadline = Stamp(1 * MS)
    timing.within(Waited(Stamp(104 * MS), deadline), "5ms", after=SENT)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: timing.jitter(seen(1, 2), "1ms"), "jitter() takes at least 3 events, there are 2"),
        (lambda: timing.gap(seen(1), max="1ms"), "gap() takes at least 2 events, there are 1"),
        (lambda: timing.gap(seen(1, 2)), "gap() without min= and max= judges nothing"),
        (lambda: timing.gap(seen(1, 2), min="2ms", max="1ms"), "nothing can pass"),
        (lambda: timing.within(seen(1)[0], 5, after=SENT), "limit=5: 5 is not a duration"),  # type: ignore[arg-type]
        (lambda: timing.within("x", "5ms", after=SENT), "'x' is no event"),  # type: ignore[arg-type]
    ],
)
def test_a_call_that_judges_nothing_is_refused(call, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        call()
    assert says in raised.value.message


def test_measurements_hold_the_figures_and_do_not_stop_the_test() -> None:
    noted: list[Measurement] = []
    measure = Measure(lambda length_ns: 0, noted.append, {})
    measure.timing("tick").period(seen(0.1, 10.1, 25.1, 35.1), "10ms", tolerance="1ms")
    measure.timing("tick.jitter").jitter(seen(0.1, 10.1, 25.1, 35.1), "6ms")
    assert [(one.name, one.verdict) for one in noted] == [
        ("tick", "fail"),
        ("tick.mean", "pass"),
        ("tick.jitter", "pass"),
    ]
    assert (noted[0].low, noted[0].min, noted[0].max) == (0.015, 0.009, 0.011)
    assert isinstance(measure.outcome(), LimitExceeded)
    with pytest.raises(UsageError, match="was measured already"):
        measure.timing("tick")
    unsure = Measure(lambda length_ns: 0, noted.append, {})
    unsure.timing("reply").within(seen(110, unsure=2)[0], "9ms", after=SENT)
    assert isinstance(unsure.outcome(), InconclusiveError)
    late = Action(Stamp(104 * MS), Stamp(104 * MS), Stamp(100 * MS))
    (spoiled,) = unsure.timing("late").within(seen(120)[0], "3ms", after=late)
    assert (spoiled.verdict, spoiled.low) == ("inconclusive", 0.016)


@pytest.mark.parametrize("series", [list(reversed(seen(10, 20, 30))), seen(10, 30, 20)])
def test_a_series_that_is_surely_out_of_order_never_passes(series: list[Event]) -> None:
    for judge in (
        lambda: timing.gap(series, max="15ms"),
        lambda: timing.jitter(series, "1s"),
        lambda: timing.period(series, "1ms", tolerance="1s"),
    ):
        with pytest.raises(LimitExceeded, match=r"event \d came 10 ms or more before event \d, behind which it stands"):
            judge()
    # Bytes of one read have one stamp: nobody says that they are out of order.
    timing.gap(seen(10, 10, 10, unsure=1), max="2ms")
    # An answer may be there before our own call has returned.
    timing.gap([Action(Stamp(100 * MS, 103 * MS), Stamp(103 * MS)), *seen(101)], max="4ms")


def test_an_event_that_is_given_twice_judges_nothing() -> None:
    (tick,) = seen(10)
    for judge in (
        lambda: timing.gap([tick, tick], max="1ms"),
        lambda: timing.jitter([tick, tick, tick], "1ms"),
        lambda: timing.within(tick, "1ms", after=tick),
        lambda: timing.gap([tick, *seen(12), tick], max="1s"),
    ):
        with pytest.raises(UsageError, match="the same event is given twice"):
            judge()


def test_an_order_that_a_host_which_stood_still_explains_accuses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    series = seen(10, 30, 20)
    with pytest.raises(LimitExceeded, match="event 3 came 10 ms or more before event 2"):
        timing.gap(series, max="25ms")
    judge = timing.judge_timing

    def by_stall(name: str, intervals: object, **limits: int) -> object:
        stood = SimpleNamespace(verdict="inconclusive", reason="the host stood still for 20 ms, which explains it")
        return (stood,) if limits == {"min_ns": 0} else judge(name, intervals, **limits)  # type: ignore[arg-type]

    monkeypatch.setattr(timing, "judge_timing", by_stall)
    with pytest.raises(InconclusiveError, match="event 3 came 10 ms or more before event 2, .* the host stood still"):
        timing.gap(series, max="25ms")


def test_a_limit_that_is_not_known_exactly_decides_nothing() -> None:
    unsure, (first, second) = Span(1 * MS, 100 * MS), seen(0, 50)
    for judge in (
        lambda: timing.within(second, unsure, after=first),
        lambda: timing.not_before(second, unsure, after=first),
        lambda: Measure(lambda length_ns: 0, lambda taken: None, {})("x", Span(50 * MS), min=unsure),
    ):
        with pytest.raises(UsageError, match="that of this span is not known exactly"):
            judge()
    timing.within(second, Span(50 * MS), after=first)


def test_a_stimulus_that_is_none_is_refused_and_a_played_program_is_all_that_it_sent() -> None:
    (first, second) = seen(0, 50)
    for wrong in (3, [3], "ab"):
        with pytest.raises(UsageError, match="no `.at` stamp|neither an action of ours"):
            timing.within(second, "60ms", after=first, stimulus=wrong)  # type: ignore[arg-type]
    with Rig(clock="virtual") as rig:
        rig.add_wire("line", "9600 8N1")
        with Stream("wire://line", rig=rig) as ours:
            # The second slot is due at 10 ms, and begins when the first is over: at 100 ms.
            played = ours.play(Program().send(b"x").wait_silence("100ms", within="1s").repeat(every="10ms", count=2))
            begun = rig.now()
            rig.sleep("50ms")
            answers = [begun, rig.now()]
            timing.gap(answers, max="60ms")
            with pytest.raises(InconclusiveError, match="our own stimulus was issued"):
                timing.gap(answers, max="60ms", stimulus=played)


def test_a_limit_of_nothing_is_no_limit() -> None:
    with pytest.raises(UsageError, match="judges nothing"):
        timing.within(Stamp(5), "0ms", after=Stamp(5))
