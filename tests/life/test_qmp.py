"""The monitor of QEMU as a switch: what it says is checked, and a monitor that fails is the bench's fault.

The monitor here is a script that speaks QMP as QEMU 7.2 was seen to; `tests/interop/test_firmware.py` has the real one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldrig.errors import BenchError, UsageError
from fieldrig.life.qmp import ACTIONS, QmpSwitch

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": ""}, "capabilities": ["oob"]}}
MEMORY = bytes(range(256)) * 16


class Monitor:
    """A machine with a monitor, on a thread."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.running = True
        self.obeys = True
        self.asked: list[str] = []
        self.greeting: bytes | None = json.dumps(GREETING).encode() + b"\r\n"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line, line.makefile("rb") as orders:
                if self.greeting is not None:
                    with contextlib.suppress(BrokenPipeError):  # who was told too much has gone
                        line.sendall(self.greeting)
                for order in orders:
                    for said in self._done(json.loads(order)):
                        line.sendall(json.dumps(said).encode() + b"\r\n")

    def _done(self, order: dict[str, object]) -> Iterator[dict[str, object]]:
        command = str(order["execute"])
        self.asked.append(command)
        if command == "human-monitor-command":
            yield {"return": self._shown(str(order["arguments"]["command-line"]))}  # type: ignore[index]
        elif command == "query-status":
            yield {"return": {"running": self.running, "singlestep": False}}
        elif command == "refused":
            yield {"error": {"class": "CommandNotFound", "desc": "The command refused has not been found"}}
        else:
            if command in ("stop", "cont") and self.obeys:
                self.running = command == "cont"
                yield {"event": "RESUME" if self.running else "STOP", "timestamp": {}}
            yield {"return": {}}
            if command == "system_reset":
                yield {"event": "RESET", "data": {"guest": False}, "timestamp": {}}

    @staticmethod
    def _shown(line: str) -> str:
        _, form, address = line.split()
        count, begin = int(form[1:-2]), int(address, 16)
        if begin >= len(MEMORY):
            return "Cannot access memory\r\n"
        rows = range(begin, begin + count, 8)
        octets = {row: MEMORY[row : min(row + 8, begin + count)] for row in rows}
        return "".join(f"{row:016x}: " + " ".join(f"0x{octet:02x}" for octet in octets[row]) + "\r\n" for row in rows)

    def close(self) -> None:
        """Nobody is there any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def monitor(tmp_path: Path) -> Iterator[Monitor]:
    made = Monitor(tmp_path / "qmp")
    yield made
    made.close()


def switch(monitor: Monitor, timeout: str = "30s") -> QmpSwitch:
    """The switch of a board that the monitor has."""
    return QmpSwitch("board", {"qmp": monitor.url, "timeout": timeout})


@pytest.mark.parametrize(
    ("action", "told", "state"),
    [
        ("on", ["system_reset", "cont"], "on"),
        ("off", ["stop"], "off"),
        ("reset", ["system_reset", "cont"], "on"),
        ("hang", ["stop"], "off"),
        ("resume", ["cont"], "on"),
    ],
)
def test_an_action_is_told_and_read_back(monitor: Monitor, action: str, told: list[str], state: str) -> None:
    monitor.running = state == "off"
    board = switch(monitor)
    board.drive(action)
    assert (board.confirm(action), board.status(), board.leaves(action)) == (state, state, state)
    assert [one for one in monitor.asked if one not in ("qmp_capabilities", "query-status")] == told
    assert action in ACTIONS


def test_a_machine_that_does_not_obey_is_the_benchs_fault(monitor: Monitor) -> None:
    monitor.obeys = False
    board = switch(monitor)
    board.drive("hang")
    with pytest.raises(BenchError, match="told `hang`, but QEMU says that the machine is `on`"):
        board.confirm("hang")
    with pytest.raises(UsageError, match="QEMU can do on, off, reset, hang, resume, not `burn`"):
        board.drive("burn")


def test_memory_is_shown_as_it_is(monitor: Monitor) -> None:
    board = switch(monitor)
    assert board.peek(0x10, 5) == MEMORY[0x10:0x15]
    assert board.peek(3, 2500) == MEMORY[3:2503]
    with pytest.raises(BenchError, match="cannot show 4 bytes of memory at 0x100000: Cannot access memory"):
        board.peek(0x100000, 4)


@pytest.mark.parametrize(
    ("greeting", "problem"),
    [(b"SSH-2.0\r\n", "no JSON"), (b'{"hello": 1}\r\n', "no greeting of QMP"), (None, "nothing came")],
)
def test_who_is_no_monitor_is_told(monitor: Monitor, greeting: bytes | None, problem: str) -> None:
    monitor.greeting = greeting
    with pytest.raises(BenchError, match=f"board.power: the monitor of QEMU at unix://.*{problem}"):
        switch(monitor, "200ms").status()


def test_a_monitor_that_is_not_there_is_told(tmp_path: Path) -> None:
    board = QmpSwitch("board", {"qmp": f"unix://{tmp_path}/none", "timeout": "1s"})
    act: Callable[[], object] = board.status
    with pytest.raises(BenchError, match="no connection: No such file"):
        act()
