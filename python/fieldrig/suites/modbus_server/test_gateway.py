"""Gateways: units that answer, that are silent, that nobody routes to; several clients; clients that leave."""

from __future__ import annotations

import pytest

from .capabilities import SerialSide
from .frames import Adu, is_normal, read_pdu
from .outcome import Absent, Busy, Inapplicable, Missed, Undecided
from .server import BUSY, BUSY_WAITS, Server, Talk

CLIENTS = 4
UNDECLARED = 2
"""So many clients at the same time if nobody declared how many there may be: the probe saw that two are served."""
ROUNDS = 5
NO_PATH, NO_ANSWER = 0x0A, 0x0B
TOO_MUCH = (*BUSY, NO_PATH)
"""How a gateway refuses one request because of another: busy, or "misconfigured or overloaded" (AP 7)."""


def line_of(server: Server) -> SerialSide:
    """What is declared about the line behind the gateway."""
    assert server.capabilities.line is not None, "the row needs it"
    return server.capabilities.line


def ask_unit(
    server: Server, unit: int, pdu: bytes, what: str, longer: float = 0.0, expected: int | None = None
) -> tuple[Adu, float]:
    """The answer of a unit, on a connection of its own, and how long it took.

    A gateway that is busy is asked again later (AP 7), unless just that exception is `expected`. Raises `Absent`,
    `Missed` for the answer of another unit, `Busy`.
    """
    for wait in (0.0, *BUSY_WAITS):
        server.clock.sleep(wait)
        talk = server.connect()
        talk.send(server.request(pdu, unit=unit))
        answer = came(server, talk, what, longer)
        took = talk.arrived_at - talk.sent_at
        talk.close()
        if answer.unit != unit:
            raise Missed(f"{what} was answered as unit {answer.unit}, not {unit}")
        if answer.exception not in BUSY or answer.exception == expected:
            return answer, took
        server.busy += 1
    raise Busy(f"the gateway says it is busy ({answer.says()}); {what} cannot be judged")


def came(server: Server, talk: Talk, what: str, longer: float = 0.0) -> Adu:
    """The next answer, whatever it says. Raises `Absent`."""
    answer = talk.answer(server.timing.answer + longer)
    if answer is None:
        raise Absent(
            f"{what} was not answered" + (f": the gateway ended the connection ({talk.ended})" if talk.ended else "")
        )
    return answer


def together(server: Server) -> int:
    """How many clients at the same time the gateway must bear, four at most. Raises `Inapplicable`."""
    most = min(CLIENTS, server.capabilities.max_connections or UNDECLARED)
    if not server.facts.parallel or most < 2:
        raise Inapplicable("it serves one connection at a time")
    return most


def must_not_be_refused(server: Server, unit: int, refused: list[Adu], of: int) -> None:
    """Raises `Busy` if the gateway refused requests because of others: alone the unit answers."""
    if refused:
        read_of_unit(server, unit)
        seen = f"{len(refused)} of {of} reads of unit {unit}, while others were under way, got {refused[0].says()}"
        raise Busy(f"{seen}; a read alone is answered: the gateway takes fewer at a time")


def exception_of(server: Server, unit: int, code: int, what: str, longer: float = 0.0) -> float:
    """A read of a unit must give this exception. Gives how long it took."""
    answer, took = ask_unit(server, unit, server.read(), what, longer)
    if answer.exception != code:
        raise Missed(f"{what} got {answer.says()}, not exception {code:02X}")
    return took


@pytest.mark.requirement("GW-01")
def test_unit_without_a_route(server: Server) -> None:
    unit = line_of(server).unrouted
    assert unit is not None, "the row needs it"
    exception_of(server, unit, NO_PATH, f"a read of unit {unit}, to which there is no route,")


