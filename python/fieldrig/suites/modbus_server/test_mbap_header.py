"""What the MBAP header of an answer holds, and which unit ids are answered."""

from __future__ import annotations

import pytest

from .frames import Adu, is_normal
from .outcome import Absent, Inapplicable, Missed
from .server import Server


def both_kinds(server: Server) -> list[tuple[str, bytes]]:
    """A request that gives a normal answer and one that gives an exception."""
    return [("a valid read", server.read()), ("a read of quantity 0", server.read(0))]


@pytest.mark.requirement("MBAP-01")
def test_transaction_id_is_that_of_the_request(server: Server) -> None:
    talk = server.connect()
    for what, pdu in both_kinds(server):
        for transaction in (0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFF):
            talk, answer = server.ask_on(talk, server.request(pdu, transaction=transaction), what)
            if answer.transaction != transaction:
                raise Missed(f"{what} with transaction id {transaction:04X} got {answer.transaction:04X} back")
    server.note("0000, 0001, 7FFF, 8000 and FFFF came back in answers and exceptions")


@pytest.mark.requirement("MBAP-02")
def test_protocol_id_is_zero(server: Server) -> None:
    talk = server.connect()
    for what, pdu in both_kinds(server):
        talk, answer = server.ask_on(talk, server.request(pdu), what)
        if answer.protocol != 0:
            raise Missed(f"the answer to {what} has protocol id {answer.protocol:04X}")


@pytest.mark.requirement("MBAP-03")
def test_length_counts_the_bytes_that_follow(server: Server) -> None:
    requests = both_kinds(server) + [(f"a read of {n}", server.read(n)) for n in range(2, server.facts.run + 1)]
    for what, pdu in requests:
        talk = server.connect()
        answer = server.ask(talk, server.request(pdu), what)
        follow = len(answer.raw) - 6 + len(talk.anything(server.timing.settle))
        if answer.length != follow:
            raise Missed(f"the answer to {what} has length {answer.length}, {follow} bytes follow")
        talk.close()


@pytest.mark.requirement("MBAP-04")
def test_unit_id_is_that_of_the_request(server: Server) -> None:
    answered = []
    for unit in dict.fromkeys((server.unit, *server.capabilities.unit_ids, 1, 247, 255, 0)):
        answer = unit_answer(server, unit)
        if answer is None:
            continue
        if answer.unit != unit:
            raise Missed(f"a request to unit {unit} is answered as unit {answer.unit}")
        answered.append(str(unit))
    if not answered:
        raise Absent(f"a read of unit {server.unit} was not answered")
    server.note(f"answered: unit {', '.join(answered)}")


@pytest.mark.requirement("MBAP-21")
def test_server_speaks_only_when_asked(server: Server) -> None:
    talk = server.connect(greeted=False)
    unasked = talk.anything(2 * server.timing.silence)
    if unasked:
        raise Missed(f"{len(unasked)} bytes came before any request: {unasked[:12].hex(' ')}")
    talk, _ = server.ask_on(talk, server.request(server.read()))
    unasked = talk.anything(2 * server.timing.silence)
    if unasked:
        raise Missed(f"{len(unasked)} bytes came after the answer: {unasked[:12].hex(' ')}")


def unit_answer(server: Server, unit: int) -> Adu | None:
    """The answer to a plain read of a unit, on a connection of its own."""
    talk = server.connect()
    talk.send(server.request(server.read(), unit=unit))
    answer = talk.answer()
    talk.close()
    return answer


@pytest.mark.requirement("MBAP-29")
def test_what_a_foreign_unit_id_gets(server: Server) -> None:
    own = {server.unit, 0, 255, *server.capabilities.unit_ids}
    unit = next(unit for unit in (99, 98, 97, *range(1, 248)) if unit not in own)
    answer = unit_answer(server, unit)
    server.note(f"unit {unit} gets {answer.says() if answer else 'no answer'}")


@pytest.mark.requirement("MBAP-30")
def test_unit_255_is_answered(server: Server) -> None:
    answered_like_its_own(server, 255)


@pytest.mark.requirement("MBAP-31")
def test_unit_0_is_answered(server: Server) -> None:
    answered_like_its_own(server, 0)


def answered_like_its_own(server: Server, unit: int) -> None:
    if server.capabilities.gateway:
        raise Inapplicable("the server is declared as a gateway")
    answer = unit_answer(server, unit)
    if answer is None:
        raise Absent(f"a plain read of unit {unit} was not answered")
    if not is_normal(answer, server.facts.function, 1):
        raise Missed(f"a plain read of unit {unit} got {answer.says()}")
