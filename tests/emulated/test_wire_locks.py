"""Locks of real wires: one owner among all processes, who is named, and whose death frees the wire."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fieldrig import _core
from fieldrig._core import WireLock
from fieldrig.errors import PortError, UsageError
from fieldrig.serial import Console

HOLD = """
import sys
from fieldrig._core import WireLock
lock = WireLock(sys.argv[1], "bench `rack2`")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def wire(tmp_path: Path) -> str:
    device = tmp_path / "ttyX"
    device.touch()
    return str(device)


def test_a_wire_that_another_process_holds_names_it_and_is_free_when_it_dies(wire: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, wire], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(PortError) as caught:
            WireLock(wire, wait="50ms")
        text = str(caught.value)
        assert f"(pid {other.pid}) for bench `rack2`" in text
        assert "waited 50 ms" in text
        assert str(other.pid) in (WireLock.holder(wire) or "")
        other.kill()
        other.wait()
    with WireLock(wire, wait="20s") as lock:
        assert lock.name == wire
        assert f"(pid {os.getpid()}, this process)" in (WireLock.holder(wire) or "")
    assert WireLock.holder(wire) is None


def test_a_lock_is_given_up_once(wire: str) -> None:
    lock = WireLock(wire)
    lock.release()
    lock.release()
    WireLock(wire).release()


def test_an_adapter_that_is_not_plugged_in_is_said() -> None:
    with pytest.raises(PortError, match="usb:ffff:fffe: no such adapter is plugged in"):
        WireLock("usb:ffff:fffe")
    with pytest.raises(PortError, match="usb:ffff:fffe: no such adapter is plugged in"):
        Console("serial://usb:ffff:fffe?line=9600+8N1")
    with pytest.raises(UsageError):
        WireLock("192.0.2.1:502", wait="5")


def test_ports_are_listed_without_opening_them() -> None:
    for port in _core.ports():
        assert port.path.startswith("/dev/")
        assert (port.kind == "usb") == (port.name is not None)
