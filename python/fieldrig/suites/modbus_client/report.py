"""Judged rows for people and for machines: `common.report` with the carriers and requirements of this suite."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from fieldrig.suites.common import report as common
from fieldrig.suites.common.outcome import Exchange, Row

from .outcome import requirements, sections

exit_code = common.exit_code


def lines(row: Row) -> list[str]:
    """The row for people: what was demanded, what it came to and why, the bytes that decide."""
    return common.lines(row, functools.partial(_dissections, row.carrier))


def record(row: Row) -> dict[str, Any]:
    """The row for machines, with every exchange that was kept."""
    return common.record(row, functools.partial(_dissections, row.carrier))


def coverage(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """How many requirements came to what; those without a row were not tested, or have no test."""
    return common.coverage(rows, requirements(), sections())


def coverage_table(rows: Sequence[Row]) -> list[list[str]]:
    """The coverage as rows of text."""
    return common.coverage_table(rows, coverage(rows), sections())


def _dissections(carrier: str, exchange: Exchange) -> list[str]:
    """What each message in the bytes means: the client sends what we receive."""
    from fieldrig import modbus

    sender: Literal["client", "server"] = "server" if exchange.what == "sent" else "client"
    data = exchange.data
    if carrier in ("tcp", "tls"):
        return [modbus.dissect_tcp(data, sender).render()]
    if carrier == "ascii":
        return [modbus.dissect_ascii(data, sender).render()]
    return [modbus.dissect_rtu(data, sender).render()]
