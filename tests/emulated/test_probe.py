"""`fieldrig probe` finds what can be read, writes nothing, and its map emulates what was found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, modbus
from fieldrig.cli import main
from fieldrig.probe import OTHER_FUNCTIONS, TABLES, Probe, Range, Scope, Unit, map_text

REGISTERS = {0: list(range(40)), 100: [7] * 3, 205: [1]}
BITS = {3: [True, False, True]}
OBJECTS = {0: "ACME", 1: 'X"1', 2: "1.0"}


@pytest.fixture(name="rig")
def provide_rig() -> Iterator[Rig]:
    with Rig(name="probe", clock="virtual") as rig:
        yield rig


def probed(rig: Rig, url: str, scope: Scope) -> list[Unit]:
    with modbus.Client(url, timeout="100ms", rig=rig) as client:
        return list(Probe(client, rig, scope).run())


def test_where_a_map_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    assert main(["probe", "tcp://127.0.0.1:1", "--map", str(tmp_path / "none" / "meter.toml")]) == 2


def test_everything_that_can_be_read_is_found(rig: Rig) -> None:
    tables = {"holding": REGISTERS, "input": {500: [1, 2]}, "coils": BITS}
    with modbus.Device("memory://d", unit=9, identification=OBJECTS, rig=rig, **tables):  # type: ignore[arg-type]
        (unit,) = probed(rig, "memory://d", Scope(units=(1, 9), first=0, last=600))
    assert unit.unit == 9
    assert unit.identification == OBJECTS
    assert {found.table for found in unit.ranges} == {"holding", "input", "coils"}
    assert [(found.first, found.last) for found in unit.ranges if found.table == "holding"] == [
        (0, 39),
        (100, 102),
        (205, 205),
    ]
    assert Range("input", 500, (1, 2)) in unit.ranges
    assert Range("coils", 3, (1, 0, 1)) in unit.ranges
    assert unit.left_out is None
    assert {code for code, word in unit.functions.items() if word == "unknown"} == {7, 8, 11, 12, 17, 20}


def test_only_functions_that_read_go_over_the_wire(rig: Rig) -> None:
    reading = {*TABLES.values(), *OTHER_FUNCTIONS}
    rig.add_wire("bus", "19200 8E1")
    with (
        modbus.Device("wire://bus", unit=1, holding=REGISTERS, coils=BITS, rig=rig) as device,
        modbus.Monitor("wire://bus", rig=rig) as monitor,
    ):
        (unit,) = probed(rig, "wire://bus", Scope(last=150, pace=0.05))
        rig.sleep("2s")
        requests = [seen for seen in monitor.observations() if seen.kind == "request"]
        assert len(requests) == unit.requests
        assert {seen.function for seen in requests} <= reading
        assert device.get("holding", 0, 40) == tuple(range(40))
        gaps = [after.begins - before.begins for before, after in itertools.pairwise(requests)]
        assert min(gap.earliest for gap in gaps) > 0.03, "the pace is kept; a request of 8 bytes takes some of it"


def test_a_device_that_falls_silent_ends_its_probe(rig: Rig) -> None:
    with modbus.Device("memory://d", holding=REGISTERS, rig=rig) as device:
        probe_of = Scope(tables=("holding",), last=2000)
        with modbus.Client("memory://d", timeout="100ms", rig=rig) as client:

            def silence(text: str) -> None:
                if "holding 500" in text:
                    device.habit("no_answer")

            (unit,) = Probe(client, rig, probe_of, silence).run()
    assert unit.left_out == "it did not answer 3 requests in a row"
    assert [(found.first, found.last) for found in unit.ranges] == [(0, 39), (100, 102), (205, 205)]


def test_the_number_of_requests_is_bounded(rig: Rig) -> None:
    with modbus.Device("memory://d", holding=REGISTERS, rig=rig):
        (unit,) = probed(rig, "memory://d", Scope(last=60_000, most=50))
    assert (unit.requests, unit.left_out) == (50, "50 requests were made")


def test_a_device_with_a_smaller_limit_is_asked_for_less(rig: Rig) -> None:
    with modbus.Device("memory://d", holding={0: [1] * 300}, rig=rig) as device:
        device.habit("max_registers", 32)
        (unit,) = probed(rig, "memory://d", Scope(tables=("holding",), last=299))
    assert unit.ranges == [Range("holding", 0, (1,) * 300)]
    assert unit.requests < 60


@pytest.mark.parametrize("points", [False, True])
def test_the_map_emulates_what_was_found(points: bool, rig: Rig, tmp_path: Path) -> None:
    with modbus.Device("memory://d", holding=REGISTERS, coils=BITS, identification=OBJECTS, rig=rig):
        (unit,) = probed(rig, "memory://d", Scope(last=300))
    path = tmp_path / "found.toml"
    path.write_text(map_text(unit, "memory://d", points))
    with modbus.Device("memory://twin", map=path, rig=rig):
        (twin,) = probed(rig, "memory://twin", Scope(last=300))
    assert twin.ranges == unit.ranges
    if points:
        assert modbus.describe_points(path)["holding_101"]["address"] == 101


def test_the_command_prints_what_it_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with modbus.Device(holding={0: [5, 6]}) as device:
        arguments = ["probe", device.url, "--addresses", "0-20", "--pace", "0.1ms", "--timeout", "2s"]
        assert main([*arguments, "--map", str(tmp_path / "m.toml")]) == 0
        text = capsys.readouterr().out
        assert "holding  0 to 1     2" in text
        assert "0 = [5, 6]" in (tmp_path / "m.toml").read_text()
        assert main([*arguments, "--format", "json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["ranges"] == [{"table": "holding", "first": 0, "last": 1}]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--units", "1-300"], "--units: `1-300` is not between 0 and 255"),
        (["--addresses", "x"], "--addresses: `x` is no number and no range"),
        (["--tables", "holdng"], "--tables: there is no table `holdng`"),
        (["--grain", "0"], "--grain is 0; it is 1 or more"),
        (["--pace", "20"], "20"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "tcp://127.0.0.1:1", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_a_map_is_printed_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", str(Path(__file__).parents[2] / "fixtures/modbus/maps/inverter.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 18
    assert lines[8].split() == "mode holding 0 bits 0 to 3 u16 0 off, 1 on, 2 standby read/write".split()
