"""A real device is only done what its bench file allows: what goes beyond never reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import modbus
from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import ExceptionAnswer, UsageError

BENCH = """
[bench]
name = "careful"
[link.modbus]
protocol = "modbus-tcp"
real = {{ port = "{port}" }}
[dut.pump]
model = "pump.toml"
unit = 1
links = {{ modbus = "devices" }}
power = {{ command = "true {{action}}" }}
writable = ["speed", "holding:100-101"]
allow = ["silence"]
"""
PUMP = """
[model]
name = "pump"
[points.speed]
kind = "float"
access = "read-write"
[points.limit]
kind = "float"
access = "read-write"
[face.modbus.map]
speed = { table = "holding", address = 0, type = "u16" }
limit = { table = "holding", address = 1, type = "u16" }
"""


@pytest.fixture
def real() -> Iterator[modbus.Device]:
    with modbus.Device(holding={0: [1, 2], 100: [3, 4]}) as device:
        yield device


def opened(folder: Path, port: str, *profiles: str) -> Bench:
    (folder / "bench.toml").write_text(BENCH.format(port=port))
    (folder / "pump.toml").write_text(PUMP)
    return BenchPlan.load(folder / "bench.toml", profiles).open(folder / "out")


def test_what_is_not_writable_is_refused_before_it_is_sent(tmp_path: Path, real: modbus.Device) -> None:
    with opened(tmp_path, real.url, "real") as bench:
        pump = bench.device("pump")
        pump.modbus.write("speed", 7)
        pump.modbus.write_registers(100, [8, 9])
        for refused in (
            lambda: pump.modbus.write("limit", 5),
            lambda: pump.modbus.write_registers(0, [5, 5]),
            lambda: pump.modbus.write_register(102, 5),
            lambda: pump.modbus.raw_pdu(bytes.fromhex("06 0001 0005")),
        ):
            with pytest.raises(UsageError, match=r"(?s)^USAGE: pump\.modbus: the bench file does not allow .*hint: "):
                refused()
        with pytest.raises(UsageError, match="does not allow function 0x08, which restarts it"):
            pump.modbus.diagnostics(1)
        with pytest.raises(UsageError, match="does not allow to write files:4"):
            pump.modbus.write_file([(4, 1, [7])])
        with pytest.raises(ExceptionAnswer):
            pump.modbus.diagnostics(4)  # `allow` has "silence"; devices on TCP have no function 08
        with pytest.raises(UsageError, match="pump: the bench file does not allow to restart it"):
            pump.power.cycle()
        assert pump.modbus.read("limit").value == 2
    assert real.get("holding", 0, 2) + real.get("holding", 100, 2) == (7, 2, 8, 9)


def test_who_may_write_may_not_restart_it_yet(tmp_path: Path, real: modbus.Device) -> None:
    text = BENCH.replace('["silence"]', '["write"]')
    (tmp_path / "bench.toml").write_text(text.format(port=real.url))
    (tmp_path / "pump.toml").write_text(PUMP)
    with BenchPlan.load(tmp_path / "bench.toml", ["real"]).open(tmp_path / "out") as bench:
        pump = bench.device("pump")
        pump.modbus.write("limit", 5)
        for sub, does in ((1, "restarts"), (4, "silences")):
            for ask in (pump.modbus.diagnostics, lambda sub: pump.modbus.raw_pdu(bytes([8, 0, sub, 0, 0]))):
                with pytest.raises(UsageError, match=f"does not allow function 0x08, which {does} it"):
                    ask(sub)


def test_an_emulated_device_can_be_done_anything(tmp_path: Path, real: modbus.Device) -> None:
    with opened(tmp_path, real.url) as bench:
        pump = bench.device("pump")
        pump.modbus.write("limit", 5)
        pump.power.cycle(off="1ms")
    assert real.get("holding", 0, 2) == (1, 2)
