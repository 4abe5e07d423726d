"""Judged rows for people and for machines: `common.report` with the carriers and requirements of this suite."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from fieldrig.suites.common import report as common

from .carriers import CARRIERS, Carrier
from .outcome import Exchange, Row, requirements, sections

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
    return common.coverage_table(coverage(rows), sections())