@pytest.mark.requirement("GW-02")
def test_unit_that_is_silent(server: Server) -> None:
    unit, timeout = line_of(server).dead, line_of(server).timeout
    assert unit is not None and timeout is not None, "the row needs it"
    took = exception_of(server, unit, NO_ANSWER, f"a read of unit {unit}, which is silent,", timeout)
    latest = timeout + 10 * max(server.facts.latency, 0.01) + server.resolution
    if took > latest:
        raise Absent(f"exception 0B came after {took:.3f} s, the declared time-out is {timeout:.3f} s")
    if took < 0.5 * timeout:
        raise Missed(f"exception 0B came after {took:.3f} s already, the declared time-out is {timeout:.3f} s")
    server.note(f"after {took:.3f} s, the declared time-out is {timeout:.3f} s")


@pytest.mark.requirement("GW-03")
def test_clients_at_the_same_time_get_their_own_answers(server: Server) -> None:
    unit = line_of(server).unit
    assert unit is not None, "the row needs it"
    clients = together(server)
    read_of_unit(server, unit)
    refused: list[Adu] = []
    for round_ in range(ROUNDS):
        talks = [server.connect() for _ in range(clients)]
        asked = []
        for number, talk in enumerate(talks):
            quantity = 1 + (number + round_) % max(server.facts.run, 1)
            transaction = server.next_transaction()
            asked.append((talk, transaction, quantity))
            talk.send(server.request(server.read(quantity), unit=unit, transaction=transaction))
        for talk, transaction, quantity in asked:
            answer = came(server, talk, f"a read of {quantity} by client {talk.number}")
            if (answer.transaction, answer.unit) != (transaction, unit):
                raise Missed(
                    f"client {talk.number} asked with transaction id {transaction:04X} and unit {unit}, "
                    f"and got {answer.transaction:04X} and {answer.unit}"
                )
            if answer.exception in TOO_MUCH:
                refused.append(answer)
            elif not is_normal(answer, server.facts.function, quantity):
                raise Missed(f"the read of {quantity} by client {talk.number} got {answer.says()}")
        for talk in talks:
            talk.close()
    must_not_be_refused(server, unit, refused, clients * ROUNDS)
    server.note(f"{clients} clients, {ROUNDS} times")


@pytest.mark.requirement("GW-04")
def test_requests_of_many_clients_do_not_meet_on_the_line(server: Server) -> None:
    """The line is not seen from here. But what meets there is spoilt: clients that ask together are answered as one
    that asks alone, if all their turns take much less than the gateway waits for a unit; or they are refused by the
    gateway, which keeps the line free, too. One spoilt round of five may be noise on the line: it decides nothing."""
    unit, timeout = line_of(server).unit, line_of(server).timeout
    assert unit is not None and timeout is not None, "the row needs it"
    clients = together(server)
    alone = max(read_of_unit(server, unit) for _ in range(CLIENTS * ROUNDS))
    clients = min(clients, int(0.5 * timeout / max(alone, 1e-6)))
    if clients < 2:
        raise Inapplicable(f"a read takes up to {alone:.3f} s, the gateway waits for {timeout:.3f} s: no time for two")
    spoilt: list[str] = []
    refused: list[Adu] = []
    unserved = 0
    for _ in range(ROUNDS):
        answers = asked_together(server, unit, clients, timeout)
        read_of_unit(server, unit)  # it is still there
        turned_away = [answer for answer in answers if answer is not None and answer.exception in TOO_MUCH]
        refused += turned_away
        unserved += len(turned_away) == clients
        wrong = [answer for answer in answers if not _served(server, answer) and answer not in turned_away]
        spoilt += ["no answer" if answer is None else answer.says() for answer in wrong[:1]]
    if spoilt:
        seen = (
            f"of {clients} reads of unit {unit} at the same time some failed, in {len(spoilt)} of {ROUNDS} rounds "
            f"({spoilt[0]}); {CLIENTS * ROUNDS} reads one after the other did not"
        )
        if len(spoilt) == 1:
            raise Undecided(f"{seen}: noise on the line, or they meet there now and then")
        raise Missed(f"{seen}: they meet on the line")
    if unserved:
        raise Busy(f"all reads at the same time were refused, in {unserved} of {ROUNDS} rounds ({refused[0].says()})")
    many = f"; {len(refused)} of {clients * ROUNDS} were refused ({refused[0].says()})" if refused else ""
    server.note(
        f"{clients} clients at the same time, {ROUNDS} times{many}; alone a read takes up to {alone * 1000:.1f} ms"
    )


