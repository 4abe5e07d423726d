"""Programs that are devices and end, go into the background or say too much: the bench's loss, told in full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError
from fieldrig.life.qmp import QmpSwitch
from tests.life.test_program import bench, is_over
from tests.life.test_qmp import Monitor, monitor  # noqa: F401  # the fixture

LONELY = """
[bench]
name = "lonely"
profile = "real"
[dut.pump]
links = {{ console = {{ port = "{port}", line = "115200 8N1" }} }}
run = {{ command = '{command}' }}
"""
DIES = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
line, _ = listener.accept()
line.recv(100)
print("pump: out of water", flush=True)
os._exit(9)
"""
TESTS = """
import os
import select


def dies(bench):
    bench.device("pump").console.send("go")
    process = bench.life.programs["pump"].process
    end = os.pidfd_open(process)
    assert select.select([end], [], [], 60)[0]
    os.close(end)

def test_passes_although_it_died(bench, pump):
    dies(bench)

def test_fails_because_it_died(bench, pump):
    dies(bench)
    assert not "the pump is wrong"
"""


@pytest.fixture
def port() -> Iterator[str]:
    """A line with which the program has nothing to do."""
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


def test_how_a_program_ended_and_what_it_said_is_told(tmp_path: Path) -> None:
    plan = bench(tmp_path, 'sh -c "echo no firmware; exit 3"')
    with pytest.raises(BenchError, match="has ended with exit status 3: no firmware") as ended:
        plan.open(tmp_path / "run")
    assert "foreground" in str(ended.value.hint)
    plan = bench(tmp_path, 'sh -c "kill -11 $$"')
    with pytest.raises(BenchError, match=r"has ended by signal 11 \(SIGSEGV\): it said nothing"):
        plan.open(tmp_path / "other")


def test_a_program_without_sockets_that_ends_at_once_is_known_to_have_ended(tmp_path: Path, port: str) -> None:
    (tmp_path / "bench.toml").write_text(LONELY.format(port=port, command='sh -c "echo bye; exit 4"'))
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as opened:
        problem = opened.life.ended_program(["pump"], wait=60)
        assert problem is not None and "has ended with exit status 4: bye" in str(problem)
    ended = [json.loads(line) for line in (tmp_path / "run" / "run.jsonl").read_text().splitlines()]
    (fields,) = [one["fields"] for one in ended if one["kind"] == "program.ended"]
    assert fields["how"] == "with exit status 4"


def test_a_program_that_dies_in_a_test_lets_it_neither_pass_nor_accuse(tmp_path: Path) -> None:
    """Also when it is run again."""
    bench(tmp_path)
    (tmp_path / "pump.py").write_text(DIES)
    (tmp_path / "test_pump.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-c", os.devnull, "--rootdir", "."]
    command += ["--fieldrig-retry-inconclusive=1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "DUT:" not in ran.stdout, ran.stdout
    assert "passed" not in ran.stdout.splitlines()[-1], ran.stdout
    assert (
        "pump.console: the program" in ran.stdout and "has ended with exit status 9: pump: out of water" in ran.stdout
    )


def test_what_a_program_left_in_the_background_ends_with_it(tmp_path: Path, port: str) -> None:
    """Also in a session of its own, where no signal to its group comes."""
    code = "import os; print(os.getpid(), flush=True); import signal; signal.pause()"
    (tmp_path / "back.sh").write_text(f"setsid {sys.executable} -c '{code}' &\nread never < $1\n")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "bench.toml").write_text(LONELY.format(port=port, command="sh back.sh fifo"))
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as opened:
        log = tmp_path / "run" / "pump.log"
        while not log.read_text().endswith("\n"):
            opened.sleep("5ms")
        process = int(log.read_text())
    assert is_over(process)


def test_what_a_program_says_fills_no_disk(tmp_path: Path, port: str) -> None:
    says = "import sys; print('begins'); [print('x' * 999) for _ in range(9000)]; print('ends', flush=True)"
    (tmp_path / "says.py").write_text(says)
    (tmp_path / "bench.toml").write_text(LONELY.format(port=port, command=f"{sys.executable} says.py"))
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as opened:
        problem = opened.life.ended_program(["pump"], wait=60)
        assert problem is not None and problem.message.endswith("/ ends")
    said = (tmp_path / "run" / "pump.log").read_text()
    assert said.startswith("begins\n") and said.endswith("ends\n")
    remark = said.partition("[fieldrig: ")[2].partition("\n")[0]
    left_out = int(remark.removesuffix(" bytes are left out here]"))
    rest = len(said) - len(f"\n[fieldrig: {remark}\n")
    assert left_out + rest == 9000 * 1000 + len("begins\nends\n")
    assert len(said) < 3.1 * (1 << 20)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"error": "no"}, "it refuses `query-status`: no"),
        ({"return": None}, "does not say whether the machine runs: null"),
        ({"return": {"running": "perhaps"}}, "does not say whether"),
    ],
)
def test_a_monitor_that_answers_what_no_qemu_does_is_the_benchs_fault(
    monitor: Monitor,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, object],
    problem: str,
) -> None:
    done = monitor._done
    monkeypatch.setattr(monitor, "_done", lambda order: [answer] if order["execute"] == "query-status" else done(order))
    with pytest.raises(BenchError, match=f"board.power: .*{problem}"):
        QmpSwitch("board", {"qmp": monitor.url, "timeout": "30s"}).status()


@pytest.mark.parametrize(
    ("greeting", "problem"), [(b"[" * 100_000 + b"\n", "no JSON"), (b"x" * (2 << 20), "without an end of line")]
)
def test_a_monitor_that_says_too_much_is_the_benchs_fault(monitor: Monitor, greeting: bytes, problem: str) -> None:  # noqa: F811
    monitor.greeting = greeting
    with pytest.raises(BenchError, match=problem):
        QmpSwitch("board", {"qmp": monitor.url, "timeout": "30s"}).status()
