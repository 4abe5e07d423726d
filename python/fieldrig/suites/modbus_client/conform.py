"""Judging a client: `fieldrig conform modbus-client --driver "python my_driver.py {url}"`."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fieldrig.errors import BenchError, InconclusiveError, PortError, UsageError
from fieldrig.suites.common.conform import Told, run_rows, say_coverage

from . import report
from .capabilities import Capabilities, load
from .client import Client, Timing
from .outcome import FOREIGN, requirements, sections
from .plugin import Conformance
from .run import program, station

if TYPE_CHECKING:
    from fieldrig.conform import Display


@dataclass(frozen=True)
class Options:
    """What `fieldrig conform modbus-client` is asked to do."""

    driver: str
    """The command line of the driver; `{url}` in it is the address of our server."""
    carrier: str = "tcp"
    """tcp, tls, rtu or ascii."""
    listen: str = "127.0.0.1:0"
    """Where our server listens (TCP, TLS); port 0 is a free one."""
    caps: Path | None = None
    """Capabilities file."""
    timeout: str = "500ms"
    """What the client is told to wait for an answer."""
    only: tuple[str, ...] = ()
    """Ids, or beginnings of ids, of the rows to judge; empty: all."""
    junit: Path | None = None
    """Where JUnit XML goes."""
    out: Path | None = None
    """Folder for the run log."""


def run(options: Options, display: Display) -> int:
    """Judges a Modbus client.

    Returns:
        0 every row that was judged passed (advice included), 1 a must row failed, 4 inconclusive, 5 nothing judged.

    Raises:
        UsageError: the command line of the driver, an address, a duration, an id or the capabilities file is wrong.
        BenchError: the driver cannot be started, dies, or talks nonsense.
        InconclusiveError: the client does not get right values from a server that does everything right.
    """
    from fieldrig import Rig

    host, port, caps, timing = _checked(options)
    folder = None if options.out is None else str(options.out)
    with (
        Rig(folder=folder, name="conform", trace="counts") as rig,
        _station(options.carrier, host, port, caps) as server,
    ):
        began = rig.now()
        start = program(options.driver, server)
        with contextlib.closing(Client(server, start, timing, caps, lambda: len(rig.stalls(began)))) as client:
            rig.log("conform.begin", driver=options.driver, url=server.url)
            display.progress("a plain read")
            _probe(client)
            display.say(f"{client.name} at {server.url}, driven by {options.driver}")
            display.say()
            display.record("client", name=client.name, url=server.url, driver=options.driver, carrier=options.carrier)
            told = Told(display, rig, report.lines, report.record, len(requirements()))
            plugin = Conformance(client, told, options.only)
            run_rows(Path(__file__).parent, "modbus-client", plugin, options.junit)
    files = {"junit": options.junit, "log": options.out}
    table = report.coverage_table(told.rows)
    say_coverage(told.rows, report.coverage(told.rows), table, files, display)
    return report.exit_code(told.rows)


@contextlib.contextmanager
def _station(carrier: str, host: str, port: int, caps: Capabilities):  # type: ignore[no-untyped-def]
    try:
        opened = station(carrier, host, port, caps)
        with opened as server:
            yield server
    except OSError as error:
        raise PortError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def _checked(options: Options) -> tuple[str, int, Capabilities, Timing]:
    from fieldrig import duration

    if options.carrier not in FOREIGN:
        raise UsageError(f"--carrier is {options.carrier!r}; it is {', '.join(FOREIGN)}")
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--listen is {options.listen!r}; it is HOST:PORT", hint="for example 127.0.0.1:5020")
    for prefix in options.only:
        if not any(name.startswith(prefix) for name in requirements()):
            raise UsageError(f"no requirement begins with {prefix!r}", hint=f"for example {next(iter(sections()))}-05")
    timeout = duration(options.timeout)
    if not 0.05 <= timeout <= 60:
        raise UsageError(f"--timeout is {options.timeout}; it is between 50ms and 60s")
    caps = load(options.caps) if options.caps else Capabilities()
    return host, int(port), caps, Timing(timeout=timeout)


def _probe(client: Client) -> None:
    """The plainest call must work before anything can be judged."""
    health = client.health()
    if health == "answers":
        return
    if health == "unreachable":
        hint = (
            "run the driver by hand: one JSON request a line on standard input, one outcome a line on standard output"
        )
        raise BenchError(client.failure, hint=hint)
    if client.health() != "answers":
        plain = client.station.spoke_plainly
        if plain:
            raise InconclusiveError(
                f"a plain read of two holding registers ended with {client.failure}: the client spoke without TLS, "
                f"{plain[:12].hex(' ')}",
                hint="does the driver have the client use `ca`, `cert` and `key`, which `open` gives?",
            )
        raise InconclusiveError(
            f"a plain read of two holding registers ended with {client.failure}",
            hint="does the driver use the URL that it is given, and pass the values on?",
        )
