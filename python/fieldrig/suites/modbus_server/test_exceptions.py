"""Exceptions: which requests get one, which codes they have, what a server is like after many of them.

Which codes are asked for: 19h to 28h were never assigned to anything, so asking for them is safe. Codes that old
devices know (09, 0A, 0D, 0E, 12, 13, 29, 2A), and those of users (41-48, 64-6E), could program or reset a device:
they are sent only if `functions` declares that the server does not have them.
"""

from __future__ import annotations

import statistics

import pytest

from .frames import Adu, is_normal, read_pdu
from .kinds import Kind, errors, sent
from .outcome import Absent, Busy, Inapplicable, Missed, Undecided
from .pdus import packed, write_coil, write_coils, write_registers
from .server import BUSY, BUSY_WAITS, Server, Talk
from .tables import exchange, read
from .test_fc15_16 import must_hold
from .writes import ask, run_of, set_up

UNASSIGNED = tuple(range(0x19, 0x29))
LEGACY = (0x09, 0x0A, 0x0D, 0x0E, 0x12, 0x13, 0x29, 0x2A)
USER_DEFINED = (*range(0x41, 0x49), *range(0x64, 0x6F))
CODES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)
"""Every exception code of the standard; 07 was that of NAK."""

PLAIN_DATA = b"\x00\x00\x00\x01"
"""As of a read of one item from 0: a PDU without data is the business of PDU-09."""

MANY = 1000
LONGEST = 20.0
"""How long the many requests may take (seconds); a server that is slow to refuse gets fewer of them."""


def must_be_unknown(server: Server, functions: tuple[int, ...]) -> None:
    """Each of these functions must get exception 01, of that function."""
    declared = server.capabilities.functions or ()
    for function in functions:
        if function in declared:
            continue
        what = f"function {function:02X}, which the server does not have,"
        answer = exchange(server, bytes([function]) + PLAIN_DATA, what)
        if answer.function != function | 0x80 or answer.exception != 1:
            raise Missed(f"{what} got {answer.says()}, not exception 01 of its own function code")
    server.note(", ".join(f"{function:02X}" for function in functions if function not in declared))


@pytest.mark.requirement("EXC-01")
def test_functions_that_nobody_assigned_get_exception_01(server: Server) -> None:
    known = server.capabilities.functions is not None
    must_be_unknown(server, (*LEGACY, *UNASSIGNED) if known else UNASSIGNED)
    if not known:
        server.note("those of old devices were not sent: declare `functions`")


@pytest.mark.requirement("EXC-02")
def test_functions_of_users_that_the_server_does_not_have_get_exception_01(server: Server) -> None:
    must_be_unknown(server, USER_DEFINED)


@pytest.mark.requirement("EXC-03")
def test_function_00_gets_exception_01_or_nothing(server: Server) -> None:
    talk = server.connect()
    talk.send(server.request(bytes([0])))
    server.note(_refused(server, talk, 0, codes=(1,), what="function 00"))


@pytest.mark.requirement("EXC-04")
def test_function_codes_with_bit_7_are_never_answered_normally(server: Server) -> None:
    for function in (0x80, 0x81, 0x82, 0x83, 0x84, 0xFF):
        talk = server.connect()
        talk.send(server.request(bytes([function]) + server.read()[1:]))
        _refused(server, talk, function, codes=CODES, what=f"function {function:02X}")
        talk.close()


def _refused(server: Server, talk: Talk, function: int, codes: tuple[int, ...], what: str) -> str:
    """Nothing, a close, or an exception PDU of this function must follow. Gives which, in words."""
    answer = talk.answer()
    if answer is None:
        return f"closed ({talk.ended})" if talk.ended else "no answer"
    exception = answer.function == function | 0x80 and len(answer.pdu) == 2
    if exception and answer.exception in BUSY and answer.exception not in codes:
        raise Busy(f"the server says it is busy ({answer.says()}); {what} cannot be judged")
    if not exception or answer.exception not in codes:
        raise Missed(f"{what} got {answer.says()}; only an exception of its own code, or nothing, may come")
    return answer.says()


