"""The suite without pytest: stations and clients by carrier, and every row in order."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fieldrig.suites.common import rows
from fieldrig.suites.common.judge import judge
from fieldrig.suites.common.outcome import Row

from .capabilities import Capabilities
from .client import Client, Timing
from .driver import DriverObject, ObjectDriver, ProgramDriver, Starter
from .outcome import requirements
from .station import LineStation, Station, TcpStation


@contextlib.contextmanager
def station(
    carrier: str, host: str = "127.0.0.1", port: int = 0, capabilities: Capabilities | None = None
) -> Iterator[Station]:
    """Our server on a carrier: tcp, tls, rtu, ascii, or wire (see `exact.WireStation`).

    Raises:
        UsageError: the folder with certificates holds something else.
    """
    with contextlib.ExitStack() as stack:
        opened: Station
        if carrier == "tcp":
            opened = TcpStation(host, port)
        elif carrier == "tls":
            from .secure.station import TlsStation

            declared = capabilities or Capabilities()
            certificates = declared.certificates
            if certificates is None:
                certificates = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldrig-certificates-")))
            opened = TlsStation(host, port, certificates, declared.client_ca, names=named(host))
        elif carrier == "wire":
            from .exact import WireStation

            opened = WireStation()
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fieldrig-line-"))
            opened = LineStation(carrier, Path(folder))
        stack.callback(opened.close)
        yield opened


def named(host: str) -> tuple[str, ...]:
    """The names of our server, if it listens on one address."""
    return () if host in ("", "0.0.0.0", "::") else (host,)


def program(command: str, server: Station) -> Starter:
    """Starts a driver that is a program."""
    return lambda: ProgramDriver(command, server.url)


def python_object(make: Callable[[], DriverObject]) -> Starter:
    """Starts a driver that is a Python object; `make` makes a new one if the one before hangs."""
    return lambda: ObjectDriver(make())


def judge_all(
    make: Callable[[], DriverObject],
    carrier: str,
    *,
    timing: Timing | None = None,
    capabilities: Capabilities | None = None,
    only: Sequence[str] = (),
) -> dict[str, Row]:
    """Judges a client whose driver is a Python object by every row, or by those whose ids begin so.

    Args:
        make: makes the driver: a callable that takes a request (a dict) and gives an outcome (a dict).
        carrier: tcp, tls, rtu, ascii, or wire.

    Returns:
        The judged rows by id.
    """
    functions = rows.tests(__package__)
    with station(carrier, capabilities=capabilities) as server:
        client = Client(server, python_object(make), timing or Timing(), capabilities)
        with contextlib.closing(client):
            chosen = [each for each in requirements().values() if each.id.startswith(tuple(only) or "")]
            return {each.id: judge(each, functions[each.id], client) for each in chosen}
