"""The rows about tokio-modbus accuse no server of what is not its fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fieldrig.suites.modbus_server import rows
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.probe import probe
from fieldrig.suites.modbus_server.saboteurs import Patch, Saboteur
from fieldrig.suites.modbus_server.saboteurs.device import emulated
from fieldrig.suites.modbus_server.server import Server

ROWS = [name for name in requirements() if name.startswith("INT-")]


def judged(server: Server) -> dict[str, Row]:
    return {name: judge(requirements()[name], rows.tests()[name], server) for name in ROWS}


def test_a_server_with_room_for_one_connection_passes_all_but_that_about_two() -> None:
    with emulated(Saboteur(habits=(("max_connections", 1),)), "tcp") as server:
        server.capabilities = replace(server.capabilities, max_connections=1)
        probe(server, "the device")
        assert not server.facts.parallel
        seen = judged(server)
    assert {name: row.says for name, row in seen.items() if row.verdict != "pass"} == {
        "INT-05": "one connection is declared as the maximum"
    }


class UnknownLevel(Patch):
    """43: a conformity level that nobody has defined, which is the business of FC43."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return answer[:3] + b"\x84" + answer[4:] if answer is not None and pdu[0] == 43 else answer


class NoIdentification(Patch):
    """43: exception 02."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return b"\xab\x02" if pdu[0] == 43 else answer


@pytest.mark.parametrize(
    ("patch", "says"),
    [(UnknownLevel, "which is proper, but tokio-modbus cannot use it"), (NoIdentification, "there is none")],
)
def test_what_tokio_modbus_cannot_use_though_it_is_an_answer_is_not_applicable(
    patch: Callable[[], Patch], says: str
) -> None:
    with emulated(Saboteur(patch=patch), "memory") as server:
        row = judged(server)["INT-06"]
    assert (row.verdict, says in row.says) == ("not applicable", True), row.says


@pytest.mark.parametrize("carrier", ["udp", "ascii"])
def test_what_tokio_modbus_does_not_speak_is_not_applicable(carrier: str) -> None:
    with emulated(on=carrier) as server:
        assert {row.verdict for row in judged(server).values()} == {"not applicable"}
