"""What the MBAP header of an answer holds, and which unit ids are answered."""

from __future__ import annotations

import pytest

from .frames import Adu, is_normal
from .kinds import Kind, kinds, sent
from .outcome import Absent, Inapplicable, Missed
from .server import Server

TRANSACTIONS = (0x0000, 0x0001, 0x7FFF, 0x8000, 0xFFFF)


@pytest.mark.requirement("MBAP-01")
def test_transaction_id_is_that_of_the_request(server: Server) -> None:
    requests = kinds(server)
    talk = server.connect()
    for kind in requests:
        for transaction in TRANSACTIONS if kind.certain else TRANSACTIONS[-2:]:
            talk, answer = sent(server, talk, kind, transaction)
            if answer is not None and answer.transaction != transaction:
                raise Missed(f"{kind.what} with transaction id {transaction:04X} got {answer.transaction:04X} back")
    server.note("0000, 0001, 7FFF, 8000 and FFFF came back in answers and exceptions")


@pytest.mark.requirement("MBAP-02")
def test_protocol_id_is_zero(server: Server) -> None:
    requests = kinds(server)
    talk = server.connect()
    for kind in requests:
        talk, answer = sent(server, talk, kind)
        if answer is not None and answer.protocol != 0:
            raise Missed(f"the answer to {kind.what} has protocol id {answer.protocol:04X}")


@pytest.mark.requirement("MBAP-03")
def test_length_counts_the_bytes_that_follow(server: Server) -> None:
    more = [Kind(f"a read of {n}", server.read(n), certain=True) for n in range(2, server.facts.run + 1)]
    for kind in kinds(server) + more:
        talk, answer = sent(server, server.connect(), kind)
        if answer is not None:
            follow = len(answer.raw) - 6 + len(talk.anything(server.timing.settle))
            if answer.length != follow:
                raise Missed(f"the answer to {kind.what} has length {answer.length}, {follow} bytes follow")
        talk.close()


@pytest.mark.requirement("MBAP-04")
def test_unit_id_is_that_of_the_request(server: Server) -> None:
    answered = []
    for unit in dict.fromkeys((server.unit, *server.capabilities.unit_ids, 1, 247, 255, 0)):
        answer = unit_answer(server, unit)
        if answer is None:
            continue
        refusal = unit_answer(server, unit, server.read(0))
        for what, said in (("request", answer), ("read of quantity 0", refusal)):
            if said is not None and said.unit != unit:
                raise Missed(f"a {what} to unit {unit} is answered as unit {said.unit}: {said.says()}")
        answered.append(str(unit))
    if not answered:
        raise Absent(f"a read of unit {server.unit} was not answered")
    comes_from_its_unit(server)
    server.note(f"answered: unit {', '.join(answered)}")


def comes_from_its_unit(server: Server) -> None:
    """Answers and exceptions, to reads and writes, carry the unit id of the server."""
    requests = kinds(server)
    talk = server.connect()
    for kind in requests:
        talk, answer = sent(server, talk, kind)
        if answer is not None and answer.unit != server.unit:
            raise Missed(f"{kind.what} to unit {server.unit} is answered as unit {answer.unit}: {answer.says()}")


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


def unit_answer(server: Server, unit: int, pdu: bytes | None = None) -> Adu | None:
    """The answer to a plain read of a unit, or to another request, on a connection of its own."""
    talk = server.connect()
    talk.send(server.request(server.read() if pdu is None else pdu, unit=unit))
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
    _, answer = server.ask_again(server.connect(), server.request(server.read(), unit=unit), f"a read of unit {unit}")
    if not is_normal(answer, server.facts.function, 1):
        raise Missed(f"a plain read of unit {unit} got {answer.says()}")
