"""How a bench file says that fieldrig asks on a link: retries, mode, time-outs, ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import NoAnswer

METERS = """
[bench]
name = "asking"
clock = "virtual"
[link.net]
protocol = "modbus-tcp"
client = { timeout = "300ms", retries = 2, transactions = "fixed:7" }
[link.bus]
protocol = "modbus-rtu"
line = "19200 8E1"
client = { mode = "lenient", pace = "50ms", local_echo = false, late_answers = "2s" }
[dut.meter]
model = "meter.toml"
unit = 1
links = { net = { face = "net" } }
[dut.first]
model = "meter.toml"
unit = 1
links = { bus = { face = "bus" } }
[dut.second]
model = "meter.toml"
unit = 2
links = { bus = { face = "bus" } }
"""
METER = """
[model]
name = "meter"
[points.voltage]
kind = "int"
initial = 230
[face.net.map]
voltage = { table = "input", address = 0 }
[face.bus.map]
voltage = { table = "input", address = 0 }
"""


def opened(folder: Path) -> Bench:
    (folder / "bench.toml").write_text(METERS)
    (folder / "meter.toml").write_text(METER)
    return BenchPlan.load(folder / "bench.toml").open(folder / "out")


def test_a_client_on_a_path_asks_as_the_bench_file_says(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        meter = bench.device("meter")
        assert meter.net.read("voltage").answer.request[:2] == b"\x00\x07"
        meter.rule("net", drop="request")
        with pytest.raises(NoAnswer, match=r"not answered within 300 ms \(3 attempts\)"):
            meter.net.read("voltage")


def test_devices_on_one_wire_are_asked_in_the_same_way(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        first, second = bench.device("first"), bench.device("second")
        before = first.bus.read("voltage").answer
        first.rule("bus", long=1)
        second.rule("bus", long=1)
        for device in (first, second):
            answer = device.bus.read("voltage").answer
            assert [name for name, _ in answer.deviations] == ["trailing"]
            assert before.done.until(answer.at).earliest >= 0.05
            before = answer
