"""Bridges: two ports with a line between them, whoever is at their ends."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieldrig import Rig
from fieldrig.bridge import Bridge
from fieldrig.cli.bridge import disturb
from fieldrig.errors import PortError, UsageError
from fieldrig.stimulus import Program
from fieldrig.stream import Stream


@contextmanager
def emulator(path: Path) -> Iterator[socket.socket]:
    """A unix socket at which one program waits, as the serial line of an emulator does."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        listener.settimeout(10)
        yield listener


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A device node, opened raw as any program would."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(fd)
        yield fd
    finally:
        os.close(fd)


def read(fd: int, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += os.read(fd, count - len(found))
    return found


def until(rig: Rig, condition: Callable[[], bool]) -> None:
    """Waits until it is so."""
    begun = rig.now()
    while not condition():
        assert (rig.now() - begun).latest < 30
        rig.sleep("1ms")


def exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        assert piece, found
        found += piece
    return found


def test_the_socket_of_an_emulator_becomes_a_serial_line_with_a_speed(tmp_path: Path) -> None:
    with (
        emulator(tmp_path / "uart.sock") as listener,
        Rig() as rig,
        Bridge("pty://", f"unix://{tmp_path}/uart.sock", line="9600 8E1", rig=rig) as bridge,
        opened(bridge.left.address) as program,
    ):
        device, _ = listener.accept()
        with device:
            device.settimeout(10)
            begun = rig.now()
            os.write(program, b"question")
            assert exactly(device, 8) == b"question"
            # Eleven bits for each of eight characters, and surely not less.
            assert (rig.now() - begun).earliest >= 8 * 11 / 9600
            device.sendall(bytes(range(256)))
            assert read(program, 256) == bytes(range(256))
        assert bridge.left.lost is None


def test_who_listens_takes_one_at_a_time_and_then_the_next(tmp_path: Path) -> None:
    place = tmp_path / "line.sock"
    with Rig() as rig, Bridge("tcp-listen://127.0.0.1:0", f"unix-listen://{place}", rig=rig) as bridge:
        host, _, port = bridge.left.address.rpartition(":")
        for _ in range(2):
            with socket.create_connection((host, int(port)), timeout=10) as one, socket.socket(socket.AF_UNIX) as other:
                other.settimeout(10)
                other.connect(str(place))
                until(rig, lambda: bridge.left.joined and bridge.right.joined)
                other.sendall(b"boot")
                assert exactly(one, 4) == b"boot"
                with pytest.raises(ConnectionResetError):
                    with socket.create_connection((host, int(port)), timeout=10) as late:
                        assert late.recv(1)
                one.sendall(b"ver")
                assert exactly(other, 3) == b"ver"
                one.shutdown(socket.SHUT_WR)
                assert one.recv(1) == b""
                other.shutdown(socket.SHUT_WR)
                assert other.recv(1) == b""
        assert bridge.lost is None


def test_between_two_wires_a_bridge_is_exact_on_virtual_time() -> None:
    with Rig(clock="virtual") as rig:
        rig.add_wire("west")
        rig.add_wire("east")
        with (
            Bridge("wire://west", "wire://east", line="9600 8N1", rig=rig),
            Stream("wire://west", rig=rig) as west,
            Stream("wire://east", rig=rig) as east,
        ):
            sent = west.send(b"abc")
            took = sent.until(east.receive(3, within="1s"))
            assert took.earliest_ns >= duration_of(3, 10, 9600)
            assert took.latest_ns <= duration_of(3, 10, 9600) + 10
            with pytest.raises(UsageError, match="duplex"):
                rig.add_wire("north", duplex="double")  # type: ignore[arg-type]


def duration_of(characters: int, bits: int, baud: int) -> int:
    return characters * bits * 1_000_000_000 // baud


def test_a_port_that_is_not_there_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    link = tmp_path / "meter"
    with pytest.raises(PortError, match=r"nobody\.sock"):
        Bridge(f"pty://?link={link}", f"unix://{tmp_path}/nobody.sock", line="9600 8N1")
    assert not link.is_symlink()
    with pytest.raises(UsageError, match="9600 8X1"):
        Bridge("pty://", "pty://", line="9600 8X1")


def test_the_command_says_where_its_ports_are_and_runs_until_ctrl_c(tmp_path: Path) -> None:
    link = tmp_path / "meter"
    command = ["bridge", f"pty://?link={link}", "tcp-listen://127.0.0.1:0", "--line", "9600+8E1", "--format", "json"]
    arguments = [sys.executable, "-m", "fieldrig", *command]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as bridge:
        try:
            assert bridge.stdout is not None
            left, right = (json.loads(bridge.stdout.readline()) for _ in range(2))
            assert left["address"] == str(link)
            host, _, port = right["address"].rpartition(":")
            with opened(str(link)) as program, socket.create_connection((host, int(port)), timeout=10) as device:
                device.sendall(b"hello")
                assert read(program, 5) == b"hello"
        finally:
            bridge.send_signal(signal.SIGINT)
            assert bridge.wait(timeout=30) == 130
    assert not link.is_symlink()


def test_the_command_disturbs_the_line_as_it_is_told(tmp_path: Path) -> None:
    ports = ["pty://", "tcp-listen://127.0.0.1:0", "--format", "json", "--out", str(tmp_path / "out")]
    faults = ["--fault", "drop,count=1,direction=requests", "--seed", "7", "--line", "115200 8N1"]
    arguments = [sys.executable, "-m", "fieldrig", "bridge", *ports, *faults]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as bridge:
        try:
            assert bridge.stdout is not None
            left, right = (json.loads(bridge.stdout.readline()) for _ in range(2))
            host, _, port = right["address"].rpartition(":")
            with opened(left["address"]) as program, socket.create_connection((host, int(port)), timeout=10) as device:
                device.sendall(b"hello")
                assert read(program, 5) == b"hello"
                os.write(program, b"hello")
                assert exactly(device, 4) == b"ello"
        finally:
            bridge.send_signal(signal.SIGINT)
            assert bridge.wait(timeout=30) == 130


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("drip", "there is no fault"),
        ("drop,q=1", "`q=1` is not one of p=, count="),
        ("drop,p=lots", "`lots` is no value of p="),
        ("drop,p=1,p=1", "is given twice"),
        ("drop,count=-1", "`-1` is no value of count="),
        ("drop,p=2", "p is 0 to 1, not 2"),
        ("delay", "needs delay="),
        ("delay,delay=5", "5"),
    ],
)
def test_a_fault_that_is_none_is_told_as_it_was_written(fault: str, problem: str) -> None:
    with Rig(clock="virtual") as rig:
        rig.add_wire("west")
        rig.add_wire("east")
        bridge = Bridge("wire://west", "wire://east", line="9600 8E1", rig=rig)
        with bridge, pytest.raises(UsageError, match=rf"--fault {re.escape(fault)}: .*{re.escape(problem)}"):
            disturb(bridge, fault)


