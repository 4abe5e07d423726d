"""The safe state is reached exactly once, however the run ends: each test kills a pytest run in its own way."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from fieldrig import _core
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError
from fieldrig.life import safe
from tests.life.lab import Lab

WAITS = """
import os
import time
def test_it(pump):
    {first}
    # A FIFO: the test that watches us knows that we are here. A file object would swallow Ctrl-C while it is finalized.
    os.write(os.open("waits", os.O_WRONLY), b"here")
    while True:
        time.sleep(0.01)                       # until a signal ends it
"""


def _as_at_a_terminal() -> None:
    """Ctrl-C raises, and a terminal that goes away ends the program: programs inherit what is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Run:
    """A pytest run in a session of its own whose test waits to be killed."""

    def __init__(self, lab: Lab, first: str = "pump.power.off()") -> None:
        self.lab = lab
        (lab.folder / "test_waits.py").write_text(WAITS.format(first=first))
        self._pipe = lab.fifo("waits")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_waits.py"]
        command += ["--bench", "bench.toml", "--fieldrig-out", "run"]
        # As at a terminal, whatever the caller of this test ignores.
        self.process = subprocess.Popen(
            command,
            cwd=lab.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_as_at_a_terminal,
        )

    def wait_until_it_waits(self) -> None:
        """Returns when the test is under way."""
        self.lab.wait_for_word(self._pipe, self.process)

    def guardian(self) -> int:
        """The process of the guardian."""
        return guardians(self.lab)[0]

    def signal(self, number: int) -> None:
        """What the terminal, or somebody else, sends to the run and all that it has started in its session."""
        os.killpg(self.process.pid, number)

    def end(self) -> str:
        """Waits for the end of the run and gives what it said."""
        said, _ = self.process.communicate(timeout=60)
        return said.decode()


@pytest.fixture
def start(lab: Lab) -> Iterator[Callable[..., Run]]:
    """Starts a run; at the end of the test it is over in any case."""
    runs = []

    def go(tables: str = "") -> Run:
        lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe") + tables)
        runs.append(Run(lab))
        return runs[-1]

    yield go
    for made in runs:
        if made.process.poll() is None:
            made.signal(signal.SIGKILL)
            made.process.communicate()


@pytest.fixture
def run(start: Callable[..., Run]) -> Run:
    """A run that waits in its test."""
    made = start()
    made.wait_until_it_waits()
    return made


def safe_actions(lab: Lab) -> list[str]:
    """What the relay was asked after the test had switched the device off."""
    switched = lab.switched()
    return switched[switched.index("off done") + 1 :]


ONCE = ["safe", "safe done"]


def test_at_the_end_of_a_run(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe")))
    with plan.open(out=lab.folder / "run") as bench:
        bench.device("pump").power.off()
        assert safe_actions(lab) == []
    assert safe_actions(lab) == ONCE
    bench.close()
    assert safe_actions(lab) == ONCE


def test_on_ctrl_c(lab: Lab, run: Run) -> None:
    with lab.ends(run.guardian()):
        run.signal(signal.SIGINT)
        assert "KeyboardInterrupt" in run.end()
    assert safe_actions(lab) == ONCE


def test_on_ctrl_c_nothing_is_switched_on_only_to_be_identified(lab: Lab, start: Callable[..., Run]) -> None:
    run = start("\nidentity = { firmware = { console = 'ver' } }")
    run.wait_until_it_waits()
    with lab.ends(run.guardian()):
        run.signal(signal.SIGINT)
        run.end()
    assert safe_actions(lab) == ONCE
    assert lab.kinds().count("run.interrupted") == 1


def test_on_a_second_ctrl_c_while_the_first_one_is_dealt_with(lab: Lab, run: Run) -> None:
    lab.hold("safe")
    with lab.ends(run.guardian()):
        run.signal(signal.SIGINT)
        lab.wait_until_begun("safe")
        run.signal(signal.SIGINT)
        run.end()
        assert safe_actions(lab) == ["safe"]
        lab.let_go("safe")
    assert safe_actions(lab) == ONCE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=lambda one: one.name)
def test_on_a_signal_that_ends_the_run_at_once(lab: Lab, run: Run, number: int) -> None:
    with lab.ends(run.guardian()):
        run.signal(number)
        run.end()
    assert run.process.returncode == -number
    assert safe_actions(lab) == ONCE


def test_a_signal_to_the_guardian_does_not_end_it(lab: Lab, run: Run) -> None:
    guardian = run.guardian()
    with lab.ends(guardian):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(guardian, number)
        assert safe_actions(lab) == []
        run.signal(signal.SIGKILL)
        run.end()
    assert safe_actions(lab) == ONCE


