"""Judging a device by a conformance suite: `fieldrig conform modbus-server tcp://HOST:PORT --unit N`.

The suites are pytest tests; they run in this process, with nothing of the user's pytest configuration.
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fieldrig.errors import FieldrigError, InconclusiveError, PortError, UsageError
from fieldrig.suites.common.conform import Told, run_rows, say_coverage
from fieldrig.suites.modbus_server import capabilities, places, report
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.plugin import Conformance
from fieldrig.suites.modbus_server.probe import ProbeFailure, probe
from fieldrig.suites.modbus_server.secure.place import secured
from fieldrig.suites.modbus_server.server import REAL, Server, Timing
from fieldrig.suites.modbus_server.writes import restore

if TYPE_CHECKING:
    from fieldrig import Rig
    from fieldrig.suites.modbus_server.secure.link import Target
    from fieldrig.suites.modbus_server.wire import Opener

NOTHING_JUDGED = 5


class Display(Protocol):
    """Where results go; the command line's `Output` is one."""

    def say(self, text: str = "") -> None:
        """A line for people."""

    def progress(self, text: str) -> None:
        """What is being done right now."""

    def complain(self, text: str) -> None:
        """A line that must not be overlooked."""

    def record(self, kind: str, **fields: Any) -> None:
        """A line for machines."""

    def table(self, rows: Iterable[Sequence[str]], headings: Sequence[str], verdict: int | None = None) -> None:
        """Rows in columns."""


@dataclass(frozen=True)
class Options:
    """What `fieldrig conform modbus-server` is asked to do."""

    url: str
    """`tcp://HOST:PORT`, `rtu:///dev/ttyUSB0?line=19200+8E1`, `ascii+rfc2217://..`, `rtu+tcp://..`, `tls://HOST:802?..`."""
    unit: int = 1
    caps: Path | None = None
    """Capabilities file."""
    answer: str = "1.5s"
    """How long an answer may take."""
    silence: str = "300ms"
    """How long nothing must come where nothing may come."""
    load: float = 1.0
    """How much rows about robustness do: 1 takes seconds, 20 is thorough."""
    resolution: str | None = None
    """How fine the instants of a serial port are, if it was calibrated; 20 ms if not given."""
    only: tuple[str, ...] = ()
    """Ids, or beginnings of ids, of the rows to judge; empty: all."""
    writable: tuple[str, ...] = ()
    """What rows may write, beside what the capabilities file permits: `holding:100-199`, `coils:3`, `file4:0-9`."""
    allow: tuple[str, ...] = ()
    """What else they may do, likewise: `restart`, `listen-only`, `counters`."""
    max_writes: int | None = None
    """How many requests may write."""
    junit: Path | None = None
    """Where JUnit XML goes."""
    out: Path | None = None
    """Folder for the run log and the trace."""


def run(options: Options, display: Display) -> int:
    """Judges a Modbus server.

    Returns:
        0 every row that was judged passed (advice included), 1 a must row failed, 4 inconclusive, 5 nothing judged.

    Raises:
        UsageError: the URL, the unit, a duration, an id or the capabilities file is wrong.
        BenchError: nobody listens there, or what listens does not speak Modbus.
        InconclusiveError: the server keeps silent.
    """
    from fieldrig import Rig
    from fieldrig.suites.modbus_server.stream_wire import clock_of

    place, caps, timing = _checked(options)
    address = place.url
    with (
        Rig(folder=None if options.out is None else str(options.out), name="conform") as rig,
        tempfile.TemporaryDirectory(prefix="fieldrig-pki-") as folder,
    ):
        began = rig.now()
        opener, target = _opener(place, caps, timing, rig, Path(folder))
        server = Server(
            opener,
            options.unit,
            caps,
            timing,
            lambda: len(rig.stalls(began)),
            carrier=place.carrier,
            clock=REAL if place.carrier.name == "tls" else clock_of(rig),
            silences=place.silences,
            resolution=place.resolution,
            load=options.load,
            target=target,
        )
        rig.log("conform.begin", url=address, unit=options.unit)
        display.progress(f"probing {address}")
        try:
            probe(server, address)
        except ProbeFailure as failure:
            rig.log("conform.probe", failure=failure.kind, text=failure.text)
            if failure.kind == "nothing":
                display.say(str(failure))
                display.record("nothing judged", message=failure.text, hint=failure.hint)
                return NOTHING_JUDGED
            kind: type[FieldrigError] = PortError if failure.kind == "bench" else InconclusiveError
            raise kind(failure.text, hint=failure.hint) from None
        _say_facts(server, address, display)
        try:
            with _ending_gently():
                rows = _judge_all(server, options, display, rig)
        finally:
            if server.owed:
                restore(server)
            _say_writes(server, display)
    files = {"junit": options.junit, "trace": options.out}
    say_coverage(rows, report.coverage(rows), report.coverage_table(rows), files, display)
    return report.exit_code(rows)


