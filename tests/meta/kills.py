"""What the kill matrices of the suites share: did a saboteur fail its row, and no other than it declares?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fieldrig.suites.common.outcome import Requirement, Row

MISSED = ("fail", "advice")
UNDECIDED = ("inconclusive", "not tested")

Lines = Callable[[Row], list[str]]
"""A row for people, as its suite shows it."""


def shown(judged: Mapping[str, Row], ids: Iterable[str], lines: Lines) -> str:
    """Some rows for people."""
    return "\n".join(line for name in sorted(ids) for line in lines(judged[name]))


def must_fall(broken: str, falls: Iterable[str], judged: Mapping[str, Row], saboteur: object, lines: Lines) -> None:
    """The row that a saboteur breaks fails (a `should` row is missed), and with it exactly the declared ones."""
    missed = {row for row, result in judged.items() if result.verdict in MISSED}
    assert broken in missed, f"the saboteur survives: {saboteur}\n{shown(judged, {broken}, lines)}"
    expected = {broken, *falls}
    surplus = missed - expected
    assert not surplus, f"undeclared rows fail, too:\n{shown(judged, surplus, lines)}"
    assert expected <= missed, f"declared rows do not fail:\n{shown(judged, expected - missed, lines)}"
    undecided = {row for row, result in judged.items() if result.verdict in UNDECIDED}
    assert not undecided, shown(judged, undecided, lines)


def must_have_saboteurs(
    requirements: Mapping[str, Requirement], tests: Iterable[str], broken: Iterable[str], judged: Iterable[str]
) -> None:
    """Every row that is tested can fail; every other says why it is not.

    Args:
        tests: rows that have a test; `judged`: those that must have one.
        broken: rows that have a saboteur.
    """
    assert set(tests) == set(judged), "every requirement has one test, every test a requirement"
    for name, requirement in requirements.items():
        if requirement.kind == "tested":
            assert name in broken, f"{name} has no saboteur"
            assert requirement.reason is None, f"{name} has a saboteur and a reason for having none"
        else:
            assert requirement.reason, f"{name} is not judged and does not say why"
    assert set(broken) <= set(requirements)