def asked_together(server: Server, unit: int, clients: int, timeout: float) -> list[Adu | None]:
    """What so many clients get that read from a unit at the same time."""
    talks = [server.connect() for _ in range(clients)]
    for talk in talks:
        talk.send(server.request(server.read(), unit=unit))
    answers = [talk.answer(server.timing.answer + timeout) for talk in talks]
    for talk in talks:
        talk.close()
    return answers


def read_of_unit(server: Server, unit: int) -> float:
    """How long a plain read of a unit takes that nobody disturbs. Raises `Undecided` if it fails."""
    answer, took = ask_unit(server, unit, server.read(), f"a read of unit {unit}")
    if not is_normal(answer, server.facts.function, 1):
        raise Undecided(f"a read of unit {unit}, alone, got {answer.says()}")
    return took


def _served(server: Server, answer: Adu | None) -> bool:
    return answer is not None and is_normal(answer, server.facts.function, 1)


@pytest.mark.requirement("GW-05")
def test_what_a_broadcast_gets(server: Server) -> None:
    talk = server.connect()
    talk.send(server.request(server.read(), unit=0))
    answer = talk.answer()
    server.note(f"unit 0 gets {'no answer' if answer is None else answer.says()}")


@pytest.mark.requirement("GW-06")
def test_answer_to_a_client_that_left_goes_nowhere(server: Server) -> None:
    unit = line_of(server).unit
    assert unit is not None, "the row needs it"
    read_of_unit(server, unit)
    refused: list[Adu] = []
    for _ in range(ROUNDS):
        gone = server.connect()
        gone.send(server.request(server.read(max(server.facts.run, 1)), unit=unit))
        server.clock.sleep(0.3 * server.facts.latency)  # on the line, and not answered yet
        gone.close("rst")
        talk = server.connect()
        transaction = server.next_transaction()
        talk.send(server.request(server.read(), unit=unit, transaction=transaction))
        answer = came(server, talk, "a read after a client that left")
        full = answer.exception in TOO_MUCH
        if answer.transaction != transaction or not (full or is_normal(answer, server.facts.function, 1)):
            raise Missed(
                f"a read of 1 with transaction id {transaction:04X} got {answer.says()} with {answer.transaction:04X}"
            )
        refused += [answer] if full else []
        more = talk.anything(server.timing.settle)
        if more:
            raise Missed(f"behind its answer a client got {len(more)} more bytes: {more[:12].hex(' ')}")
        talk.close()
    must_not_be_refused(server, unit, refused, ROUNDS)


@pytest.mark.requirement("GW-07")
def test_unit_255_is_the_gateway(server: Server) -> None:
    answer, _ = ask_unit(server, 255, server.read(), "a read of unit 255")
    if answer.exception in (NO_PATH, NO_ANSWER):
        raise Missed(f"a read of unit 255 got {answer.says()}: it is not the gateway's own server")
    server.note(answer.says())


@pytest.mark.requirement("GW-08")
def test_exception_of_a_unit_comes_unchanged(server: Server) -> None:
    unit, refused = line_of(server).unit, line_of(server).refused
    assert unit is not None and refused is not None, "the row needs it"
    address, code = refused
    what = f"a read of register {address} of unit {unit}"
    answer, _ = ask_unit(server, unit, read_pdu(3, address, 1), what, expected=code)
    if answer.function != 0x83 or answer.exception != code:
        raise Missed(f"{what} got {answer.says()}; the unit says exception {code:02X}")


@pytest.mark.requirement("GW-09")
def test_damaged_answer_is_no_answer(server: Server) -> None:
    unit, timeout = line_of(server).damaged, line_of(server).timeout or 1.0
    assert unit is not None, "the row needs it"
    exception_of(server, unit, NO_ANSWER, f"a read of unit {unit}, whose answers are damaged,", timeout)
