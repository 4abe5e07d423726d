"""The kill matrix: every row of the suite for Modbus clients can fail, and fails for its own reason.

The suite judges a naive client, which must pass every row on every carrier, fieldrig's own client, which must, too, and
saboteurs for each row: a switch of the naive client that breaks that requirement. The row must fail (a `should` row
must be missed), and with it exactly the rows that the saboteur declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from fieldrig.suites.common import rows
from fieldrig.suites.common.outcome import Row
from fieldrig.suites.modbus_client import saboteurs
from fieldrig.suites.modbus_client.capabilities import Capabilities
from fieldrig.suites.modbus_client.outcome import CARRIERS, requirements
from fieldrig.suites.modbus_client.own import OwnDriver
from fieldrig.suites.modbus_client.report import lines
from fieldrig.suites.modbus_client.run import judge_all
from fieldrig.suites.modbus_client.saboteurs import SABOTEURS, row_of

from .kills import must_fall, must_have_saboteurs, shown

AT_A_TIME = 5
LINES = ("rtu", "ascii")
NOT_DECIDED_ON_A_PTY = ("CLI-28", "CLI-30")
NAIVE = ("tcp", "tls", *LINES)

Results = dict[str, Future[dict[str, Row]]]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Results]:
    """All runs, under way, several at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running = {f"own {carrier}": pool.submit(saboteurs.judged, OwnDriver, carrier) for carrier in CARRIERS}
        running |= {f"naive {carrier}": pool.submit(saboteurs.run, carrier) for carrier in NAIVE}
        running |= {name: pool.submit(saboteurs.run, each.carrier, each.switch) for name, each in SABOTEURS.items()}
        yield running


def not_passed(judged: dict[str, Row], carrier: str) -> set[str]:
    """The rows of a carrier that were not passed; on a pty nobody can pass two of them."""
    assert list(judged) == list(requirements())
    unproven = NOT_DECIDED_ON_A_PTY if carrier in LINES else ()
    assert all(judged[name].verdict != "pass" for name in unproven), "a pty proves no silence"
    allowed = {name: ("pass", "not run") if name in unproven else ("pass",) for name in judged}
    for_it = {name for name, row in requirements().items() if carrier in row.carriers}
    assert {judged[name].verdict for name in judged if name not in for_it} <= {"not applicable"}
    return {name for name in for_it if judged[name].verdict not in allowed[name]}


@pytest.mark.parametrize("carrier", NAIVE)
def test_a_naive_client_without_a_fault_passes_every_row(carrier: str, matrix: Results) -> None:
    judged = matrix[f"naive {carrier}"].result()
    wrong = not_passed(judged, carrier)
    assert not wrong, shown(judged, wrong, lines)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_our_client_passes_every_row(carrier: str, matrix: Results) -> None:
    judged = matrix[f"own {carrier}"].result()
    wrong = not_passed(judged, carrier)
    assert not wrong, shown(judged, wrong, lines)


@pytest.mark.parametrize("name", SABOTEURS)
def test_saboteur_is_found(name: str, matrix: Results) -> None:
    saboteur = SABOTEURS[name]
    must_fall(row_of(name), saboteur.falls, matrix[name].result(), saboteur, lines)


class WithoutChoice(OwnDriver):
    """Our client, if its transaction id could not be set: only many calls make it wrap."""

    def __call__(self, request: dict[str, Any]) -> Mapping[str, Any]:
        return {"error": "unsupported"} if "first_transaction" in request else super().__call__(request)


def test_our_client_goes_on_behind_the_last_transaction_id(matrix: Results) -> None:
    for running in matrix.values():
        running.result()
    judged = judge_all(WithoutChoice, "tcp", capabilities=Capabilities(many_calls=True), only=("CLI-36",))
    assert judged["CLI-36"].verdict == "pass", shown(judged, {"CLI-36"}, lines)


def test_saboteurs_inside_tls_are_judged_by_all_rows_about_security() -> None:
    security = {name for name in requirements() if name.startswith(saboteurs.SECURITY)}
    assert {name for name, each in SABOTEURS.items() if each.carrier == "tls"} == security


def test_every_row_is_tested_with_a_saboteur_or_says_why_not() -> None:
    judged = {name for name, requirement in requirements().items() if requirement.kind == "tested"}
    must_have_saboteurs(
        requirements(), rows.tests("fieldrig.suites.modbus_client"), set(map(row_of, SABOTEURS)), judged
    )
    for name, saboteur in SABOTEURS.items():
        assert saboteur.carrier in requirements()[row_of(name)].carriers