def _opener(
    place: places.Place, caps: capabilities.Capabilities, timing: Timing, rig: Rig, folder: Path
) -> tuple[Opener, Target | None]:
    """How connections are made, and with TLS the server as handshakes see it."""
    if place.carrier.name != "tls":
        return place.opener(rig, timing), None
    target, identity, free = secured(place.url, caps, folder)
    return target.opener(identity), target if free else None


def _checked(options: Options) -> tuple[places.Place, capabilities.Capabilities, Timing]:
    from fieldrig import duration

    resolution = None if options.resolution is None else duration(options.resolution)
    place = places.parse(options.url, resolution=resolution)
    if not 0 <= options.unit <= 255:
        raise UsageError(f"--unit is {options.unit}; it is a number from 0 to 255")
    if not 0 < options.load < 1e6:
        raise UsageError(f"--load is {options.load:g}; it is a number above 0, 1 for a short run")
    for prefix in options.only:
        if not any(name.startswith(prefix) for name in requirements()):
            raise UsageError(f"no requirement begins with {prefix!r}", hint="for example MBAP, PDU-07, FC03")
    timing = place.timing(Timing(answer=duration(options.answer), silence=duration(options.silence)))
    try:
        caps = capabilities.load(options.caps) if options.caps else capabilities.Capabilities()
        caps = capabilities.permitting(caps, options.writable, options.allow, options.max_writes)
    except capabilities.CapabilityError as error:
        raise UsageError(str(error)) from None
    return place, caps, timing


def _judge_all(server: Server, options: Options, display: Display, rig: Rig) -> list[Row]:
    from fieldrig.suites import modbus_server

    told = Told(display, rig, report.lines, report.record, len(requirements()))
    suite = Path(modbus_server.__file__).parent
    run_rows(suite, "modbus-server", Conformance(server, told, options.only), options.junit)
    return told.rows


@contextlib.contextmanager
def _ending_gently() -> Iterator[None]:
    """SIGTERM, and a terminal that goes away, end the run as Ctrl-C does: what a row wrote is restored before."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in ending}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _say_writes(server: Server, display: Display) -> None:
    """How much was written, and loudly what could not be restored."""
    if not server.permission.places and not server.written:
        return
    display.say()
    display.say(f"{server.written} requests that write were sent (at most {server.permission.max_writes})")
    display.record("writes", sent=server.written, most=server.permission.max_writes, unrestored=server.unrestored)
    for lost in server.unrestored:
        display.complain(f"NOT RESTORED: {lost}")


def _say_facts(server: Server, address: str, display: Display) -> None:
    facts = server.facts
    display.say(f"{address} unit {server.unit}: function {facts.function:02} reads at address {facts.address}")
    line = server.carrier.line
    second = "" if line else f"; a second connection is {_served(facts.parallel)}"
    display.say(f"answers within {facts.latency * 1000:.1f} ms{second}")
    for text in report.header(server):
        display.say(text)
    display.say()
    display.record(
        "server",
        url=address,
        unit=server.unit,
        function=facts.function,
        address=facts.address,
        parallel=facts.parallel,
        latency=facts.latency,
        carrier=server.carrier.name,
        resolution=server.resolution,
        declared=report.declared(server.capabilities),
    )


def _served(parallel: bool) -> str:
    return "served" if parallel else "not served while one is open"
