"""The kill matrix: every row of the suite for Modbus servers can fail, and fails for its own reason.

The whole suite runs against our emulated device on every carrier, and the device must pass every row. Each row has a
saboteur, or several, that breaks that requirement: the row must fail (a `should` row must be missed), and with it, of
its own section and of related sections, exactly the rows that the saboteur declares.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fieldrig.suites.modbus_server import rows
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.report import lines
from fieldrig.suites.modbus_server.saboteurs import SABOTEURS
from fieldrig.suites.modbus_server.saboteurs.base import UNSABOTAGED, row_of
from fieldrig.suites.modbus_server.saboteurs.device import PLACES, home, judged_rows, rows_at, rows_for, run

from .kills import must_fall, must_have_saboteurs, shown

AT_A_TIME = 8
TOLERATED = {"pty": "not run"}
"""A pty is no line: it has no silences that could be told."""
NOT_THERE = {
    "rtu": {"RTU-27"},
    "tls": {"SEC-09", "SEC-17"},
    "tls rsa": {"SEC-10", "SEC-17"},
    "front": {"SEC-09"},
    "front rsa": {"SEC-10"},
}
"""On the line in memory two that send at a time spoil each other; the pty has the row. A server has a key of one kind;
ours does not negotiate max_fragment_length, OpenSSL in front of it does."""
Results = dict[str, Future[dict[str, Row]]]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Results]:
    """All runs, under way, several at a time: our device wherever it can run, then each saboteur."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        runs = {on: pool.submit(run, UNSABOTAGED, on, rows_at(on)) for on in PLACES}
        for name, saboteur in SABOTEURS.items():
            row = row_of(name)
            stop = row if saboteur.ends else None
            runs[name] = pool.submit(run, saboteur, home(row, saboteur), rows_for(row), stop)
        yield runs


@pytest.mark.parametrize("on", PLACES)
def test_our_device_passes_every_row(on: str, matrix: Results) -> None:
    judged = matrix[on].result()
    fine = ("pass", "reported", TOLERATED.get(on, "pass"))
    wrong = {name for name, row in judged.items() if row.verdict not in fine} - NOT_THERE.get(on, set())
    assert list(judged) == rows_at(on)
    assert not wrong, shown(judged, wrong, lines)


@pytest.mark.parametrize("name", SABOTEURS)
def test_saboteur_is_found(name: str, matrix: Results) -> None:
    saboteur = SABOTEURS[name]
    must_fall(row_of(name), saboteur.falls, matrix[name].result(), saboteur, lines)


def test_every_row_is_tested_with_a_saboteur_or_says_why_not() -> None:
    must_have_saboteurs(requirements(), rows.tests(), set(map(row_of, SABOTEURS)), judged_rows())
