"""What Wireshark makes of the captures of every transport: everything is dissected, and nothing is malformed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import ExceptionAnswer
from tests.needs import program

#: For each transport what Wireshark calls it. There is no dissector of Modbus ASCII: its frames are lines of text.
TRANSPORTS = [
    ("real", "tcp://127.0.0.1:0", "mbtcp"),
    ("real", "udp://127.0.0.1:0", "mbudp"),
    ("real", "rtu+tcp://127.0.0.1:0", "mbrtu"),
    ("real", "rtu+rfc2217://127.0.0.1:0", "mbrtu"),
    ("real", "pty://?line=115200+8E1", "mbrtu"),
    ("real", "ascii+tcp://127.0.0.1:0", "data-text-lines"),
    ("real", "ascii+rfc2217://127.0.0.1:0", "data-text-lines"),
    ("virtual", "memory://meter", "mbtcp"),
    ("virtual", "wire://bus", "mbrtu"),
    ("virtual", "ascii+wire://bus", "data-text-lines"),
]


@pytest.mark.parametrize(("clock", "url", "name"), TRANSPORTS, ids=[url for _, url, _ in TRANSPORTS])
def test_a_capture_is_dissected(clock: Literal["real", "virtual"], url: str, name: str, tmp_path: Path) -> None:
    tshark = program("tshark")
    with Rig(folder=tmp_path, clock=clock) as rig:
        rig.add_wire("bus", line="115200 8N1")
        with (
            modbus.Device(url, holding={0: [1, 2, 3]}, coils={0: [1, 0, 1]}, rig=rig) as device,
            modbus.Client(device.url, timeout="20s", rig=rig) as client,
        ):
            client.read_holding(0, 3)
            client.read_coils(0, 3)
            client.write_registers(0, [0xFFFF, 0x0D0A])
            with pytest.raises(ExceptionAnswer):
                client.read_holding(3)
    [trace] = tmp_path.rglob("trace.pcapng")

    def shown(*arguments: str) -> str:
        command = [tshark, "-r", str(trace), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert shown("-Y", "_ws.malformed") == ""
    # Four requests and four answers, as each of both ends sees them.
    assert len(shown("-Y", name).splitlines()) == 16
    if name != "data-text-lines":
        assert len(shown("-Y", "modbus.func_code == 16").splitlines()) == 4
        assert len(shown("-Y", "modbus.exception_code == 2").splitlines()) == 2
    else:
        assert ":010300000003F9" in shown("-O", name)
