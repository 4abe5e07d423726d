"""What was lost in one test: recovered once, then the tests that need it end at once and say since when."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import BenchError, FieldrigError, LinkDown, NoAnswer, PortLost, Unanswered, UsageError
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


IDENTITY = 'identity = { firmware = { console = "ver", match = \'fw (\\S+)\', timeout = "200ms" } }'
RECOVER = "recover = { command = \"sh -c 'echo again >> recovered'\" }"


def opened(lab: Lab, *tables: str) -> Bench:
    return BenchPlan.load(lab.bench("\n".join(tables))).open(out=lab.folder / "run")


def recoveries(lab: Lab) -> int:
    path = lab.folder / "recovered"
    return len(path.read_text().splitlines()) if path.exists() else 0


def lose(lab: Lab, bench: Bench) -> FieldrigError:
    """Takes the port away and gives the error with which a test that uses it ends."""
    lab.pull_out()
    with pytest.raises(FieldrigError) as lost:
        bench.device("pump").console.expect("never", within="30s")
    assert isinstance(lost.value, PortLost)
    return lost.value


def works(bench: Bench) -> bool:
    console = bench.device("pump").console
    return console.expect("fw", after=console.send("ver"), within="30s").text == "fw"


def test_a_lost_link_is_recovered_and_opened_anew(lab: Lab) -> None:
    with opened(lab, IDENTITY, RECOVER) as bench:
        error = lose(lab, bench)
        lab.plug_in()
        bench.after_error(error, "test_first")
        bench.check_up("test_second", ["pump"])
        assert works(bench)
    assert recoveries(lab) == 1
    assert [lab.records(kind)[0]["link"] for kind in ("link.lost", "link.recovered")] == ["pump.console"] * 2


def test_a_link_that_does_not_come_back_is_down(lab: Lab) -> None:
    with opened(lab, RECOVER) as bench:
        bench.after_error(lose(lab, bench), "test_first")
        with pytest.raises(
            LinkDown, match=r"^BENCH: down since test_first: pump\.console: (?!pump).*; then: pump\.console: "
        ):
            bench.check_up("test_second", ["pump"])
        with pytest.raises(LinkDown):
            bench.device("pump").console.send("ver")
        assert recoveries(lab) == 1
        bench.after_error(LinkDown("down since test_first: pump.console: lost"), "test_second")
    assert [one["since"] for one in lab.records("down")] == ["test_first"]


def test_a_link_that_comes_back_silent_is_down(lab: Lab) -> None:
    with opened(lab, IDENTITY) as bench:
        error = lose(lab, bench)
        lab.plug_in()
        lab.console.answers.clear()
        bench.after_error(error, "test_first")
        with pytest.raises(LinkDown, match="down since test_first: .*its firmware cannot be read"):
            bench.check_up("test_second", ["pump"])


def test_a_link_is_recovered_only_once(lab: Lab) -> None:
    with opened(lab, RECOVER) as bench:
        for test in ("test_first", "test_second"):
            error = lose(lab, bench)
            lab.plug_in()
            bench.after_error(error, test)
        with pytest.raises(LinkDown, match=r"down since test_second: .*\(it was recovered once before\)"):
            bench.check_up("test_third", ["pump"])
    assert recoveries(lab) == 1


def test_recovery_may_be_a_power_cycle(lab: Lab) -> None:
    with opened(lab, lab.power(), 'recover = { power = "cycle" }') as bench:
        error = lose(lab, bench)
        lab.plug_in()
        bench.after_error(error, "test_first")
        assert lab.switched()[-4:] == ["off", "off done", "on", "on done"]
        assert works(bench)


def test_a_device_that_the_test_has_switched_off_is_switched_on_and_not_given_up(lab: Lab) -> None:
    with opened(lab, lab.power(), RECOVER) as bench:
        for test in ("test_first", "test_second"):
            bench.device("pump").power.off()
            error = lose(lab, bench)
            lab.plug_in()
            bench.after_error(error, test)
            assert lab.switched()[-2:] == ["on", "on done"]
            assert works(bench)
    assert recoveries(lab) == 0


def test_recovery_that_fails_takes_the_link_down(lab: Lab) -> None:
    with opened(lab, "recover = { command = \"sh -c 'echo no such host; exit 2'\" }") as bench:
        error = lose(lab, bench)
        lab.plug_in()
        bench.after_error(error, "test_first")
        with pytest.raises(LinkDown, match="then: the recover command .* ended with 2: no such host"):
            bench.check_up("test_second", ["pump"])


@pytest.mark.parametrize("kind", [NoAnswer, Unanswered])
def test_silence_is_a_loss_only_if_the_identity_cannot_be_read(lab: Lab, kind: type[FieldrigError]) -> None:
    silence = kind("pump.console: no answer within 1 s")
    with opened(lab, IDENTITY, RECOVER) as bench:
        bench.begin_session()
        bench.after_error(silence, "test_first")
        assert recoveries(lab) == 0
        lab.console.answers.clear()
        bench.after_error(silence, "test_second")
        assert recoveries(lab) == 1
        with pytest.raises(LinkDown, match="down since test_second"):
            bench.check_up("test_third", ["pump"])
    with opened(lab, RECOVER) as bench:
        bench.after_error(silence, "test_first")
        bench.check_up("test_second", ["pump"])


def test_an_error_of_the_test_itself_recovers_nothing(lab: Lab) -> None:
    with opened(lab, RECOVER) as bench:
        for error in (UsageError("pump.console: a bare number"), AssertionError("pump.console"), PortLost("elsewhere")):
            bench.after_error(error, "test_first")
        bench.check_up("test_second", ["pump"])
    assert recoveries(lab) == 0


def test_a_link_that_the_bench_itself_lost_is_down_for_all_on_it(lab: Lab) -> None:
    with opened(lab, RECOVER) as bench:
        bench.after_error(PortLost("console: the adapter is gone"), "test_first")
        with pytest.raises(LinkDown, match="^BENCH: down since test_first: console: the adapter is gone"):
            bench.check_up("test_second", ["pump"])
        bench.after_error(PortLost("console: the adapter is gone"), "test_second")
    assert recoveries(lab) == 0
    assert [one["since"] for one in lab.records("down")] == ["test_first"]


SUITE = """
import os
import pytest

