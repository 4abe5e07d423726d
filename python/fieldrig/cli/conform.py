"""Judges a device by a conformance suite, requirement by requirement.

Example: fieldrig conform modbus-server tcp://192.0.2.7:502 --unit 1 --caps caps.toml --junitxml junit.xml

The device is only read. Requirements that need to know what its maker declares (how many connections, the last valid
address, ..) are not applicable without a capabilities file; fieldrig/suites/modbus_server/README.md has its keys.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import Output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("suite", choices=("modbus-server",), metavar="SUITE", help="modbus-server")
    parser.add_argument("url", metavar="URL", help="the device: tcp://HOST:PORT, rtu:///dev/ttyUSB0?line=..")
    parser.add_argument("--unit", type=int, default=1, metavar="N", help="unit id (default: 1)")
    parser.add_argument("--caps", type=Path, metavar="FILE", help="what the maker declares, a TOML file")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ID", help="this requirement, or all of MBAP, .."
    )
    parser.add_argument("--timeout", default="1.5s", metavar="TIME", help="for an answer that must come (1.5s)")
    parser.add_argument("--silence", default="300ms", metavar="TIME", help="for one that must not come (300ms)")
    parser.add_argument("--resolution", metavar="TIME", help="how fine the instants of the serial port are (20ms)")
    parser.add_argument("--junitxml", type=Path, metavar="FILE", help="write JUnit XML here")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write run log and trace here")


def run(options: argparse.Namespace, output: Output) -> int:
    """Judges the device; see `fieldrig.conform.run`."""
    from fieldrig import conform

    chosen = conform.Options(
        url=options.url,
        unit=options.unit,
        caps=options.caps,
        answer=options.timeout,
        silence=options.silence,
        resolution=options.resolution,
        only=tuple(options.only),
        junit=options.junitxml,
        out=options.out,
    )
    return conform.run(chosen, output)
