"""Functions 05, Write Single Coil, and 06, Write Single Register."""

from __future__ import annotations

import pytest

from .outcome import Missed
from .pdus import OFF, ON, write_coil, write_register
from .server import Server
from .tables import must_be_exception, not_by_itself, read_once
from .writes import ask, behind, put, run_of


def echo_must_come(server: Server, table: str, address: int, pdu: bytes, what: str) -> None:
    """Sends a write of one item; its answer must be the request itself."""
    answer = ask(server, table, address, 1, pdu, what)
    if answer.pdu != pdu:
        raise Missed(f"{what} got {answer.says()}, not its own bytes ({pdu.hex(' ').upper()})")


def must_read(server: Server, table: str, address: int, value: int, what: str) -> None:
    """The address must hold this value."""
    seen = read_once(server, table, address, 1)[0]
    if seen != value:
        not_by_itself(server, table, address, seen, value)
        raise Missed(f"after {what.rstrip(',')}, {table} {address} reads {seen:X}, not {value:X}")


@pytest.mark.requirement("FC05-01")
def test_coil_is_switched_and_the_request_echoed(server: Server) -> None:
    address = run_of(server, "coils", 1)
    for value, coil in ((ON, 1), (OFF, 0), (ON, 1)):
        what = f"function 05 with {value:04X}"
        echo_must_come(server, "coils", address, write_coil(address, value), what)
        must_read(server, "coils", address, coil, what)
    server.note(f"coil {address} on, off, on")


@pytest.mark.requirement("FC05-02")
def test_value_that_is_neither_on_nor_off_is_refused(server: Server) -> None:
    address = run_of(server, "coils", 1)
    for coil in (0, 1):
        put(server, "coils", address, [coil])
        for value in (0x0001, 0x00FF, 0x0100, 0xFF01, 0xFFFF):
            what = f"function 05 with {value:04X}"
            must_be_exception(ask(server, "coils", address, 1, write_coil(address, value), what), 3, what)
            must_read(server, "coils", address, coil, what)


@pytest.mark.requirement("FC05-03")
def test_coil_value_is_judged_before_its_address(server: Server) -> None:
    address = behind(server, "coils")
    for value in (0x0001, 0xFFFF):
        what = f"function 05 with {value:04X} at coil {address}, which does not exist,"
        must_be_exception(ask(server, "coils", address, 1, write_coil(address, value), what), 3, what)


@pytest.mark.requirement("FC05-04")
def test_coil_that_does_not_exist_is_not_written(server: Server) -> None:
    address = behind(server, "coils")
    for value in (OFF, ON):
        what = f"function 05 with {value:04X} at coil {address}, which does not exist,"
        must_be_exception(ask(server, "coils", address, 1, write_coil(address, value), what), 2, what)


@pytest.mark.requirement("FC06-01")
def test_register_is_written_and_the_request_echoed(server: Server) -> None:
    address = run_of(server, "holding", 1)
    for value in (0, 1, 0x7FFF, 0x8000, 0xFFFF):
        what = f"function 06 with {value:04X}"
        echo_must_come(server, "holding", address, write_register(address, value), what)
        must_read(server, "holding", address, value, what)
    server.note(f"0, 1, 7FFF, 8000 and FFFF to register {address}")


@pytest.mark.requirement("FC06-02")
def test_register_that_does_not_exist_is_not_written(server: Server) -> None:
    address = behind(server, "holding")
    what = f"function 06 at register {address}, which does not exist,"
    must_be_exception(ask(server, "holding", address, 1, write_register(address, 0), what), 2, what)


@pytest.mark.requirement("FC06-03")
def test_value_that_the_device_declares_as_not_acceptable_is_refused(server: Server) -> None:
    refused = server.capabilities.holding.refuses
    assert refused is not None, "the row needs it"
    address, value = refused
    what = f"function 06 with {value:04X}, declared as not acceptable, at register {address}"
    before = read_once(server, "holding", address, 1)[0]
    must_be_exception(ask(server, "holding", address, 1, write_register(address, value), what), 3, what)
    must_read(server, "holding", address, before, what)
