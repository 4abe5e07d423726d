"""Programs that are devices: they are there for the bench, and gone with it, however it ends."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fieldrig import Rig
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError
from tests.leftovers import nothing_left

PUMP = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("pump: at your service", flush=True)
while True:
    line, _ = listener.accept()
    while said := line.recv(100):
        line.sendall(b"pump says " + said)
"""
BENCH = """
[bench]
name = "pumps"
profile = "real"
[link.console]
protocol = "console"
line = "115200 8N1"
real = {{ port = "unix://{place}" }}
[dut.pump]
links = {{ console = {{}} }}
run = {{ command = '{command}', timeout = "{timeout}" }}
"""
RUN = """
import sys
from fieldrig.bench import BenchPlan
with BenchPlan.load("bench.toml").open("run") as bench:
    print(bench.life.programs["pump"].process, bench.device("pump").console.url, flush=True)
    sys.stdin.read()
"""


def bench(folder: Path, command: str = "", timeout: str = "30s", place: str = "${FIELDRIG_DIR}/console") -> BenchPlan:
    """A bench whose pump is a program."""
    (folder / "pump.py").write_text(PUMP)
    command = command or f"{sys.executable} pump.py {place}"
    (folder / "bench.toml").write_text(BENCH.format(command=command, timeout=timeout, place=place))
    return BenchPlan.load(folder / "bench.toml")


def is_over(process: int, seconds: float = 60) -> bool:
    """Waits for the end of a process that is not ours to wait for."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def test_a_program_is_there_for_the_bench_and_gone_with_it(tmp_path: Path) -> None:
    with nothing_left():
        with bench(tmp_path).open(tmp_path / "run") as opened:
            process = opened.life.programs["pump"].process
            asked = opened.device("pump").console.send("hello")
            opened.device("pump").console.expect("pump says hello", after=asked, within="10s")
            folder = Path(opened.device("pump").console.url.removeprefix("unix://")).parent
            assert folder.stat().st_mode & 0o777 == 0o700
        del opened
        assert is_over(process)
        assert not folder.exists()
    assert "at your service" in (tmp_path / "run" / "pump.log").read_text()


@pytest.mark.parametrize(
    ("command", "timeout", "problem"),
    [
        ("no-such-program", "30s", "cannot be started: .*No such file"),
        ("sh -c 'echo no firmware; exit 3'", "30s", "has ended with exit status 3: no firmware"),
        ("sh -c 'echo waits; exec sleep 60'", "200ms", "has no socket .*console after 200 ms: waits"),
    ],
    ids=["missing", "ends", "no socket"],
)
def test_a_program_that_is_not_there_in_time_is_the_benchs_fault(
    tmp_path: Path, command: str, timeout: str, problem: str
) -> None:
    plan = bench(tmp_path, command.replace("'", '"'), timeout)
    with nothing_left(), pytest.raises(BenchError, match=f"pump: the program .*{problem}"):
        plan.open(tmp_path / "run")


def test_a_socket_with_too_long_a_path_is_told_before_the_program_is_started(tmp_path: Path) -> None:
    plan = bench(tmp_path, place=f"{tmp_path}/{'x' * 100}")
    with pytest.raises(BenchError, match="107 bytes at most") as refused:
        plan.open(tmp_path / "run")
    assert "FIELDRIG_DIR" in str(refused.value.hint)


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{tmp_path}/s")
    with bench(tmp_path, place=f"{tmp_path}/s").open(tmp_path / "run") as opened:
        asked = opened.device("pump").console.send("hello")
        opened.device("pump").console.expect("pump says hello", after=asked, within="10s")
    assert not (tmp_path / "s").exists()


def test_a_socket_that_somebody_has_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{tmp_path}/s")
        other.listen()
        with pytest.raises(BenchError, match="somebody else has its socket"):
            bench(tmp_path, place=f"{tmp_path}/s").open(tmp_path / "run")
    assert (tmp_path / "s").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
def test_a_program_ends_with_a_run_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    bench(tmp_path)
    command = [sys.executable, "-c", RUN]
    run = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert run.stdout is not None
        process, url = run.stdout.readline().decode().split()
        keeper = int(re.findall(r"\) \w (\d+)", Path(f"/proc/{process}/stat").read_text())[0])
        os.kill(run.pid, number)
        assert is_over(int(process)), "the program outlives the run"
        assert is_over(keeper)
        assert not Path(url.removeprefix("unix://")).parent.exists()
    finally:
        run.kill()
        run.communicate()


def test_a_program_ends_with_a_keeper_that_is_killed(tmp_path: Path) -> None:
    with bench(tmp_path).open(tmp_path / "run") as opened:
        program = opened.life.programs["pump"]
        stat = Path(f"/proc/{program.process}/stat").read_text()
        os.kill(int(re.findall(r"\) \w (\d+)", stat)[0]), signal.SIGKILL)
        assert is_over(program.process)
        assert not program.runs()


def test_a_program_that_waits_for_a_cpu_is_a_stall_of_the_run() -> None:
    cpu = min(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        for process in busy:
            os.sched_setaffinity(process.pid, {cpu})
        with Rig() as rig:
            rig.watch_program(busy[0].pid, stands="1ms")
            begun = rig.now()
            for _ in range(3000):
                stalls = [stall for stall in rig.stalls(begun) if stall.kind == "program"]
                if stalls:
                    break
                rig.sleep("10ms")
            assert stalls
            assert "had to wait for a CPU" in stalls[0].reason
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_program_knows_no_virtual_time() -> None:
    with Rig(clock="virtual") as rig, pytest.raises(BenchError, match="virtual"):
        rig.watch_program(os.getpid(), stands="1ms")
