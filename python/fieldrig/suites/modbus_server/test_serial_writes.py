"""What a server on a line does with writes that it must not answer, or must refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .functions import missing_because
from .lines import foreign_units, still_answered
from .outcome import Inapplicable, Missed
from .pdus import OFF, ON, mask_write, packed, write_coil, write_coils, write_register, write_registers
from .server import Server
from .tables import exchange, must_be_exception, not_by_itself, read
from .writes import prepare, run_of

TURNAROUND = 0.2
"""How long every server is given to do what a broadcast says (SL 2.4.1: 100 to 200 ms), in seconds."""


def _has(server: Server, function: int) -> bool:
    declared = server.capabilities.functions
    return missing_because(server, function) is None if declared is None else function in declared


def _writes(server: Server) -> Iterator[tuple[int, str, int, bytes, int]]:
    """Function, table, address, PDU and what stands there afterwards, of single changes where it is permitted."""
    if server.permission.places.get("holding"):
        address = run_of(server, "holding", 1)
        value = read(server, "holding", address, 1)[0]
        yield 6, "holding", address, write_register(address, value ^ 0x0101), value ^ 0x0101
        yield 16, "holding", address, write_registers(address, [value ^ 0x0202]), value ^ 0x0202
        yield 22, "holding", address, mask_write(address, 0, value ^ 0x0404), value ^ 0x0404
    if server.permission.places.get("coils"):
        address = run_of(server, "coils", 1)
        bit = read(server, "coils", address, 1)[0]
        yield 5, "coils", address, write_coil(address, OFF if bit else ON), 1 - bit
        yield 15, "coils", address, write_coils(address, packed([bit]), quantity=1), bit


def broadcast_is_done(server: Server) -> None:
    """Writes to unit 0 by every function that the server has: no answer, and what is written stands there."""
    done = []
    for function, table, address, pdu, value in _writes(server):
        if not _has(server, function):
            continue
        what = f"function {function:02} as a broadcast"
        prepare(server, table, address, 1)
        talk = server.connect()
        talk.send(server.request(pdu, unit=0), note=what)
        server.expect_silence(talk, what)
        server.clock.sleep(TURNAROUND)
        seen = read(server, table, address, 1)[0]
        if seen != value:
            not_by_itself(server, table, address, seen, value)
            raise Missed(f"{what} wrote {value:04X}, {table} {address} reads {seen:04X}")
        done.append(f"{function:02}")
    if not done:
        raise Inapplicable("the server has no function that writes what may be written")
    server.note(f"functions {', '.join(done)}")


@pytest.mark.requirement("RTU-05")
def test_broadcast_is_done_and_not_answered(server: Server) -> None:
    broadcast_is_done(server)


@pytest.mark.requirement("ASC-14")
def test_broadcast_in_ascii_is_done_and_not_answered(server: Server) -> None:
    broadcast_is_done(server)


@pytest.mark.requirement("RTU-20")
def test_byte_count_that_is_0_is_refused(server: Server) -> None:
    address = run_of(server, "holding", 3)
    prepare(server, "holding", address, 3)
    what = "function 16 with byte count 0 and 6 bytes of data"
    answer = exchange(server, write_registers(address, bytes(6), quantity=3, count=0), what)
    must_be_exception(answer, 3, what)


def write_to_another_unit(server: Server) -> None:
    """A write to another unit must not be done here."""
    address = run_of(server, "holding", 1)
    value = read(server, "holding", address, 1)[0]
    prepare(server, "holding", address, 1)
    unit = foreign_units(server)[0]
    talk = server.connect()
    what = f"a write to unit {unit}"
    talk.send(server.request(write_register(address, value ^ 0x0101), unit=unit), note=what)
    if not talk.anything():  # who answers is judged where nothing is written
        still_answered(server, what)
    seen = read(server, "holding", address, 1)[0]
    if seen != value:
        raise Missed(f"a write to unit {unit} changed register {address} from {value:04X} to {seen:04X}")
