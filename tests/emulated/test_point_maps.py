"""One map drives a device by name and emulates it: types, orders of bytes, parts of registers, names, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fieldrig import Bench, BenchPlan, Rig, modbus
from fieldrig.errors import BenchFileError, ProtocolError, UsageError

MAP = Path(__file__).parents[2] / "fixtures/modbus/maps/inverter.csv"

EXPECTED: dict[str, tuple[object, str]] = {
    "grid_voltage": (230.0, "08fc"),
    "grid_current": (-5.25, "fdf3"),
    "power": (-4200, "ef98ffff"),
    "energy": (18446744073709551, "004189374bc6a7ef"),
    "frequency": (50.0, "48420000"),
    "reactive": (0.125, "3fc0000000000000"),
    "temperature": (25.0, "028a"),
    "mode": ("on", "0031"),
    "fan": (3, "0031"),
    "limit": (80, "0050"),
    "serial": ("INV-42", "494e562d34320000"),
    "counter": (12345678, "12345678"),
    "installed": ("2026-11-22T14:30:00Z", "6b02fc68"),
    "clock": ("2026-11-22T14:30:00Z", "07ea000b0016000e001e0000"),
    "offset8": (-3, "00fd"),
    "relay": (False, "00"),
    "door": (False, "00"),
}
"""Value and registers of every point of the map."""


@pytest.fixture(name="rig")
def provide_rig() -> Iterator[Rig]:
    with Rig(name="maps", clock="virtual") as rig:
        yield rig


@pytest.fixture(name="device")
def provide_device(rig: Rig) -> Iterator[modbus.Device]:
    with modbus.Device("memory://inverter", map=MAP, rig=rig) as device:
        yield device


@pytest.fixture(name="client")
def provide_client(device: modbus.Device, rig: Rig) -> Iterator[modbus.Client]:
    with modbus.Client("memory://inverter", points=MAP, rig=rig) as client:
        yield client


@pytest.mark.parametrize("name", EXPECTED)
def test_a_point_is_read_as_it_is_emulated(name: str, client: modbus.Client, device: modbus.Device) -> None:
    value, registers = EXPECTED[name]
    reading = client.read(name)
    assert (reading.value, type(reading.value)) == (value, type(value))
    assert reading.answer.pdu[2:].hex() == registers
    assert device.value(name) == value


def test_every_point_of_the_map_is_tested() -> None:
    assert list(modbus.describe_points(MAP)) == list(EXPECTED)


@pytest.mark.parametrize(
    ("name", "value", "registers"),
    [
        ("limit", 100, "0064"),
        ("counter", 0, "00000000"),
        ("clock", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "07ea00010002000300040005"),
        ("clock", "2026-01-02T04:04:05+01:00", "07ea00010002000300040005"),
        ("mode", "standby", "0032"),
        ("mode", 0, "0030"),
        ("fan", 9, "0091"),
        ("offset8", -128, "0080"),
        ("relay", True, "01"),
    ],
)
def test_a_written_point_reads_back(name: str, value: object, registers: str, client: modbus.Client) -> None:
    client.write(name, value)  # type: ignore[arg-type]
    assert client.read(name).answer.pdu[2:].hex() == registers


def test_a_part_of_a_register_leaves_the_rest_alone(client: modbus.Client) -> None:
    answer = client.write("mode", "standby")
    assert answer.function == 0x16
    assert client.read("fan").value == 3


OLD = """
[model]
name = "old"
[face.bus]
unit = 1
functions = [3, 6, 16]
holding = [0xFFF0, 0xFFFF, 0xFFFF]
"""


def test_a_device_without_function_22_is_read_and_written_back(tmp_path: Path) -> None:
    (tmp_path / "old.toml").write_text(OLD)
    points = {
        "low": {"table": "holding", "address": 0, "bits": [0, 3]},
        "wide": {"table": "holding", "address": 1, "type": "u32", "bits": [12, 19]},
    }
    with opened(tmp_path, "old") as bench:
        client = bench.device("device").bus
        with modbus.Client(client.url, points=points, rig=bench.rig) as named:
            named.write("wide", 0xA5)
            named.write("low", 5)
        assert client.read_holding(0, 3).values == (0xFFF5, 0xFFFA, 0x5FFF)


def opened(folder: Path, model: str) -> Bench:
    """A bench with one device of this model on a link named `bus`."""
    (folder / "bench.toml").write_text(
        '[bench]\nname = "b"\n[link.bus]\nprotocol = "modbus-tcp"\nrole = "client"\nemulated = {}\n'
        f'[dut.device]\nmodel = "{model}.toml"\nunit = 1\nlinks = {{ bus = "devices" }}\n'
    )
    return BenchPlan.load(folder / "bench.toml").open(folder / "run", trace="counts")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("fan", 10, "point `fan` takes 0 to 9, not 10"),
        ("limit", float("nan"), "point `limit` holds integers and cannot hold NaN"),
        ("limit", -1, "point `limit` cannot hold -1; the nearest is 0"),
        ("mode", "of", 'point `mode` knows no "of"; it has off, on, standby'),
        ("serial", "x", "point `serial` can only be read, the map says"),
        ("grid_voltage", 1.0, "point `grid_voltage` stands in a table that can only be read"),
        ("counter", 123456789, "point `counter` cannot hold 123456789; the nearest is 99999999"),
        ("clock", datetime(2026, 1, 1), "2026-01-01T00:00:00 has no time zone"),
        ("limt", 1, "there is no point `limt`"),
    ],
)
def test_nothing_is_sent_that_does_not_fit(
    name: str, value: object, text: str, client: modbus.Client, device: modbus.Device
) -> None:
    with pytest.raises(UsageError) as caught:
        client.write(name, value)  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert {point: device.value(point) for point in EXPECTED} == {
        point: value for point, (value, _) in EXPECTED.items()
    }


def test_a_misspelt_point_is_offered_its_neighbour(client: modbus.Client) -> None:
    with pytest.raises(UsageError, match="did you mean `grid_voltage`"):
        client.read("grid_voltge")


def test_registers_that_hold_no_value_are_the_devices_fault(rig: Rig) -> None:
    points = {"total": {"table": "holding", "address": 0, "type": "bcd"}}
    with (
        modbus.Device("memory://bad", holding={0: [0x12AF]}, rig=rig),
        modbus.Client("memory://bad", points=points, rig=rig) as client,
        pytest.raises(ProtocolError, match=r"registers \[12af\] hold digits above 9"),
    ):
        client.read("total")


def test_a_map_that_overlaps_itself_is_refused() -> None:
    points = {"a": {"table": "holding", "address": 0, "type": "u32"}, "b": {"table": "holding", "address": 1}}
    with pytest.raises(UsageError, match="`b.address`: address 1 is taken already by point `a`"):
        modbus.describe_points(points)


def test_a_map_file_is_wrong_at_a_place(tmp_path: Path) -> None:
    path = tmp_path / "meter.csv"
    path.write_text("name,table,address\nvoltage,input,ten\n")
    with pytest.raises(BenchFileError, match=r"meter.csv:2:15: `ten` is not a number"):
        modbus.describe_points(path)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.toml", "[point.v]\ntable = 'input'\n", r"1:2: there is no `point` in .*\n.*did you mean `points`"),
        ("m.toml", "[points.v]\ntable = 'input'\naddress = 70000\n", r"3:11: `points.v.address`: .*65535, not 70000"),
        ("m.csv", "name,table,address\nv,input,1\nw,inptu,2\n", r"3:3: `points.w.table`: .*, not \"inptu\""),
        ("m.csv", "name,table,address,type\nv,holding,1,u32\nw,holding,2,u16\n", r"3:11: .*taken already by point `v`"),
        ("m.csv", "name,table,address,range,initial\nv,holding,1,0..9,10\n", r"2:18: `initial` .* 0 to 9, not 10"),
    ],
)
def test_what_is_wrong_inside_a_map_file_has_a_place(name: str, text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    told = f"{re.escape(name)}:{told}"
    with pytest.raises(BenchFileError, match=told):
        modbus.Device("memory://map", map=path)
    if "initial" not in text:
        with pytest.raises(BenchFileError, match=told):
            modbus.describe_points(path)


def test_a_model_takes_its_points_from_a_map_file(tmp_path: Path) -> None:
    (tmp_path / "meter.csv").write_text(MAP.read_text())
    (tmp_path / "meter.toml").write_text('[model]\nname = "meter"\n[face.bus]\nmap = "meter.csv"\n')
    with opened(tmp_path, "meter") as bench:
        meter = bench.device("device")
        assert meter.bus.read("energy").value == EXPECTED["energy"][0]
        meter.bus.write("mode", "standby")
        assert (meter.get("mode"), meter.get("fan")) == ("standby", 3)