@pytest.mark.requirement("EXC-05")
def test_long_command_is_answered_once(server: Server) -> None:
    address = server.capabilities.holding.slow
    assert address is not None, "the row needs it"
    talk = server.connect()
    pdu = read_pdu(3, address, 1)
    deadline = server.clock.now() + 20 * server.timing.answer
    acknowledged = 0
    while True:
        talk.send(server.request(pdu))
        answer = talk.answer(10 * server.timing.answer)
        if answer is None:
            raise Absent(f"a read of register {address}, which takes long, was not answered")
        more = talk.anything(server.timing.answer)
        if more:
            raise Missed(f"a read of register {address} got {answer.says()} and then more: {more.hex(' ').upper()}")
        if answer.exception not in BUSY:
            break
        acknowledged += 1
        if server.clock.now() > deadline:
            raise Undecided(f"register {address}: exception {answer.exception:02X} {acknowledged} times")
    if not is_normal(answer, 3, 1):
        raise Missed(f"a read of register {address}, which takes long, got {answer.says()}")
    server.note(f"exception 05 {acknowledged} times, then the answer" if acknowledged else "one normal answer")


@pytest.mark.requirement("EXC-06")
def test_busy_server_says_so_and_answers_a_later_try(server: Server) -> None:
    address = server.capabilities.holding.busy
    assert address is not None, "the row needs it"
    what = f"a read of register {address}, which finds the server busy at first,"
    said: list[int] = []
    for wait in (*BUSY_WAITS, None):
        talk, answer = sent_once(server, read_pdu(3, address, 1), what)
        talk.close()
        if answer.exception not in BUSY:
            break
        said.append(answer.exception or 0)
        if wait is None:
            raise Undecided(f"{what} got {answer.says()} {len(said)} times in {sum(BUSY_WAITS):.1f} s, and no answer")
        server.clock.sleep(wait)
    if not is_normal(answer, 3, 1):
        raise Missed(f"{what} got {answer.says()}, neither exception 06 nor the answer")
    if said and 6 not in said:
        raise Inapplicable(f"{what} got exception 05 {len(said)} times, then the answer: it was never busy")
    if not said:
        raise Inapplicable(f"{what} was answered at this try: it was not seen to be busy")
    server.note(f"exception 06 {said.count(6)} times, then the answer")


def sent_once(server: Server, pdu: bytes, what: str) -> tuple[Talk, Adu]:
    """A request on a connection of its own, and its answer, busy or not. Raises `Absent` if none comes."""
    talk = server.connect()
    talk.send(server.request(pdu), note=what)
    answer = talk.answer()
    if answer is None or answer.problem is not None:
        raise Absent(f"{what} was not answered: {'nothing came' if answer is None else answer.says()}")
    return talk, answer


@pytest.mark.requirement("EXC-07")
def test_what_damaged_memory_gives_is_reported(server: Server) -> None:
    damaged = server.capabilities.damaged
    assert damaged is not None, "the row needs it"
    number, record = damaged
    pdu = bytes([20, 7, 6]) + b"".join(field.to_bytes(2, "big") for field in (number, record, 1))
    answer = exchange(server, pdu, f"a read of record {record} of file {number}")
    server.note(f"record {record} of file {number}: {answer.says()}")


@pytest.mark.requirement("EXC-08")
def test_only_exception_codes_of_the_standard_are_used(server: Server) -> None:
    seen: set[int] = set()
    more = [
        Kind("an unassigned function", bytes([0x27])),
        Kind("an unassigned function with data", bytes([0x27, 0, 0, 0, 1, 2, 3])),
        Kind("function 80", bytes([0x80]) + server.read()[1:]),
    ]
    for kind in errors(server) + more:
        talk, answer = sent(server, server.connect(), kind)
        talk.close()
        if answer is None or answer.exception is None:
            continue
        if answer.exception not in CODES:
            raise Missed(f"{kind.what} got exception code {answer.exception:02X}, which the standard does not have")
        seen.add(answer.exception)
    if not seen:
        raise Undecided("no error could be provoked")
    server.note(f"codes seen: {', '.join(f'{code:02X}' for code in sorted(seen))}")


