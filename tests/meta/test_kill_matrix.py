"""The kill matrix: every row of the suite for Modbus/TCP servers can fail, and fails for its own reason.

The whole suite runs against our emulated device, which must pass every row, and against one saboteur for each row: a
habit of the device that breaks that requirement. The row must fail (a `should` row must be missed), and with it exactly
the rows that the saboteur declares.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fieldrig.suites.modbus_server import rows, saboteurs
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.report import lines
from fieldrig.suites.modbus_server.saboteurs import SABOTEURS, Saboteur

AT_A_TIME = 8
MISSED = ("fail", "advice")
UNSABOTAGED = Saboteur(())

Results = dict[str, Future[dict[str, Row]]]


def run(name: str, saboteur: Saboteur) -> dict[str, Row]:
    """All rows; behind the row after which the device serves nobody, none."""
    return saboteurs.run(*saboteur.habits, stop=lambda row: saboteur.ends and row.requirement.id == name)


@pytest.fixture(scope="module")
def matrix() -> Iterator[Results]:
    """All runs, under way, several at a time."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {name: pool.submit(run, name, saboteur) for name, saboteur in {"": UNSABOTAGED, **SABOTEURS}.items()}


def shown(judged: dict[str, Row], ids: set[str]) -> str:
    return "\n".join(line for name in ids for line in lines(judged[name]))


def test_our_device_passes_every_row(matrix: Results) -> None:
    judged = matrix[""].result()
    wrong = {name for name, row in judged.items() if row.verdict not in ("pass", "reported")}
    assert list(judged) == list(requirements())
    assert not wrong, shown(judged, wrong)


@pytest.mark.parametrize("name", SABOTEURS)
def test_saboteur_is_found(name: str, matrix: Results) -> None:
    saboteur = SABOTEURS[name]
    judged = matrix[name].result()
    missed = {row for row, result in judged.items() if result.verdict in MISSED}
    assert name in missed, f"the saboteur survives: {saboteur.habits}\n{shown(judged, {name})}"
    expected = {name, *saboteur.falls}
    surplus = missed - expected
    assert not surplus, f"undeclared rows fail, too:\n{shown(judged, surplus)}"
    assert expected <= missed, f"declared rows do not fail:\n{shown(judged, expected - missed)}"
    undecided = {row for row, result in judged.items() if result.verdict in ("inconclusive", "not tested")}
    assert not undecided, shown(judged, undecided)


def test_every_row_is_tested_with_a_saboteur_or_says_why_not() -> None:
    tested = rows.tests()
    assert set(tested) == set(requirements()), "every requirement has one test, every test a requirement"
    for name, requirement in requirements().items():
        if requirement.kind == "tested":
            assert name in SABOTEURS, f"{name} has no saboteur"
            assert requirement.reason is None, f"{name} has a saboteur and a reason for having none"
        else:
            assert requirement.reason, f"{name} is not judged and does not say why"
    assert set(SABOTEURS) <= set(requirements())


def test_ids_count_up_without_a_gap() -> None:
    for section, count in {"MBAP": 31, "PDU": 10, "FC03": 5}.items():
        numbers = [name for name in requirements() if name.startswith(f"{section}-")]
        assert numbers == [f"{section}-{number:02}" for number in range(1, count + 1)]
