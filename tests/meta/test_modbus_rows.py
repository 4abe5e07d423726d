"""Every testable statement of the list that the suites for Modbus were written from stands in one of them."""

from __future__ import annotations

import re

import pytest

from fieldrig.suites.modbus_client.outcome import requirements as client_requirements
from fieldrig.suites.modbus_server.outcome import CARRIERS, FILES, requirements, sections

SERVER_ROWS = {
    "MBAP": range(1, 32),
    "PDU": range(1, 11),
    "EXC": range(1, 11),
    "FC01": range(1, 6),
    "FC02": range(1, 6),
    "FC03": range(1, 6),
    "FC04": range(1, 5),
    "FC05": range(1, 5),
    "FC06": range(1, 4),
    "FC07": range(1, 3),
    "FC08": range(20),
    "FC11": range(1, 4),
    "FC12": range(1, 5),
    "FC15": range(1, 6),
    "FC16": range(1, 7),
    "FC17": range(1, 3),
    "FC20": range(1, 6),
    "FC21": range(1, 4),
    "FC22": range(1, 4),
    "FC23": range(1, 5),
    "FC24": range(1, 5),
    "FC43": range(1, 12),
    "RTU": range(1, 29),
    "ASC": range(1, 15),
    "GW": range(1, 10),
    "SEC": range(1, 29),
    "ROB": range(1, 8),
}
"""Sections of the list about servers, and the numbers of their rows."""

OWN_ROWS = {"INT": range(1, 7)}
"""Sections of our own: what clients of the field make of a server. They stand behind those of the list."""

CLIENT_ROWS = [f"CLI-{number:02}" for number in range(1, 37)]
CLIENT_SECURITY = [f"SEC-{number:02}" for number in (1, 2, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16, 28)]
"""Rows about security that say something about clients, too, or about them only."""

CLIENT_OWN = [f"INT-{number}" for number in range(11, 14)]
"""Rows of our own: what a client makes of servers of the field."""

UNWRITTEN: set[str] = set()
"""Sections that are being written. To be empty in the end."""


def ids(section: str) -> list[str]:
    return [f"{section}-{number:02}" for number in (SERVER_ROWS | OWN_ROWS)[section]]


@pytest.mark.parametrize("section", SERVER_ROWS | OWN_ROWS)
def test_every_row_about_servers_stands_in_the_suite_in_order(section: str) -> None:
    standing = [name for name, requirement in requirements().items() if requirement.section == section]
    if section in UNWRITTEN:
        assert standing != ids(section), f"{section} is complete: take it out of UNWRITTEN"
        assert set(standing) <= set(ids(section))
    else:
        assert standing == ids(section)


def test_every_row_about_clients_stands_in_their_suite() -> None:
    assert list(client_requirements()) == [*CLIENT_ROWS, *CLIENT_SECURITY, *CLIENT_OWN]


def test_what_the_suite_for_servers_leaves_to_that_for_clients_is_tested_there() -> None:
    left = [row.id for row in requirements().values() if "modbus-client" in (row.reason or "")]
    assert left == ["SEC-06", "SEC-07", "SEC-15"]
    assert {client_requirements()[name].kind for name in left} == {"tested"}


def test_no_row_is_made_up() -> None:
    listed = {name for section in SERVER_ROWS | OWN_ROWS for name in ids(section)}
    assert set(requirements()) <= listed
    assert list(sections()) == [*SERVER_ROWS, *OWN_ROWS]


def test_rows_of_our_own_cite_no_standard_and_fail_no_run() -> None:
    everything = [*requirements().values(), *client_requirements().values()]
    own = [requirement for requirement in everything if requirement.section in OWN_ROWS]
    assert {(requirement.spec, requirement.level) for requirement in own} == {("-", "should")}


def test_every_row_says_what_it_is() -> None:
    for requirement in requirements().values():
        assert requirement.level in ("must", "should", "may")
        assert requirement.kind in ("tested", "report", "untestable")
        assert (requirement.reason is None) == (requirement.kind == "tested"), requirement.id
        assert requirement.carriers and set(requirement.carriers) <= set(CARRIERS), requirement.id
        assert re.fullmatch(r"((AP|SL|MG|SEC) [\w.,/ -]+)|-", requirement.spec), requirement.id
        assert requirement.text.endswith("."), requirement.id
    assert len(FILES) == len(set(FILES))
