"""Judges a device or a client by a conformance suite, requirement by requirement.

Example: fieldrig conform modbus-server tcp://192.0.2.7:502 --unit 1 --caps caps.toml --junitxml junit.xml
Example: fieldrig conform modbus-client --driver "python my_driver.py {url}" --carrier rtu

A device is only read, unless --writable and --allow permit more; what is written is restored. Requirements that need
to know what its maker declares (how many connections, the last valid address, ..) are not applicable without a
capabilities file. A client is judged by a server that misbehaves on purpose;
the driver makes it do things. The README.md of each suite, in fieldrig/suites/, has the details.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .output import Output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    suites = parser.add_subparsers(dest="suite", metavar="SUITE", required=True)
    server = suites.add_parser("modbus-server", help="a device: a Modbus server")
    server.add_argument("url", metavar="URL", help="the device: tcp://HOST:PORT, rtu:///dev/ttyUSB0?line=..")
    server.add_argument("--unit", type=int, default=1, metavar="N", help="unit id (default: 1)")
    server.add_argument("--timeout", default="1.5s", metavar="TIME", help="for an answer that must come (1.5s)")
    server.add_argument("--silence", default="300ms", metavar="TIME", help="for one that must not come (300ms)")
    server.add_argument("--load", type=float, default=1.0, metavar="X", help="robustness: 1 is short, 20 is thorough")
    server.add_argument("--resolution", metavar="TIME", help="how fine the instants of the serial port are (20ms)")
    server.add_argument(
        "--writable", action="append", default=[], metavar="PLACE", help="may be written: holding:100-199, coils:0-15"
    )
    server.add_argument(
        "--allow", action="append", default=[], metavar="WHAT", help="may be done: restart, listen-only, counters"
    )
    server.add_argument("--max-writes", type=int, metavar="N", help="how many requests may write (1000)")
    client = suites.add_parser("modbus-client", help="a Modbus client, by means of a driver")
    client.add_argument(
        "--driver", required=True, metavar="COMMAND", help='drives the client: "python driver.py {url}"'
    )
    client.add_argument("--carrier", default="tcp", metavar="NAME", help="tcp, tls, rtu or ascii (default: tcp)")
    client.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="where our server listens")
    client.add_argument("--timeout", default="500ms", metavar="TIME", help="what the client is told to wait (500ms)")
    for suite in (server, client):
        suite.add_argument("--caps", type=Path, metavar="FILE", help="what the maker declares, a TOML file")
        suite.add_argument(
            "--only", action="append", default=[], metavar="ID", help="this requirement, or all that begin so"
        )
        suite.add_argument("--junitxml", type=Path, metavar="FILE", help="write JUnit XML here")
        suite.add_argument("--out", type=Path, metavar="DIR", help="write run log and trace here")
        suite.add_argument(
            "--format", choices=("text", "json"), default=argparse.SUPPRESS, help="what is printed (default: text)"
        )


def run(options: argparse.Namespace, output: Output) -> int:
    """Judges it; see `fieldrig.conform.run` and `fieldrig.suites.modbus_client.conform.run`."""
    if options.suite == "modbus-client":
        return _client(options, output)
    from fieldrig import conform

    chosen = conform.Options(
        url=options.url,
        unit=options.unit,
        caps=options.caps,
        answer=options.timeout,
        silence=options.silence,
        load=options.load,
        resolution=options.resolution,
        only=tuple(options.only),
        writable=_listed(options.writable),
        allow=_listed(options.allow),
        max_writes=options.max_writes,
        junit=options.junitxml,
        out=options.out,
    )
    return conform.run(chosen, output)


def _client(options: argparse.Namespace, output: Output) -> int:
    from fieldrig.suites.modbus_client import conform

    chosen = conform.Options(
        driver=options.driver,
        carrier=options.carrier,
        listen=options.listen,
        caps=options.caps,
        timeout=options.timeout,
        only=tuple(options.only),
        junit=options.junitxml,
        out=options.out,
    )
    return conform.run(chosen, output)


def _listed(given: list[str]) -> tuple[str, ...]:
    return tuple(word.strip() for words in given for word in words.split(",") if word.strip())
