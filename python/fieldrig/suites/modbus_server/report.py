"""Judged rows for people and for machines: `common.report` with the carriers and requirements of this suite."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from fieldrig.suites.common import report as common

from .capabilities import Capabilities
from .carriers import CARRIERS, Carrier
from .outcome import Exchange, Row, requirements, sections
from .server import Server

exit_code = common.exit_code


def lines(row: Row) -> list[str]:
    """The row for people: what was demanded, what it came to and why, the bytes that decide."""
    return common.lines(row, functools.partial(_dissections, CARRIERS[row.carrier]))


def record(row: Row) -> dict[str, Any]:
    """The row for machines, with every exchange that was kept."""
    return common.record(row, functools.partial(_dissections, CARRIERS[row.carrier]))


def _dissections(carrier: Carrier, exchange: Exchange) -> list[str]:
    """What each message in the bytes means."""
    return carrier.dissect(exchange.data, "client" if exchange.what == "sent" else "server")


def coverage(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """How many requirements of each section came to what; those without a row were not tested, or have no test."""
    return common.coverage(rows, requirements(), sections())


def coverage_table(rows: Sequence[Row]) -> list[list[str]]:
    """The coverage as rows of text: section, title, one number for each verdict, and a last line with the sums."""
    return common.coverage_table(rows, coverage(rows), sections())


def header(server: Server) -> list[str]:
    """Over what the server is judged, and what is declared about it."""
    carrier = f"carrier: {server.carrier.name}"
    if server.silences is not None:
        times = server.silences
        carrier += f"; a character takes {times.character * 1000:.3f} ms"
        carrier += f", t3.5 is {times.between * 1000:.3f} ms" if times.between else ""
        carrier += f"; this port tells instants that are {2 * server.resolution * 1000:.3g} ms apart"
    known = declared(server.capabilities)
    return [carrier, f"declared: {', '.join(known) if known else 'nothing (see --caps)'}"]


def declared(capabilities: Capabilities) -> list[str]:
    """The capabilities that somebody declared, by name."""
    plain = Capabilities()
    names = [
        field.name
        for field in fields(Capabilities)
        if field.name not in ("tables", "permission")
        and getattr(capabilities, field.name) != getattr(plain, field.name)
    ]
    for name, table in capabilities.tables.items():
        names += [f"{name}.{field.name}" for field in fields(table) if getattr(table, field.name) is not None]
    return names
