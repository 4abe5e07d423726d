"""Our `rfc2217://` against ser2net, the serial server that most labs run: it has a pty for its serial port.

What the C library calls a driver's refusal of parity on a pty (docs/links.md) is left out: the line is 8N1.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, timing
from fieldrig.errors import InconclusiveError
from fieldrig.serial import Console
from fieldrig.stream import Stream
from tests import needs

ALL = bytes(range(256)) * 3


@contextlib.contextmanager
def serial_server(folder: Path) -> Iterator[tuple[int, str]]:
    """ser2net at work: the end of the line where a device would be, and the address."""
    program = needs.program("ser2net")
    device, port = os.openpty()
    tty.setraw(port)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = folder / "ser2net.yaml"
    settings.write_text(
        "connection: &line\n"
        f"  accepter: telnet(rfc2217=true),tcp,{address.replace(':', ',')}\n"
        f"  connector: serialdev,{os.ttyname(port)},9600n81,local\n",
        "utf-8",
    )
    with subprocess.Popen([program, "-n", "-c", settings], stderr=subprocess.DEVNULL) as process:
        try:
            listens(address, process)
            yield device, address
        finally:
            process.kill()
            os.close(device)
            os.close(port)


def listens(address: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until it does."""
    with Rig(trace="counts") as rig:
        begun = rig.now()
        while True:
            with contextlib.suppress(OSError), socket.create_connection(address.split(":")):  # type: ignore[arg-type]
                return
            assert process.poll() is None, "ser2net ended"
            assert (rig.now() - begun).latest < 30
            rig.sleep("10ms")


def read(device: int, count: int) -> bytes:
    """So many bytes from the line."""
    found = b""
    while len(found) < count:
        found += os.read(device, count - len(found))
    return found


def test_a_line_behind_ser2net_is_set_and_carries_every_byte_both_ways(tmp_path: Path) -> None:
    with serial_server(tmp_path) as (device, address), Rig(trace="counts") as rig:
        for number in range(3):
            with Stream(f"rfc2217://{address}?line=19200+8N1", rig=rig, name=f"line{number}") as line:
                assert termios.tcgetattr(device)[5] == termios.B19200
                line.send(ALL)
                assert read(device, len(ALL)) == ALL
                os.write(device, ALL)
                assert line.receive(len(ALL), within="10s").data == ALL


def test_an_answer_behind_a_serial_server_is_one_as_soon_as_it_is_said_how_long_it_holds_bytes(tmp_path: Path) -> None:
    with serial_server(tmp_path) as (device, address), Rig(trace="counts") as rig:
        with Console(f"rfc2217://{address}?line=9600+8N1&holds=0ms", rig=rig, name="told") as console:
            sent = console.send("status")
            assert read(device, 7) == b"status\n"
            os.write(device, b"ok\r\n")
            assert console.expect("ok", after=sent, within="10s")
        with Console(f"rfc2217://{address}?line=9600+8N1", rig=rig, name="untold") as console:
            sent = console.send("status")
            assert read(device, 7) == b"status\n"
            os.write(device, b"ok\r\n")
            with pytest.raises(InconclusiveError, match="before or after the cursor(.|\n)*`holds=`"):
                console.expect("ok", after=sent, within="100ms")
            begun = console.mark()
            console.expect_none("later", for_="50ms", after=begun)
            os.write(device, b"later\r\n")
            later = console.expect("later", after=begun, within="10s")
            with pytest.raises(InconclusiveError, match=r"twice its resolution of 20 ms(.|\n)*`holds=2ms`"):
                timing.within(later, "30ms", after=sent)
