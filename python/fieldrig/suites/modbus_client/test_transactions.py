"""Modbus/TCP: headers, transaction ids, connections."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fieldrig.suites.common.outcome import Inapplicable, Missed, Undecided

from . import memory
from .calls import EVERY_CALL, asked
from .client import Client, right, silent, wrong
from .driver import Outcome
from .frames import HEADER, LONGEST_PDU, Request, predicted
from .station import Reply

POISON = (0xDEAD, 0xBEEF)


def poison(function: int = 3) -> bytes:
    """An answer with two registers that the device does not have."""
    return memory.registers_pdu(function, POISON)


@pytest.mark.requirement("CLI-01")
def test_headers_of_requests_are_right(client: Client) -> None:
    seen = 0
    for call, arguments in EVERY_CALL.items():
        outcome = client.call(call, right, **arguments)
        if outcome.error == "unsupported":
            continue
        for request in client.requests:
            header_must_be_right(request, call)
            seen += 1
        must_be_asked(client, call, arguments)
    if not seen:
        raise client.absent("no request came")
    client.note(f"{seen} requests")


def must_be_asked(client: Client, call: str, arguments: dict[str, Any]) -> None:
    """The request says what the call said, if it is one, of the function by that name. Raises `Missed`."""
    wanted, requests = asked(call, **arguments), client.requests
    if wanted is None or len(requests) != 1 or requests[0].pdu[:1] != wanted[:1]:
        return
    for request in requests:
        if request.pdu != wanted:
            place = next(
                (at for at, (one, other) in enumerate(zip(request.pdu, wanted, strict=False)) if one != other), 0
            )
            shown = (
                f"{request.pdu[place : place + 8].hex(' ')} at offset {place}, not {wanted[place : place + 8].hex(' ')}"
            )
            raise Missed(f"the request of {call} has {shown}")


def header_must_be_right(request: Request, call: str) -> None:
    """Raises `Missed`."""
    if request.protocol != 0:
        raise Missed(f"the request of {call} has protocol id {request.protocol:04X}")
    if len(request.pdu) > LONGEST_PDU:
        raise Missed(f"the request of {call} has a PDU of {len(request.pdu)} bytes; the most is {LONGEST_PDU}")
    follow = len(request.raw) - HEADER + 1
    if request.length != follow:
        raise Missed(f"the request of {call} says that {request.length} bytes follow its length field, {follow} do")
    length = predicted(request.pdu)
    if length is not None and length != len(request.pdu):
        raise Missed(f"the PDU of {call} is {len(request.pdu)} bytes long; its fields make {length}")


@pytest.mark.requirement("CLI-02")
def test_transaction_ids_in_flight_differ(client: Client) -> None:
    waiting: dict[int, list[tuple[float, int]]] = {}
    most = 0
    doubled: list[int] = []

    def script(request: Request, reply: Reply) -> None:
        nonlocal most
        now = time.monotonic()
        pending = [each for each in waiting.get(request.connection, []) if each[0] > now]
        doubled.extend(transaction for _, transaction in pending if transaction == request.transaction)
        after = client.timing.timeout * 0.3
        waiting[request.connection] = [*pending, (now + after, request.transaction)]
        most = max(most, len(waiting[request.connection]))
        reply.send(memory.good(request), after=after)

    calls = [{"call": "read_holding", "address": 10 * index, "count": 2} for index in range(8)]
    nobody_gave_up(client, client.together(calls, script))
    if doubled:
        raise Missed(f"transaction id {doubled[0]:04X} was used again while it was pending")
    if most < 2:
        raise Inapplicable("the client has one request in flight at a time on each connection")
    client.note(f"{most} in flight")


def nobody_gave_up(client: Client, outcomes: Sequence[Outcome]) -> None:
    """Who gave up a call may send the next request: raises `Undecided` if this machine may have been to blame."""
    if client.disturbed and any(outcome.error is not None for outcome in outcomes):
        raise Undecided("calls at the same time took too long (this machine was busy)")


FOREIGN: tuple[tuple[str, Callable[[int], int], bytes], ...] = (
    ("the next transaction id", lambda own: own + 1, poison()),
    ("the transaction id before", lambda own: own - 1, poison()),
    ("a far transaction id", lambda own: own + 0x5A5A, poison()),
    ("a transaction id whose low byte is right", lambda own: own ^ 0x0100, poison()),
    ("transaction id 0", lambda own: 0, poison()),
    ("the next transaction id, an exception", lambda own: own + 1, b"\x83\x02"),
)
"""Answers to nobody: in words, the transaction id for the right one, the PDU."""


@pytest.mark.requirement("CLI-03")
def test_answer_to_nobody_is_discarded(client: Client) -> None:
    for what, other, pdu in FOREIGN:
        client.open()

        def script(request: Request, reply: Reply, other: Callable[[int], int] = other, pdu: bytes = pdu) -> None:
            if other(request.transaction) % 0x10000 != request.transaction:
                reply.send(pdu, transaction=other(request.transaction) % 0x10000)
            reply.send(memory.good(request), after=client.timing.timeout / 6)

        client.must_read(f"an answer with {what}, then the right one", script=script)
    client.note("each call waited for its own answer")


@pytest.mark.requirement("CLI-04")
def test_answers_out_of_order_find_their_calls(client: Client) -> None:
    places = [(10 * index, 2) for index in range(4)]
    held = Held(client, len(places), within=client.timing.timeout * 0.4)
    calls = [{"call": "read_holding", "address": address, "count": count} for address, count in places]
    outcomes = client.together(calls, held.script)
    nobody_gave_up(client, outcomes)
    if held.together < len(places):
        raise Inapplicable("the client has one request in flight at a time on each connection")
    for outcome, (address, count) in zip(outcomes, places, strict=True):
        client.must_give(outcome, memory.registers(3, address, count), f"the answer for register {address}")
    client.note(f"{held.together} answers in another order")


class Held:
    """Holds answers back until there are so many requests on one connection, then sends them in reverse order."""

    def __init__(self, client: Client, count: int, within: float) -> None:
        self._station = client.station
        self._count = count
        self._within = within
        self._answers: list[tuple[int, bytes]] = []
        self._lock = threading.Lock()
        self._let_go = False
        self.together = 0
        """How many requests were there when the answers were sent."""

    def script(self, request: Request, reply: Reply) -> None:
        """A script."""
        answer = self._station.framing.answer(request, memory.good(request))
        with self._lock:
            self._answers.append((request.connection, answer))
            count = len(self._answers)
        if count == 1 and not self._let_go:
            threading.Timer(self._within, self._send).start()
        if count == self._count or self._let_go:
            self._send()

    def _send(self) -> None:
        with self._lock:
            self._let_go = True
            one_connection = len({connection for connection, _ in self._answers}) == 1
            self.together = max(self.together, len(self._answers) if one_connection else 0)
            answers = self._answers[::-1]
            self._answers.clear()
        # Without the lock: the station calls `script` with its own, which it takes here.
        now = time.monotonic()
        for connection, answer in answers:
            self._station.plan(now, connection, answer)


@pytest.mark.requirement("CLI-05")
def test_late_answer_is_not_taken_for_the_next_one(client: Client) -> None:
    for exception in (None, b"\x83\x02"):
        late_then(client, "before the next call", exception)
        late_then(client, "after the next request", exception)


def late_then(client: Client, when: str, exception: bytes | None) -> None:
    """One call times out; its answer, or an exception, comes late; the next call must get its own."""
    client.open()
    first = client.read(silent, 0)
    if first.error is None:
        raise Missed(f"a call that nobody answered gave {first.says()}")
    if not client.requests:
        raise client.absent("the client sent nothing")
    late = Reply(client.station, client.requests[-1])
    answer = exception or memory.good(late.request)
    what = f"a late {'exception' if exception else 'answer'} {when}"
    if not client.station.is_open(late.request.connection):
        client.note(f"{what}: the client had closed the connection")

    def script(request: Request, reply: Reply) -> None:
        if when == "after the next request":
            late.send(answer, after=0)
        reply.send(memory.good(request), after=client.timing.timeout / 6)

    if when == "before the next call":
        late.send(answer)
        client.wait(client.timing.settle)
    client.must_read(what, address=500, script=script)
    client.note(f"{what}: discarded")


@pytest.mark.requirement("CLI-06")
def test_second_copy_of_an_answer_is_discarded(client: Client) -> None:
    for what, later in (("at once", False), ("after the call", True)):
        client.open()

        def script(request: Request, reply: Reply, later: bool = later) -> None:
            data = client.station.framing.answer(request, memory.good(request))
            reply.raw(data if later else data + data)

        client.must_read("an answer that is sent twice", script=script)
        if later:
            Reply(client.station, client.requests[-1]).send(memory.good(client.requests[-1]))
            client.wait(client.timing.settle)
        client.must_read(f"the call behind an answer that came twice ({what})", address=700)
        client.must_read("the call behind that", address=800)
    client.note("the second copy was discarded")


@pytest.mark.requirement("CLI-07")
def test_foreign_protocol_id_is_rejected(client: Client) -> None:
    for protocol in (1, 0x0100, 0xFFFF):
        client.open()
        outcome = client.read(wrong(poison(), protocol=protocol))
        client.must_reject(outcome, f"an answer with protocol id {protocol:04X}")


@pytest.mark.requirement("CLI-08")
def test_answer_of_another_unit_is_rejected(client: Client) -> None:
    for unit in (2, 255, 0):
        client.open()
        client.must_reject(client.read(wrong(poison(), unit=unit)), f"an answer of unit {unit} instead of 1")


@pytest.mark.requirement("CLI-14")
def test_wrong_length_field_is_survived(client: Client) -> None:
    for what, delta in (("3 too large", 3), ("far too large", 200), ("1 too small", -1), ("0", -7)):
        client.open()
        pdu = poison()
        outcome = client.read(wrong(pdu, length=1 + len(pdu) + delta))
        client.must_reject(outcome, f"a length field that is {what}")
        client.must_read(f"the call behind a length field that is {what}", address=600)


@pytest.mark.requirement("CLI-16")
def test_answer_byte_by_byte_is_accepted(client: Client) -> None:
    gap = min(0.002, client.timing.timeout / 50)

    def script(request: Request, reply: Reply) -> None:
        data = client.station.framing.answer(request, memory.good(request))
        reply.pieces([data[index : index + 1] for index in range(len(data))], gap)

    client.must_read("an answer that comes one byte at a time", script=script)
    client.must_read("the next one", address=40, count=4, script=script)


@pytest.mark.requirement("CLI-18")
def test_closed_connection_is_reported_and_made_again(client: Client) -> None:
    for how in ("fin", "rst"):
        client.open()

        def script(request: Request, reply: Reply, how: str = how) -> None:
            reply.end("rst" if how == "rst" else "fin")

        outcome = client.read(script)
        what = f"a connection that is ended ({how.upper()}) instead of an answer"
        if outcome.error is None:
            raise Missed(f"{what}: the call gave {outcome.says()}")
        if not client.requests:
            raise client.absent(f"{what}: the client sent nothing ({outcome.says()})")
        if outcome.error != "lost" and client.disturbed:
            raise Undecided(f"{what}: {outcome.says()} (this machine was busy)")
        if outcome.error != "lost":
            raise Missed(f"{what} is reported as {outcome.says()}, not as a lost connection")
        again = client.read(right, 300)
        if again.error in ("lost", "refused"):
            client.note(f"{how}: lost; stays closed until it is opened again")
            client.open()
            client.must_read(f"the first call of a client that was opened again after {what}", address=300)
            continue
        client.must_give(again, memory.registers(3, 300, 2), f"the call behind {what}")
        client.note(f"{how}: lost; the next call connected again")


@pytest.mark.requirement("CLI-19")
def test_connection_is_kept(client: Client) -> None:
    client.open()
    for index in range(20):
        client.must_read(f"call {index + 1} of 20", address=index)
    if client.station.connections > 2:
        raise Missed(f"20 calls made {client.station.connections} connections")
    client.note(f"20 calls, connections: {client.station.connections}")


@pytest.mark.requirement("CLI-36")
def test_transaction_id_wraps(client: Client) -> None:
    try:
        client.open(first_transaction=0xFFFA)
    except Inapplicable as reason:
        if not client.capabilities.many_calls:
            raise Inapplicable(f"{reason}; 65600 calls need `many_calls = true`") from None
        many_calls(client)
        return
    seen = []
    for index in range(12):
        client.must_read(f"call {index + 1} around transaction id FFFF", address=index)
        seen += [request.transaction for request in client.requests]
    wraps = [(before, after) for before, after in itertools.pairwise(seen) if after < before]
    if not wraps:
        raise Undecided(f"the transaction ids were {seen[0]:04X} to {seen[-1]:04X}: not set as asked")
    client.note("goes on from {:04X} with {:04X}".format(*wraps[0]))


def many_calls(client: Client) -> None:
    """65600 calls: the transaction id cannot but wrap."""
    client.open()
    highest = 0

    def script(request: Request, reply: Reply) -> None:
        nonlocal highest
        highest = max(highest, request.transaction)
        reply.send(memory.good(request))
        if len(client.station.requests) > 200:
            for log in (client.station.requests, client.station.sent, client.station.exchanges):
                del log[: len(log) - 20]

    request = {"call": "read_holding", "address": 0, "count": 1, "unit": 1}
    outcome = client.call("repeat", script, request=request, times=65600, repeats=65600)
    client.must_give(outcome, memory.registers(3, 0, 1), "the last of 65600 calls")
    client.note(f"65600 calls; the highest transaction id was {highest:04X}")
