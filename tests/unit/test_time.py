"""Stamps, spans and durations as Python sees them."""

from __future__ import annotations

import pickle

import pytest

from fieldrig import Span, Stamp, UsageError, duration

MS = 1_000_000


def test_a_difference_is_as_uncertain_as_both_stamps() -> None:
    sent, seen = Stamp(10, 12), Stamp(30, 35)
    assert seen - sent == Span(18, 25)
    assert sent.until(seen) == Span(18, 25)
    assert (sent.order(seen), seen.order(sent), sent.order(Stamp(11, 40))) == ("before", "after", "unknown")


def test_a_span_is_judged_at_both_ends() -> None:
    assert Span(100 * MS, 500 * MS).judge(max="500ms") == "pass"
    assert Span(499 * MS, 501 * MS).judge(max="500ms") == "inconclusive"
    assert Span(750 * MS).judge(max="500ms") == "fail"
    assert Span(9 * MS).judge(min="10ms", max="20ms") == "fail"
    assert Span(15 * MS).judge(min=Span(10 * MS), max=Span(14 * MS, 16 * MS)) == "fail"


def test_durations_have_a_unit() -> None:
    assert duration("500ms") == 0.5
    assert duration(Span(2 * MS, 3 * MS)) == 0.003
    for wrong in (5, 0.5, None, "5", "5 parsecs", "-1s", Span(-5)):
        with pytest.raises(UsageError):
            duration(wrong)  # type: ignore[arg-type]


def test_only_events_have_an_instant() -> None:
    with pytest.raises(UsageError, match="it has no"):
        Stamp(1).until(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [Stamp(1, 2), Span(-3, 4)])
def test_time_values_are_values(value: object) -> None:
    copy = pickle.loads(pickle.dumps(value))
    assert copy == value
    assert hash(copy) == hash(value)
