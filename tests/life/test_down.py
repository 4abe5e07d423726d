"""What was lost in one test: recovered once, then the tests that need it end at once and say since when."""

from __future__ import annotations

import pytest

from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError, LinkDown
from tests.life.lab import Lab


def test_what_a_test_left_without_power_is_switched_on_for_the_next(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power()))
    with plan.open(out=lab.folder / "run") as bench:
        bench.check_up("test_first", ["pump"])
        bench.device("pump").power.off()
        bench.check_up("test_second", ["pump"])
        assert lab.switched()[-2:] == ["on", "on done"]
        count = len(lab.switched())
        bench.check_up("test_third", ["pump"])
        assert len(lab.switched()) == count


def test_a_device_that_cannot_be_switched_on_again_is_down_since_the_test_before(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power()))
    with plan.open(out=lab.folder / "run") as bench:
        bench.check_up("test_first", ["pump"])
        (lab.folder / "on.fails").touch()
        with pytest.raises(BenchError, match="contact welded"):
            bench.device("pump").power.cycle(off="1ms")
        with pytest.raises(LinkDown, match="^BENCH: down since test_first: pump: .*contact welded") as down:
            bench.check_up("test_second", ["pump"])
        assert down.value.facts == {"since": "test_first", "link": "pump"}
        bench.check_up("test_of_something_else", [])
        with pytest.raises(LinkDown):
            bench.device("pump").console.send("ver")
