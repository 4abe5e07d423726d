"""RTS and DTR as power and reset on a 16550A: what the kernel makes of it, also when who drives them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

from fieldrig.bench import BenchPlan
from fieldrig.life.safe import SafeAction, perform
from tests.hardware.test_serial_drivers import eventually, modem_lines, pytestmark  # noqa: F401  # skips this file, too

BENCH = """
[bench]
name = "lab"
profile = "real"
[dut.board]
links = { console = { port = "/dev/ttyS1", line = "115200 8N1" } }
power = { line = "dtr", safe = "off" }
restart = { line = "rts", pulse = "20ms" }
"""

HOLDS = """
import sys, time
from fieldrig.bench import BenchPlan
with BenchPlan.load(sys.argv[1]).open(out=sys.argv[2]):
    print("there", flush=True)
    time.sleep(600)
"""


def closed_lines() -> str:
    """How the lines of the UART stand while nobody has it open, as the driver tells."""
    lines = Path("/proc/tty/driver/serial").read_text().splitlines()
    return next(line.partition("rx:")[2] for line in lines if line.startswith("1:"))


def test_a_uart_is_power_and_reset_and_its_lines_are_clear_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    with BenchPlan.load(tmp_path / "bench.toml").open(out=tmp_path / "run") as bench:
        board = bench.device("board")
        both = termios.TIOCM_DTR | termios.TIOCM_RTS
        assert modem_lines("uart") & both == termios.TIOCM_DTR, "powered, and not held in reset"
        restarted = board.restart()
        assert 0.02 <= (restarted.done - restarted.at).latest < 1
        assert modem_lines("uart") & both == termios.TIOCM_DTR
        board.power.off()
        assert modem_lines("uart") & both == 0
        board.power.on()
    assert "DTR" not in closed_lines() and "RTS" not in closed_lines()


def test_the_lines_of_a_run_that_was_killed_are_clear(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(BENCH)
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "bench.toml"), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdout.readline() == b"there\n"
        assert "DTR" in closed_lines()
        os.kill(run.pid, signal.SIGKILL)
    log = tmp_path / "run" / "guardian.log"
    assert eventually(lambda: '"problem"' in log.read_text())
    assert '"problem": ""' in log.read_text()
    assert eventually(lambda: "DTR" not in closed_lines())


def test_a_port_that_keeps_its_lines_when_it_is_closed_is_cleared_nevertheless() -> None:
    """Without HUPCL the kernel leaves them as they are: that is what the guardian opens the port for."""
    end = os.open("/dev/ttyS1", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        modes = termios.tcgetattr(end)
        modes[2] &= ~termios.HUPCL
        termios.tcsetattr(end, termios.TCSANOW, modes)
    finally:
        os.close(end)
    assert "DTR" in closed_lines()
    table = {"line": "dtr", "port": "serial:///dev/ttyS1?line=9600+8N1", "timeout": "10s"}
    assert perform(SafeAction("board", "off", table)) == ""
    assert "DTR" not in closed_lines()
