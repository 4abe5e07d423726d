"""Functions 03, Read Holding Registers, and 04, Read Input Registers: the same rules for two tables."""

from __future__ import annotations

import pytest

from .capabilities import TABLES
from .frames import is_normal, read_pdu
from .outcome import Missed, Undecided
from .server import Server
from .tables import exception_must_be, legal_quantities, missing_addresses_are_refused, place

READS_OF_CHANGING = 300


def quantity_above_125_is_refused(server: Server, table: str) -> None:
    address = place(server, table)
    for quantity in (126, 127, 128, 0x8001, 0xFFFF):
        exception_must_be(server, 3, read_pdu(TABLES[table], address, quantity), f"quantity {quantity}")


def quantity_zero_is_refused(server: Server, table: str) -> None:
    exception_must_be(server, 3, read_pdu(TABLES[table], place(server, table), 0), "quantity 0")


@pytest.mark.requirement("FC03-01")
def test_legal_quantities_are_answered(server: Server) -> None:
    legal_quantities(server, "holding", (1, 2, 124, 125))


@pytest.mark.requirement("FC03-02")
def test_quantity_0_is_refused(server: Server) -> None:
    quantity_zero_is_refused(server, "holding")


@pytest.mark.requirement("FC03-03")
def test_quantity_above_125_is_refused(server: Server) -> None:
    quantity_above_125_is_refused(server, "holding")


@pytest.mark.requirement("FC03-04")
def test_address_that_does_not_exist_is_refused(server: Server) -> None:
    missing_addresses_are_refused(server, "holding")


@pytest.mark.requirement("FC03-05")
def test_changing_value_is_not_torn(server: Server) -> None:
    address = server.capabilities.holding.changing
    assert address is not None, "the row needs it"
    talk = server.connect()
    log = server.exchanges
    seen = set()
    began = server.clock.now()
    for _ in range(READS_OF_CHANGING):
        answer = server.ask(talk, server.request(read_pdu(3, address, 2)))
        if not is_normal(answer, 3, 2):
            raise Missed(f"a read of registers {address} and {address + 1} got {answer.says()}")
        high, low = answer.pdu[2:4], answer.pdu[4:6]
        if high != low:
            raise Missed(f"registers {address} and {address + 1} change together and read {high.hex()} and {low.hex()}")
        seen.add(high)
        del log[:-2]
        if server.clock.now() - began > 10 * server.timing.answer:
            break
    if len(seen) < 2:
        raise Undecided(f"registers {address} and {address + 1} did not change")
    server.note(f"{len(seen)} values seen, each whole")


@pytest.mark.requirement("FC04-01")
def test_legal_quantities_of_input_registers_are_answered(server: Server) -> None:
    legal_quantities(server, "input", (1, 2, 124, 125))


@pytest.mark.requirement("FC04-02")
def test_no_input_register_is_refused(server: Server) -> None:
    quantity_zero_is_refused(server, "input")


@pytest.mark.requirement("FC04-03")
def test_more_than_125_input_registers_are_refused(server: Server) -> None:
    quantity_above_125_is_refused(server, "input")


@pytest.mark.requirement("FC04-04")
def test_input_register_that_does_not_exist_is_refused(server: Server) -> None:
    missing_addresses_are_refused(server, "input")
