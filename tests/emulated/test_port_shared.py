"""A program that has the port open, too, takes bytes that the device did send: the device is not accused of it.

The port is a pty; a child process is whoever has it open, and says when it has.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tty
from collections.abc import Iterator

import pytest

from fieldrig.errors import ExpectationFailed, InconclusiveError, ObserverBlind
from fieldrig.serial import Console
from fieldrig.stimulus import Program

OPENS = """\
import os, sys
os.open(sys.argv[1], int(sys.argv[2]) | os.O_NOCTTY)
print("open", flush=True)
sys.stdin.read()
"""
"""Opens a port and keeps it until nobody speaks to it any more."""


@pytest.fixture
def port() -> Iterator[tuple[str, int]]:
    """The device node, and the end of the device."""
    device, ours = os.openpty()
    tty.setraw(ours)
    node = os.ttyname(ours)
    os.close(ours)
    try:
        yield node, device
    finally:
        os.close(device)


@contextlib.contextmanager
def opened_by_another(node: str, flags: int, inherits: tuple[int, ...] = ()) -> Iterator[int]:
    """Its process number. It has what it inherits, too."""
    arguments = [sys.executable, "-c", OPENS, node, str(flags)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, pass_fds=inherits) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        try:
            yield child.pid
        finally:
            assert child.stdin is not None
            child.stdin.close()


def test_text_that_another_reader_may_have_taken_accuses_nobody(port: tuple[str, int]) -> None:
    with opened_by_another(port[0], os.O_RDWR) as pid, Console(f"serial://{port[0]}?line=9600+8N1") as console:
        with pytest.raises(InconclusiveError, match=rf"the port is open in .*\(pid {pid}\), too, which may take"):
            console.expect("ready", within="50ms")
        with pytest.raises(InconclusiveError, match=rf"\(pid {pid}\)"):
            console.play(Program().wait(rb"ready", within="50ms"))


def test_silence_before_another_reader_proves_nothing(port: tuple[str, int]) -> None:
    with opened_by_another(port[0], os.O_RDONLY) as pid, Console(f"serial://{port[0]}?line=9600+8N1") as console:
        with pytest.raises(ObserverBlind, match=rf"the port is open in .*\(pid {pid}\)"):
            console.expect_none("panic", for_="50ms")


def test_who_only_writes_takes_nothing(port: tuple[str, int]) -> None:
    with opened_by_another(port[0], os.O_WRONLY), Console(f"serial://{port[0]}?line=9600+8N1") as console:
        with pytest.raises(ExpectationFailed, match="did not come"):
            console.expect("ready", within="50ms")


def test_who_has_the_other_end_of_a_pty_is_the_device(port: tuple[str, int]) -> None:
    node, device = port
    with opened_by_another(node, os.O_RDWR, (device,)), Console(f"serial://{node}?line=9600+8N1") as console:
        with pytest.raises(ExpectationFailed, match="did not come"):
            console.expect("ready", within="50ms")
        console.expect_none("panic", for_="50ms")