def test_before(pump):
    pump.console.expect("fw", after=pump.console.send("ver"), within="30s")

def test_that_loses_it(pump):
    os.write(os.open("loses", os.O_WRONLY), b"now")  # a FIFO: the test that watches us pulls it out
    pump.console.expect("never", within="60s")

@pytest.mark.parametrize("number", range(5))
def test_after(pump, number):
    raise AssertionError("the device is blamed for what it cannot do")

def test_without_the_device():
    pass
"""


def test_many_tests_after_a_loss_blame_the_bench_and_say_since_when(lab: Lab) -> None:
    lab.bench(RECOVER)
    (lab.folder / "test_suite.py").write_text(SUITE)
    pipe = lab.fifo("loses")
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--rootdir", "."]
    command += ["--bench", "bench.toml", "--fieldrig-out", "run"]
    with subprocess.Popen(command, cwd=lab.folder, stdout=subprocess.PIPE) as ended:
        lab.wait_for_word(pipe, ended)
        lab.pull_out()
        assert ended.stdout is not None
        said = ended.stdout.read().decode()
    assert ended.returncode == 1, said
    assert "the device is blamed" not in said
    assert (
        len(re.findall(r"^BENCH: down since test_suite\.py::test_that_loses_it: pump\.console: ", said, re.M)) == 5
    ), said
    for passed in ("test_before", "test_without_the_device"):
        assert f"PASSED test_suite.py::{passed}" in said
    assert recoveries(lab) == 1