@pytest.mark.requirement("EXC-09")
def test_what_is_refused_is_not_written(server: Server) -> None:
    tried = 0
    for table in ("holding", "coils"):
        if server.permission.run(table, 8) is None:
            continue
        address = run_of(server, table, 8)
        before = [0x1111 * (index + 1) for index in range(8)] if table == "holding" else [1, 0, 0, 1, 0, 1, 1, 0]
        set_up(server, table, address, before)
        before = steady(server, table, address, 8)
        for what, pdu in _refusals(table, address):
            try:
                answer = ask(server, table, address, 8, pdu, what)
            except Absent as absent:  # refused in another way, if at all: the business of FC05-02, FC15-03 and FC16-03
                server.note(str(absent))
                set_up(server, table, address, before)
                continue
            if answer.function & 0x80:
                tried += 1
                must_hold(server, table, address, before, f"{what}, refused with {answer.exception or 0:02X}")
            else:
                set_up(server, table, address, before)
    if not tried:
        run_of(server, "holding", 8)
        raise Undecided("no write was refused")
    server.note(f"{tried} writes refused, nothing written")


def steady(server: Server, table: str, address: int, count: int) -> list[int]:
    """What stands there, read twice alike. Raises `Undecided`."""
    values = read(server, table, address, count)
    for _ in range(3):
        again = read(server, table, address, count)
        if again == values:
            return values
        values = again
    raise Undecided(f"{table} {address} to {address + count - 1} change by themselves")


def _refusals(table: str, address: int) -> list[tuple[str, bytes]]:
    """Writes that should be refused."""
    if table == "holding":
        return [
            ("function 16, quantity 2 in 2 bytes", write_registers(address, b"\x5a\x5a", quantity=2)),
            ("function 16, quantity 2 in 6 bytes", write_registers(address, b"\x5a" * 6, quantity=2)),
            ("function 16, quantity 0 in 2 bytes", write_registers(address, b"\x5a\x5a", quantity=0)),
            ("function 16, quantity 1 in 3 bytes", write_registers(address, b"\x5a" * 3, quantity=1)),
        ]
    return [
        ("function 05 with 1234", write_coil(address, 0x1234)),
        ("function 05 with 0001", write_coil(address + 1, 1)),
        ("function 15, quantity 8 in 2 bytes", write_coils(address, packed([0, 1] * 8), quantity=8)),
        ("function 15, quantity 0 in 1 byte", write_coils(address, b"\x55", quantity=0)),
    ]


@pytest.mark.requirement("EXC-10")
def test_many_refused_requests_leave_the_server_as_it_was(server: Server) -> None:
    usual = latency(server)
    talk, log = server.connect(), server.exchanges
    began, sent = server.clock.now(), 0
    while sent < MANY and server.clock.now() - began < LONGEST:
        sent += 1
        talk, answer = server.ask_on(talk, server.request(server.read(0)), f"request {sent} of {MANY} with quantity 0")
        if not answer.function & 0x80:
            raise Inapplicable(f"quantity 0 is not refused but got {answer.says()} (see FC03-02)")
        del log[:-4]
    what = f"a plain read after {sent} refused requests"
    talk, answer = server.ask_on(talk, server.request(server.read()), what)
    if not is_normal(answer, server.facts.function, 1):
        raise Missed(f"{what} got {answer.says()}, not the normal answer")
    talk.close()
    now = latency(server)
    if now > max(10 * usual, usual + 0.1):
        if server.stalled:
            raise Undecided("this machine stood still meanwhile")
        raise Missed(f"after {sent} refused requests a plain read takes {now * 1000:.0f} ms, {usual * 1000:.1f} before")
    server.note(f"{sent} refused requests; a plain read takes {usual * 1000:.1f} ms before, {now * 1000:.1f} ms after")


def latency(server: Server) -> float:
    """The median time of five plain reads (seconds)."""
    taken = []
    for _ in range(5):
        talk = server.connect()
        talk.send(server.request(server.read()))
        server.expect_normal(talk, "a plain read")
        taken.append(max(talk.arrived_at - talk.sent_at, 0.0))
        talk.close()
    return statistics.median(taken)
