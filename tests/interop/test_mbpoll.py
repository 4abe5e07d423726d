"""mbpoll, a foreign client, reads and writes our emulated device: every table and every type that it has.

The first register of a 32-bit number is its low word to mbpoll, with `-B` its high word. It shows 16-bit numbers above
32767 as negative ones, too, and, with `-0`, the addresses of PDUs.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from fieldrig import Rig, modbus
from tests import needs

FLOAT = struct.unpack(">HH", struct.pack(">f", 21.5))
"""21.5, the high word first."""
LINE = "line=19200+8N1"
CARRIERS = {"tcp": "tcp://127.0.0.1:0", "rtu": f"rtu+pty://?{LINE}"}
TABLES: dict[str, Any] = {
    "holding": {10: [0x1234, 0xFFFF], 20: [0, 1, *FLOAT, *reversed(FLOAT)], 30: [0xFFFE, 0xFFFF]},
    "input": {0: [0xBEEF, 7], 2: [*FLOAT, 1, 0]},
    "coils": {3: [True, False, True]},
    "discrete": {0: [True, False]},
}

Values = list[tuple[int, str]]


class Mbpoll:
    """mbpoll, and where our device is."""

    def __init__(self, url: str) -> None:
        address = url.partition("://")[2].partition("?")[0]
        if url.startswith("tcp:"):
            host, port = address.rsplit(":", 1)
            self._settings, self._place = ["-m", "tcp", "-p", port], host
        else:
            self._settings, self._place = ["-m", "rtu", "-b", "19200", "-P", "none"], address

    def run(self, *options: str, write: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Runs it once."""
        command = [needs.program("mbpoll"), "-1", "-0", "-q", "-o", "5", *self._settings, *options, self._place, *write]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def read(self, kind: str, first: int, count: int = 1, *options: str) -> Values:
        """Addresses and values, as it prints them."""
        done = self.run("-t", kind, "-r", str(first), "-c", str(count), *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return [(int(where), value) for where, value in re.findall(r"^\[(\d+)\]:\s+(.+?)\s*$", done.stdout, re.M)]

    def write(self, kind: str, first: int, *values: str, options: tuple[str, ...] = ()) -> None:
        done = self.run("-t", kind, "-r", str(first), *options, write=("--", *values))
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"Written {len(values)} references" in done.stdout

    def refused(self, *options: str, write: tuple[str, ...] = ()) -> str:
        """What it says of a failure."""
        done = self.run(*options, write=write)
        assert done.returncode == 1, done.stdout
        return done.stderr.strip()


@pytest.fixture(params=CARRIERS)
def device(request: pytest.FixtureRequest) -> Iterator[modbus.Device]:
    needs.program("mbpoll")
    with Rig(trace="counts") as rig, modbus.Device(CARRIERS[request.param], unit=1, rig=rig, **TABLES) as device:
        yield device


def test_mbpoll_reads_every_table(device: modbus.Device) -> None:
    mbpoll = Mbpoll(device.url)
    assert mbpoll.read("0", 3, 3) == [(3, "1"), (4, "0"), (5, "1")]
    assert mbpoll.read("1", 0, 2) == [(0, "1"), (1, "0")]
    assert mbpoll.read("3", 1) == [(1, "7")]
    assert mbpoll.read("4", 10, 2) == [(10, "4660"), (11, "65535 (-1)")]


def test_mbpoll_reads_every_type_in_both_word_orders(device: modbus.Device) -> None:
    mbpoll = Mbpoll(device.url)
    assert mbpoll.read("4:hex", 10, 2) == [(10, "0x1234"), (11, "0xFFFF")]
    assert mbpoll.read("3:hex", 0) == [(0, "0xBEEF")]
    assert mbpoll.read("4:int", 20, 1, "-B") == [(20, "1")]
    assert mbpoll.read("4:int", 20) == [(20, "65536")]
    assert mbpoll.read("3:int", 4) == [(4, "1")]
    assert mbpoll.read("4:float", 22, 1, "-B") == [(22, "21.5")]
    assert mbpoll.read("4:float", 24) == [(24, "21.5")]
    assert mbpoll.read("3:float", 2, 1, "-B") == [(2, "21.5")]


def test_mbpoll_writes_coils_and_registers_one_and_several(device: modbus.Device) -> None:
    mbpoll = Mbpoll(device.url)
    mbpoll.write("0", 3, "0")
    assert device.get("coils", 3, 3) == (0, 0, 1)
    mbpoll.write("0", 3, "1", "1", "0")
    assert device.get("coils", 3, 3) == (1, 1, 0)
    mbpoll.write("4", 10, "4711")
    assert device.get("holding", 10, 2) == (4711, 0xFFFF)
    mbpoll.write("4:hex", 20, "0x0A", "0x0B", "0xFFFF")
    assert device.get("holding", 20, 3) == (10, 11, 0xFFFF)


def test_mbpoll_writes_32_bit_values_in_both_word_orders(device: modbus.Device) -> None:
    mbpoll = Mbpoll(device.url)
    mbpoll.write("4:int", 20, "-5", options=("-B",))
    assert device.get("holding", 20, 2) == (0xFFFF, 0xFFFB)
    mbpoll.write("4:int", 20, "-5")
    assert device.get("holding", 20, 2) == (0xFFFB, 0xFFFF)
    mbpoll.write("4:float", 20, "21.5", options=("-B",))
    assert device.get("holding", 20, 2) == FLOAT
    mbpoll.write("4:float", 20, "21.5", "-1.0")
    assert device.get("holding", 20, 4) == (*reversed(FLOAT), 0, 0xBF80)


def test_mbpoll_shows_the_exceptions_of_our_device(device: modbus.Device) -> None:
    mbpoll = Mbpoll(device.url)
    nowhere = ("-t", "4", "-r", "500")
    assert mbpoll.refused(*nowhere) == "Read output (holding) register failed: Illegal data address"
    assert mbpoll.refused(*nowhere, write=("1",)) == "Write output (holding) register failed: Illegal data address"
    assert mbpoll.refused("-t", "1", "-r", "500") == "Read discrete input failed: Illegal data address"
    assert device.get("holding", 10, 2) == (0x1234, 0xFFFF)


def test_mbpoll_finds_nobody_at_another_unit(device: modbus.Device) -> None:
    mbpoll = Mbpoll(device.url)
    said = mbpoll.refused("-t", "4", "-r", "10", "-a", "9", "-o", "0.3")
    assert said == "Read output (holding) register failed: Connection timed out"
    assert mbpoll.read("4", 10) == [(10, "4660")]
