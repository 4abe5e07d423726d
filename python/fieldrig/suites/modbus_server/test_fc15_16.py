"""Functions 15, Write Multiple Coils, and 16, Write Multiple Registers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .capabilities import Table
from .outcome import Inapplicable, Missed, NotRun
from .pdus import packed, write_coils, write_registers
from .server import Server
from .tables import declared_as, must_be_exception, not_by_itself, read
from .writes import ask, end_of, may, prepare, put, run_of


def written(server: Server, table: str, address: int, values: Sequence[int], what: str) -> None:
    """Writes values; the answer must be address and quantity, and they must stand there afterwards."""
    if table == "coils":
        pdu = write_coils(address, packed(values), quantity=len(values))
    else:
        pdu = write_registers(address, values)
    answer = ask(server, table, address, len(values), pdu, what)
    if answer.pdu != pdu[:5]:
        hint = declared_as(answer, table, "max_write")
        raise Missed(f"{what} got {answer.says()}, not address and quantity ({pdu[:5].hex(' ').upper()}){hint}")
    must_hold(server, table, address, values, what)


def must_hold(server: Server, table: str, address: int, values: Sequence[int], what: str) -> None:
    """The addresses must hold these values."""
    for index, seen in enumerate(read(server, table, address, len(values))):
        if seen != values[index]:
            not_by_itself(server, table, address + index, seen, values[index])
            raise Missed(f"after {what.rstrip(',')}, {table} {address + index} reads {seen:X}, not {values[index]:X}")


def every_quantity(server: Server, table: str, quantities: Sequence[int], patterns: Sequence[Sequence[int]]) -> None:
    """Writes each quantity with each pattern; those for which too little may be written are named at the end."""
    most = server.capabilities.tables.get(table, Table()).max_write or max(quantities)
    above = [str(quantity) for quantity in quantities if quantity > most]
    quantities = [quantity for quantity in quantities if quantity <= most]
    longest = max(quantities)
    for quantity in quantities:
        if server.permission.run(table, quantity) is None:
            continue
        address = run_of(server, table, quantity)
        for pattern in patterns:
            values = [pattern[index % len(pattern)] for index in range(quantity)]
            written(server, table, address, values, f"a write of {quantity} to {table} {address}")
    run_of(server, table, min(quantities))
    if server.permission.run(table, longest) is None:
        done = [str(quantity) for quantity in quantities if server.permission.run(table, quantity) is not None]
        hint = f"permit {longest} with --writable {table}:FIRST-LAST"
        raise NotRun(f"quantities {', '.join(done)} are right; {hint}")
    if above:
        raise Inapplicable(f"{', '.join(above)} is more than the declared {table}.max_write; the others are right")
    server.note(f"quantities {', '.join(map(str, quantities))}")


def must_be_refused(server: Server, table: str, address: int, reach: int, pdu: bytes, what: str, code: int = 3) -> None:
    """A request that writes must give this exception."""
    must_be_exception(ask(server, table, address, reach, pdu, what), code, what)


def beyond_the_limit(server: Server, table: str, address: int, reach: int, pdu: bytes, what: str) -> str:
    """A request whose PDU is longer than 253 bytes: an exception, nothing or a close, never a normal answer."""
    prepare(server, table, address, reach)
    talk = server.connect()
    talk.send(server.request(pdu))
    return server.expect_silence(talk, what, exception=True)


@pytest.mark.requirement("FC15-01")
def test_coils_are_written(server: Server) -> None:
    every_quantity(server, "coils", (1, 8, 9, 10, 1968), ((1, 0, 1, 1, 0, 0, 1), (0, 1, 0, 0, 1, 1, 0)))


@pytest.mark.requirement("FC15-02")
def test_no_coil_and_more_than_1968_are_refused(server: Server) -> None:
    address = run_of(server, "coils", 1)
    pdu = write_coils(address, b"", quantity=0)
    must_be_refused(server, "coils", address, 1, pdu, "a write of 0 coils")
    address = run_for(server, "coils", 1969, "quantity 0 is right")
    pdu = write_coils(address, bytes(247), quantity=1969)
    must_be_refused(server, "coils", address, 1969, pdu, "a write of 1969 coils")


def run_for(server: Server, table: str, count: int, done: str) -> int:
    """Where a request of this quantity can be sent that must be refused. Raises `NotRun`, saying what was done."""
    for first, _ in server.permission.places.get(table, ()):
        if may(server, table, first, count):
            return first
    raise NotRun(f"{done}; a wrong server could write {count} of {table}: permit it with --writable {table}:FIRST-LAST")


@pytest.mark.requirement("FC15-03")
def test_byte_count_that_does_not_fit_the_coils_is_refused(server: Server) -> None:
    address = run_of(server, "coils", 16)
    before = [1, 0] * 8
    put(server, "coils", address, before)
    for quantity, data in ((16, b"\x5a"), (8, b"\x5a\x5a"), (1968, b"\x5a")):
        if not may(server, "coils", address, quantity):
            server.note(f"{quantity} coils in 1 byte were not tried: more than may be written")
            continue
        what = f"a write of {quantity} coils with byte count {len(data)}"
        must_be_refused(server, "coils", address, quantity, write_coils(address, data, quantity=quantity), what)
        must_hold(server, "coils", address, before, what)


@pytest.mark.requirement("FC15-04")
def test_bits_behind_the_quantity_are_not_written(server: Server) -> None:
    address = run_of(server, "coils", 16)
    writes_at_once(server, "coils", 11)
    for quantity in (3, 11):
        put(server, "coils", address, [0] * 16)
        what = f"a write of {quantity} coils whose unused bits are 1"
        pdu = write_coils(address, bytes([0xFF] * ((quantity + 7) // 8)), quantity=quantity)
        answer = ask(server, "coils", address, 16, pdu, what)
        if answer.exception == 3:  # a server may insist on zeros
            must_hold(server, "coils", address, [0] * 16, what)
            server.note(f"{what}: refused with 03")
        elif answer.pdu != pdu[:5]:
            raise Missed(f"{what} got {answer.says()}, not address and quantity")
        else:
            must_hold(server, "coils", address, [1] * quantity + [0] * (16 - quantity), what)


@pytest.mark.requirement("FC15-05")
def test_coils_past_the_end_are_not_written_not_even_those_that_exist(server: Server) -> None:
    past_the_end(server, "coils", [1, 0, 1], write_coils(end_of(server, "coils", 3), b"\x0a", quantity=4))


def writes_at_once(server: Server, table: str, count: int) -> None:
    """Raises `Inapplicable` if fewer than that many are declared to be written by one request."""
    most = server.capabilities.tables.get(table, Table()).max_write
    if most is not None and most < count:
        raise Inapplicable(f"{most} is declared as {table}.max_write: {count} at once are refused for that")


def past_the_end(server: Server, table: str, values: Sequence[int], pdu: bytes) -> None:
    """A write of the last three and one more: exception 02, and the three are as they were."""
    address = end_of(server, table, len(values))
    writes_at_once(server, table, len(values) + 1)
    put(server, table, address, values)
    what = f"a write of {table} {address} to {address + len(values)}, one more than there is,"
    must_be_refused(server, table, address, len(values) + 1, pdu, what, code=2)
    must_hold(server, table, address, values, what)


@pytest.mark.requirement("FC16-01")
def test_registers_are_written(server: Server) -> None:
    every_quantity(server, "holding", (1, 2, 123), ((0x0102, 0xFFFE, 0x8000), (0xFEFD, 0x0001, 0x7FFF)))


@pytest.mark.requirement("FC16-02")
def test_no_register_and_more_than_123_are_refused(server: Server) -> None:
    address = run_of(server, "holding", 1)
    pdu = write_registers(address, [])
    must_be_refused(server, "holding", address, 1, pdu, "a write of 0 registers")
    address = run_for(server, "holding", 124, "quantity 0 is right")
    pdu = write_registers(address, bytes(248))
    followed = beyond_the_limit(server, "holding", address, 124, pdu, "a write of 124 registers")
    server.note(f"0 registers: exception 03; 124: {followed}")


@pytest.mark.requirement("FC16-03")
def test_byte_count_that_does_not_fit_the_registers_is_refused(server: Server) -> None:
    address = run_of(server, "holding", 2)
    for quantity, data in ((2, b"\x5a\x5a"), (1, b"\x5a" * 4), (2, b"\x5a" * 3)):
        what = f"a write of {quantity} registers with byte count {len(data)}"
        must_be_refused(server, "holding", address, 2, write_registers(address, data, quantity=quantity), what)


@pytest.mark.requirement("FC16-04")
def test_quantity_that_overflows_the_byte_count_is_refused(server: Server) -> None:
    address = run_for(server, "holding", 0x8001, "not tried")
    pdu = write_registers(address, b"\x5a\x5a", quantity=0x8001)
    must_be_refused(server, "holding", address, 0x8001, pdu, "a write of 32769 registers with byte count 2")


@pytest.mark.requirement("FC16-05")
def test_fewer_bytes_than_the_byte_count_says_are_not_written(server: Server) -> None:
    address = run_of(server, "holding", 2)
    before = [0x1122, 0x3344]
    put(server, "holding", address, before)
    what = "a write of 2 registers that ends behind the first"
    pdu = write_registers(address, b"\x5a\x5a", quantity=2, count=4)
    prepare(server, "holding", address, 2)
    talk = server.connect()
    talk.send(server.request(pdu))
    followed = server.expect_silence(talk, what, exception=True)
    talk.close()
    if "exception" in followed and "exception 03" not in followed:
        raise Missed(f"{what} got {followed}, not exception 03")
    must_hold(server, "holding", address, before, what)
    server.note(followed)


@pytest.mark.requirement("FC16-06")
def test_registers_past_the_end_are_not_written_not_even_those_that_exist(server: Server) -> None:
    values = [0x1122, 0x3344, 0x5566]
    pdu = write_registers(end_of(server, "holding", 3), b"\x5a" * 8)
    past_the_end(server, "holding", values, pdu)
