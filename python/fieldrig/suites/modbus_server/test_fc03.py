"""Function 03, Read Holding Registers."""

from __future__ import annotations

import time

import pytest

from .frames import is_normal, read_pdu
from .outcome import Inapplicable, Missed, Undecided
from .server import Server
from .test_pdu import exception_must_be, exchange

READS_OF_CHANGING = 300


def address_of(server: Server) -> int:
    """A holding register that can be read."""
    if server.facts.function != 3:
        raise Inapplicable("no holding register that can be read was found")
    return server.facts.address


@pytest.mark.requirement("FC03-01")
def test_legal_quantities_are_answered(server: Server) -> None:
    address = address_of(server)
    last = server.capabilities.holding.last
    beyond = []
    for quantity in (1, 2, 124, 125):
        what = f"a read of {quantity} from {address}"
        answer = exchange(server, read_pdu(3, address, quantity), what)
        if answer.exception == 2 and (last is None or address + quantity - 1 > last):
            beyond.append(str(quantity))
        elif not is_normal(answer, 3, quantity):
            raise Missed(f"{what} got {answer.says()}, not {2 * quantity} data bytes")
    if beyond:
        raise Inapplicable(f"quantity {', '.join(beyond)} is more than there is from {address}; the others are right")
    server.note("1, 2, 124 and 125 registers")


@pytest.mark.requirement("FC03-02")
def test_quantity_0_is_refused(server: Server) -> None:
    exception_must_be(server, 3, read_pdu(3, address_of(server), 0), "quantity 0")


@pytest.mark.requirement("FC03-03")
def test_quantity_above_125_is_refused(server: Server) -> None:
    for quantity in (126, 127, 128, 0x8001, 0xFFFF):
        exception_must_be(server, 3, read_pdu(3, address_of(server), quantity), f"quantity {quantity}")


@pytest.mark.requirement("FC03-04")
def test_address_that_does_not_exist_is_refused(server: Server) -> None:
    address_of(server)
    last = server.capabilities.holding.last
    if last == 0xFFFF:
        raise Inapplicable("every address from 0 to FFFF is declared")
    if last is not None:
        for address in (last + 1, 0xFFFF):
            exception_must_be(server, 2, read_pdu(3, address, 1), f"a read of register {address}, behind the last,")
        return
    for address in (0xFFFF, 0xFFF0, 0xC000, 0x8000, 0x4000):
        answer = exchange(server, read_pdu(3, address, 1), f"a read of register {address}")
        if answer.exception == 2:
            server.note(f"register {address}: exception 02")
            return
        if answer.function & 0x80 and answer.exception in (1, 3):
            raise Missed(f"a read of one register at {address} got {answer.says()}: function and quantity are right")
        if answer.function & 0x80:
            raise Undecided(f"register {address} got {answer.says()}; whether it exists is not declared (holding.last)")
    raise Inapplicable("no address that does not exist was found; holding.last is not declared")


@pytest.mark.requirement("FC03-05")
def test_changing_value_is_not_torn(server: Server) -> None:
    address = server.capabilities.holding.changing
    assert address is not None, "the row needs it"
    talk = server.connect()
    log = server.exchanges
    seen = set()
    began = time.monotonic()
    for _ in range(READS_OF_CHANGING):
        answer = server.ask(talk, server.request(read_pdu(3, address, 2)))
        if not is_normal(answer, 3, 2):
            raise Missed(f"a read of registers {address} and {address + 1} got {answer.says()}")
        high, low = answer.pdu[2:4], answer.pdu[4:6]
        if high != low:
            raise Missed(f"registers {address} and {address + 1} change together and read {high.hex()} and {low.hex()}")
        seen.add(high)
        del log[:-2]
        if time.monotonic() - began > 10 * server.timing.answer:
            break
    if len(seen) < 2:
        raise Undecided(f"registers {address} and {address + 1} did not change")
    server.note(f"{len(seen)} values seen, each whole")