def test_a_command_that_was_under_way_cannot_undo_the_safe_state(lab: Lab, start: Callable[..., Run]) -> None:
    """The run is killed while its relay is about to switch off: the guardian waits for that to be over."""
    lab.hold("off")
    run = start()
    lab.wait_until_begun("off")
    with lab.ends(run.guardian()):
        run.process.kill()
        run.end()
        assert lab.switched() == ["on", "on done", "off"]
        lab.let_go("off")
    assert lab.switched() == ["on", "on done", "off", "off done", *ONCE]


def test_a_guardian_that_was_killed_is_replaced_before_the_next_test(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe")))
    with plan.open(out=lab.folder / "run") as bench:
        first = guardians(lab)[0]
        with lab.ends(first):
            os.kill(first, signal.SIGKILL)
        bench.check_up("test_next", ["pump"])
        assert len(guardians(lab)) == 2
        bench.device("pump").power.off()
    assert safe_actions(lab) == ONCE
    assert noted_by(lab) == ["guardian"]


def test_the_run_reaches_the_safe_state_itself_if_the_guardian_was_killed(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe")))
    with plan.open(out=lab.folder / "run") as bench:
        bench.device("pump").power.off()
        guardian = guardians(lab)[0]
        with lab.ends(guardian):
            os.kill(guardian, signal.SIGKILL)
    assert safe_actions(lab) == ONCE
    assert noted_by(lab) == ["run"]


def test_a_guardian_has_the_bench_until_its_work_is_done(lab: Lab, run: Run) -> None:
    """Else the next run would find its devices switched off under its hands, and blame them."""
    bench = str(lab.folder / "bench.toml")
    lab.hold("safe")
    with lab.ends(run.guardian()):
        run.signal(signal.SIGKILL)
        run.end()
        lab.wait_until_begun("safe")
        assert f"the safe state of run {run.process.pid}" in str(_core.WireLock.holder(bench))
        lab.let_go("safe")
    assert _core.WireLock.holder(bench) is None


def test_a_run_waits_for_the_guardian_before_it_and_not_for_ever(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe, "SPARE", 0.1)
    path = lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe", timeout="10ms"))
    with _core.WireLock(str(path), "the safe state of another run"):
        with pytest.raises(BenchError, match="^BENCH: the devices of this bench .* for the safe state of another run"):
            BenchPlan.load(path).open(out=lab.folder / "run")
    assert lab.switched() == []


def test_a_guardian_can_be_started_by_a_run_with_very_many_files(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe")))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, many), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert max(files) > 1024
        with plan.open(out=lab.folder / "run") as bench:
            bench.device("pump").power.off()
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert safe_actions(lab) == ONCE
    assert noted_by(lab) == ["guardian"]


HELPED = """#!/bin/sh
# A relay whose actions need a helper, which is ended when it is done.
sleep 600 & helper=$!
echo "$1" >> "{folder}/switched"
kill $helper
wait $helper
echo "$1 done" >> "{folder}/switched"
"""


def test_commands_of_the_guardian_hear_signals_as_those_of_the_run_do(lab: Lab) -> None:
    lab.relay.write_text(HELPED.format(folder=lab.folder))
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe", timeout="10s")))
    with plan.open(out=lab.folder / "run") as bench:
        bench.device("pump").power.off()
    assert safe_actions(lab) == ONCE
    assert noted_by(lab) == ["guardian"]


def test_a_safe_state_that_is_not_reached_is_said(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe")))
    bench = plan.open(out=lab.folder / "run")
    (lab.folder / "safe.fails").touch()
    with pytest.raises(BenchError, match=r"^BENCH: the safe state was not reached: pump \(safe\): .*contact welded"):
        bench.close()
    with pytest.raises(BenchError, match="was not reached"):
        bench.close()
    assert lab.switched() == ["on", "on done", "safe"]


def test_what_fails_to_close_keeps_nobody_from_the_safe_state(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "safe"], safe="safe"))).open(
        out=lab.folder / "run"
    )
    device = bench.device("pump")
    console = device.console

    def broken() -> None:
        console.close()
        raise RuntimeError("the port is stuck")

    monkeypatch.setattr(device, "close", broken)
    with pytest.raises(RuntimeError, match="the port is stuck"):
        bench.close()
    assert lab.switched() == ["on", "on done", *ONCE]


def test_without_a_safe_state_there_is_no_guardian(lab: Lab) -> None:
    with BenchPlan.load(lab.bench(lab.power())).open(out=lab.folder / "run"):
        pass
    assert guardians(lab) == []
    assert not (lab.folder / "run" / "guardian.log").exists()
    assert lab.switched() == ["on", "on done"]


def guardians(lab: Lab) -> list[int]:
    """The processes of the guardians of a run, in order."""
    return [line["pid"] for line in lab.records("guardian")]


def noted_by(lab: Lab) -> list[str]:
    """Who has done the safe actions, as the run log says."""
    return [line["by"] for line in lab.records("safe")]
