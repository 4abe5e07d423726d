"""A habit lasts until its test ends: the next test meets the device as the standard wants it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldrig.bench import BenchPlan
from fieldrig.demo import builtin_bench
from fieldrig.errors import ExceptionAnswer, ExpectationFailed, UsageError


def test_habits_end_with_the_test_that_set_them(tmp_path: Path) -> None:
    with BenchPlan.load(builtin_bench()).open(tmp_path) as bench:
        meter = bench.device("meter")
        bench.restart("first")
        meter.habit("modbus", "fail_at", 0)
        with pytest.raises(ExceptionAnswer):
            meter.modbus.read("voltage")
        bench.restart("second")
        assert meter.modbus.read("voltage").value > 0


def test_a_habit_is_a_stimulus_and_can_mute_a_link(tmp_path: Path) -> None:
    with BenchPlan.load(builtin_bench()).open(tmp_path) as bench:
        meter = bench.device("meter")
        muted = meter.habit("console", "mute")
        assert meter.timeline.last_stimulus.earliest_ns == muted.at.earliest_ns
        meter.console.send("ver")
        with pytest.raises(ExpectationFailed):
            meter.console.expect("fw", within="100ms")
        bench.restart("next")
        meter.console.send("ver")
        meter.console.expect("fw", within="5s")


def test_an_unknown_habit_is_a_usage_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    with BenchPlan.load(builtin_bench()).open(tmp_path) as bench:
        with pytest.raises(UsageError, match="mute, deaf"):
            bench.device("meter").habit("console", "shy")
        with pytest.raises(UsageError, match="there is no habit `no_anser`") as told:
            bench.device("meter").habit("modbus", "no_anser")
        assert told.value.hint == "did you mean `no_answer`?"
