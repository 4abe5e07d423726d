"""Prints a map of points, checked: what stands where, as what.

Example: fieldrig map meter.csv

A map file is TOML (`[points.voltage]` with `table`, `address`, `type`, ..) or CSV with these words as column names.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .exits import Exit
from .output import Output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a map file: TOML or CSV")


def run(options: argparse.Namespace, output: Output) -> int:
    """Prints the table; 2 if the map is wrong."""
    from ..modbus import describe_points

    points = describe_points(options.file)
    rows = [
        (name, point["table"], _where(point), point["type"], _how(point), _access(point))
        for name, point in points.items()
    ]
    output.table(rows, ["point", "table", "address", "type", "value", "access"])
    for name, point in points.items():
        output.record("point", name=name, **point)
    if not rows:
        output.say("no point is named in it: [points.NAME] names one")
    return Exit.PASS


def _where(point: dict[str, Any]) -> str:
    first, count = point["address"], point["registers"]
    bits = point.get("bits")
    part = "" if bits is None else f" bit {bits[0]}" if bits[0] == bits[1] else f" bits {bits[0]} to {bits[1]}"
    return (str(first) if count == 1 else f"{first} to {first + count - 1}") + part


def _how(point: dict[str, Any]) -> str:
    words = []
    if point["scale"] != 1.0:
        words.append(f"x {point['scale']:g}")
    if point["offset"]:
        words.append(f"{point['offset']:+g}")
    if point["unit"]:
        words.append(point["unit"])
    if "range" in point:
        words.append(f"({point['range'][0]:g} to {point['range'][1]:g})")
    if "labels" in point:
        words.append(", ".join(f"{number} {name}" for name, number in point["labels"].items()))
    return " ".join(words)


def _access(point: dict[str, Any]) -> str:
    return "/".join(word for word, there in (("read", point["readable"]), ("write", point["writable"])) if there)
