"""What a wire of a bench file is like without real devices: its faults, its echo, the delays of its drivers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import InconclusiveError

BENCH = """
[bench]
name = "rack"
clock = "{clock}"
[link.service]
protocol = "modbus-rtu"
line = "9600 8E1"
emulated = {{ {wire} }}
{client}
[dut.pump]
model = "pump.toml"
unit = 11
links = {{ service = "devices" }}
"""
PUMP = """
[model]
name = "pump"
[points.speed]
kind = "float"
initial = 7
[face.service]
map = { speed = { table = "holding", address = 0, type = "u16" } }
"""
ONCE = {"retries": 0, "timeout": "300ms"}


@contextmanager
def opened(folder: Path, wire: str, clock: str = "virtual", client: str = "") -> Iterator[Bench]:
    (folder / "bench.toml").write_text(BENCH.format(wire=wire, clock=clock, client=client))
    (folder / "pump.toml").write_text(PUMP)
    with BenchPlan.load(folder / "bench.toml").open(folder / "out") as bench:
        bench.restart("first")
        yield bench


def test_a_fault_of_the_file_strikes_in_every_test_and_accuses_nobody(tmp_path: Path) -> None:
    with opened(tmp_path, 'seed = 7, faults = [{ fault = "corrupt", direction = "responses" }]') as bench:
        pump = bench.device("pump")
        for test in ("second", "third"):
            with pytest.raises(InconclusiveError, match="the bench file disturbs it"):
                pump.service.read("speed")
            bench.service.fault("drop", direction="requests")
            bench.restart(test)
        log = [json.loads(line) for line in (Path(bench.rig.files()["log"])).read_text().splitlines()]
    set_, cleared = ([r for r in log if r["kind"] == kind] for kind in ("link.fault", "link.fault_cleared"))
    assert [record["fields"]["what"] for record in set_] == ["corrupt", "drop", "drop"]
    assert [record["fields"]["fault"] for record in cleared] == [record["fields"]["fault"] for record in set_[1:]]
    assert any(record["kind"] == "link.struck" for record in log)


def test_a_fault_that_strikes_once_is_over_in_the_next_test(tmp_path: Path) -> None:
    with opened(tmp_path, 'faults = [{ fault = "drop", count = 1, direction = "responses" }]') as bench:
        pump = bench.device("pump")
        with pytest.raises(InconclusiveError, match="the bench file disturbs it"):
            pump.service.read("speed")
        bench.restart("second")
        assert pump.service.read("speed").value == 7


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_an_echo_of_the_file_is_heard_by_who_asks(tmp_path: Path, clock: str) -> None:
    with opened(tmp_path, "echo = true", clock, "client = { local_echo = true }") as bench:
        assert bench.device("pump").service.url.startswith("wire://")
        assert bench.device("pump").service.read("speed").value == 7


def test_who_answers_while_the_driver_of_who_asks_is_still_on_is_garbled(tmp_path: Path) -> None:
    with opened(tmp_path, 'driver_off = "200ms"') as bench:
        with pytest.raises(Exception, match="INCONCLUSIVE|DUT"):
            bench.device("pump").service.read("speed")
        log = Path(bench.rig.files()["log"]).read_text()
    assert "wire.collision" in log
