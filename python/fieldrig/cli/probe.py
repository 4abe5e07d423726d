"""Finds out what a Modbus device is: unit ids, functions, readable addresses. It only reads.

Example: fieldrig probe tcp://192.0.2.7:502 --addresses 0-9999 --map meter.toml
Example: fieldrig probe "rtu:///dev/ttyUSB0?line=9600+8E1" --units 1-20 --pace 50ms

The map file holds the addresses that could be read and what stood there: `modbus.Device(map="meter.toml")` emulates it,
and names, types and units of the points can be written into it. Nothing is written to the device, and functions that
write are not asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from .exits import Exit
from .output import Output

if TYPE_CHECKING:
    from ..probe import Scope, Unit


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("url", metavar="URL", help="the device: tcp://HOST:PORT, rtu:///dev/ttyUSB0?line=..")
    parser.add_argument("--units", default="1", metavar="LIST", help="unit ids, such as 1,5-9 (default: 1)")
    parser.add_argument("--tables", default="", metavar="LIST", help="holding,input,coils,discrete (default: all)")
    parser.add_argument("--addresses", default="0-299", metavar="A-B", help="addresses, from 0 on (default: 0-299)")
    parser.add_argument("--pace", default="20ms", metavar="TIME", help="between two requests, at least (20ms)")
    parser.add_argument("--timeout", default="500ms", metavar="TIME", help="for an answer (500ms)")
    parser.add_argument("--most", type=int, default=4000, metavar="N", help="requests for each unit (4000)")
    parser.add_argument("--grain", type=int, default=1, metavar="N", help="above 1, smaller islands are missed (1)")
    parser.add_argument("--map", type=Path, metavar="FILE", help="write a map file; with several units, NAME-UNIT.toml")
    parser.add_argument("--points", action="store_true", help="in the map file, one point for each address")


def run(options: argparse.Namespace, output: Output) -> int:
    """Probes and prints; 0 if a unit answered, 4 if none did."""
    from .. import Rig, modbus
    from ..probe import Probe, map_text

    scope = _scope(options)
    if options.map is not None and not options.map.parent.is_dir():
        raise UsageError(f"--map: there is no folder {options.map.parent}")
    found: list[Unit] = []
    with (
        Rig(trace="counts", name="probe") as rig,
        modbus.Client(options.url, unit=scope.units[0], timeout=options.timeout, rig=rig, name=options.url) as client,
    ):
        for unit in Probe(client, rig, scope, output.progress).run():
            found.append(unit)
            _show(unit, output)
            if options.map is not None:
                path = _path(options.map, unit, scope)
                try:
                    path.write_text(map_text(unit, options.url, options.points), encoding="utf-8")
                except OSError as error:
                    raise UsageError(f"--map: {path} cannot be written: {error.strerror}") from None
                output.say(f"  map: {path}")
    if not found:
        output.say(f"no unit of {options.units} answered within {options.timeout}")
        output.record("probe", units=[])
        return Exit.INCONCLUSIVE
    return Exit.PASS


def _scope(options: argparse.Namespace) -> Scope:
    from .. import duration
    from ..probe import TABLES, Scope

    tables = [name for name in options.tables.split(",") if name] or list(TABLES)
    for name in tables:
        if name not in TABLES:
            raise UsageError(f"--tables: there is no table `{name}`", hint=f"there are {', '.join(TABLES)}")
    addresses = _numbers("--addresses", options.addresses, 0xFFFF)
    for name, value in (("--most", options.most), ("--grain", options.grain)):
        if value < 1:
            raise UsageError(f"{name} is {value}; it is 1 or more")
    return Scope(
        units=_numbers("--units", options.units, 255),
        tables=tables,
        first=addresses[0],
        last=addresses[-1],
        grain=options.grain,
        pace=duration(options.pace),
        most=options.most,
    )


def _numbers(name: str, text: str, highest: int) -> list[int]:
    """Reads `1,5-9`. Raises `UsageError`."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise UsageError(f"{name}: `{part}` is no number and no range", hint="write 1,5-9") from None
        if not 0 <= low <= high <= highest:
            raise UsageError(f"{name}: `{part}` is not between 0 and {highest}, the lower number first")
        numbers += range(low, high + 1)
    return numbers


def _path(given: Path, unit: Unit, scope: Scope) -> Path:
    return given if len(scope.units) == 1 else given.with_name(f"{given.stem}-{unit.unit}{given.suffix}")


def _show(unit: Unit, output: Output) -> None:
    output.say(f"unit {unit.unit}")
    for number, text in unit.identification.items():
        output.say(f"  object {number}: {text}")
    output.say("  functions: " + ", ".join(f"{code:02} {word}" for code, word in sorted(unit.functions.items())))
    output.say("  not asked for, they write: 05, 06, 15, 16, 21, 22, 23; not asked for, it may take what it reads: 24")
    rows = [(found.table, f"{found.first} to {found.last}", str(len(found.values))) for found in unit.ranges]
    output.table(rows, ["table", "addresses", "items"])
    if not rows:
        output.say("  no address could be read")
    if unit.left_out:
        output.say(f"  not all was asked for: {unit.left_out}")
    output.say(f"  {unit.requests} requests")
    output.record(
        "unit",
        unit=unit.unit,
        functions=unit.functions,
        identification=unit.identification,
        ranges=[{"table": found.table, "first": found.first, "last": found.last} for found in unit.ranges],
        requests=unit.requests,
        left_out=unit.left_out,
    )