def fill(connection: socket.socket) -> int:
    """Sends what nobody reads until no more is taken for a while; how much that was."""
    connection.setblocking(False)
    sent = 0
    while select.select([], [connection], [], 0.5)[1]:
        sent += connection.send(numbered(sent, 65536))
        assert sent < 48 << 20, "it takes without end what nobody reads"
    connection.settimeout(10)
    return sent


def numbered(start: int, count: int) -> bytes:
    """Bytes of which each stretch says where it belongs."""
    first = start // 4
    return b"".join(number.to_bytes(4, "big") for number in range(first, first + count // 4 + 2))[start % 4 :][:count]


@pytest.mark.parametrize("line", [None, "115200 8N1"])
def test_who_sends_waits_for_who_does_not_read_and_still_hears_him(tmp_path: Path, line: str | None) -> None:
    left_path, right_path = tmp_path / "left.sock", tmp_path / "right.sock"
    with (
        Rig() as rig,
        Bridge(f"unix-listen://{left_path}", f"unix-listen://{right_path}", line=line, rig=rig) as bridge,
        socket.socket(socket.AF_UNIX) as left,
        socket.socket(socket.AF_UNIX) as right,
    ):
        left.connect(str(left_path))
        right.connect(str(right_path))
        until(rig, lambda: bridge.left.joined and bridge.right.joined)
        sent = fill(left)
        right.sendall(b"busy")
        assert exactly(left, 4) == b"busy"
        # A line takes its time; without one, all of it must have gone through, the last byte as the first.
        count = sent if line is None else 8192
        right.settimeout(30)
        assert exactly(right, count) == numbered(0, count)
        assert bridge.lost is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("pty://?link={folder}/meter", "pty://?line=9600+8E1&link={folder}/detour/../meter"),
        ("serial:///dev/ttyS77?line=9600+8N1", "serial:///dev/ttyS77?line=19200+8N1"),
        ("unix-listen://{folder}/uart", "unix-listen://{folder}/uart"),
        ("wire://bus", "wire://bus?line=19200+8E1"),
    ],
)
def test_a_bridge_from_a_port_to_itself_is_refused(tmp_path: Path, left: str, right: str) -> None:
    (tmp_path / "detour").mkdir()
    with pytest.raises(UsageError, match="a bridge needs two ports") as refused:
        Bridge(left.format(folder=tmp_path), right.format(folder=tmp_path))
    assert "another `link=`" in str(refused.value)
    assert os.listdir(tmp_path) == ["detour"]


def test_half_duplex_garbles_who_sends_meanwhile_and_takes_a_line_for_it() -> None:
    with Rig(clock="virtual") as rig:
        rig.add_wire("west")
        rig.add_wire("east")
        with pytest.raises(UsageError, match=r'duplex="half" needs line='):
            Bridge("wire://west", "wire://east", duplex="half", rig=rig)
        with (
            Bridge("wire://west", "wire://east", line="9600 8N1", duplex="half", rig=rig),
            Stream("wire://west", rig=rig) as west,
            Stream("wire://east", rig=rig) as east,
        ):
            playing = east.begin(Program().send(b"world", at="2ms"))
            west.send(b"hello")
            heard = east.receive(5, within="1s").data
            assert heard[:1] == b"h" and heard != b"hello"
            assert playing.wait(within="1s").outcome == "completed"
