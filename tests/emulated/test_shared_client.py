"""Several DUTs on one wire that fieldrig asks: one client, each device with its unit id and its points."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldrig.bench import BenchPlan

METER = """
[model]
name = "meter"
[points.voltage]
kind = "int"
[face.bus.map]
voltage = { table = "holding", address = 7 }
"""


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_each_device_on_a_wire_is_read_by_name(tmp_path: Path, clock: str) -> None:
    (tmp_path / "meter.toml").write_text(METER)
    duts = "".join(
        f'[dut.{name}]\nmodel = "meter.toml"\nunit = {unit}\nlinks = {{ bus = {{}} }}\n'
        for name, unit in (("first", 1), ("second", 2), ("third", 247))
    )
    (tmp_path / "bench.toml").write_text(
        f'[bench]\nname = "wire"\nclock = "{clock}"\n[link.bus]\nprotocol = "modbus-rtu"\nline = "115200 8N1"\n{duts}'
    )
    with BenchPlan.load(tmp_path / "bench.toml").open(out=tmp_path / "out") as bench:
        devices = [bench.device(name) for name in ("first", "second", "third")]
        assert bench._running.resolve("second", "bus").shared
        for number, device in enumerate(devices):
            device.set("voltage", 100 + number)
        assert [device.bus.read("voltage").value for device in devices] == [100, 101, 102]
        polls = [bench.bus.expect(request_to=device.name, within="20s").unit for device in devices]
        assert polls == [1, 2, 247]
