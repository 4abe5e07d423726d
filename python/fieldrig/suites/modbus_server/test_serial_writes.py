"""What a server on a line does with writes that it must not answer, or must refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .functions import missing_because
from .lines import foreign_units, still_answered
from .outcome import Inapplicable, Missed, Undecided
from .pdus import OFF, ON, mask_write, packed, write_coil, write_coils, write_register, write_registers
from .server import Server
from .tables import exchange, must_be_exception, not_by_itself, read
from .writes import prepare, run_of

TURNAROUND = 0.2
"""How long every server is given to do what a broadcast says (SL 2.4.1: 100 to 200 ms), in seconds."""


def _has(server: Server, function: int) -> bool:
    declared = server.capabilities.functions
    return missing_because(server, function) is None if declared is None else function in declared


def _writes(server: Server) -> Iterator[tuple[int, str, int, bytes, int, int]]:
    """Function, table, address, PDU, what stands there then and what before, by every function that the server has, in
    every table where it is permitted: each changes what stands there."""
    for table, functions in (("holding", (6, 16, 22)), ("coils", (5, 15))):
        if not server.permission.places.get(table):
            continue
        address = run_of(server, table, 1)
        for function in functions:
            if _has(server, function):
                before = read(server, table, address, 1)[0]
                pdu, after = _change(function, address, before)
                yield function, table, address, pdu, after, before


def _change(function: int, address: int, before: int) -> tuple[bytes, int]:
    """A request that changes what stands there, and to what."""
    if function == 5:
        return write_coil(address, OFF if before else ON), 1 - before
    if function == 15:
        return write_coils(address, packed([1 - before]), quantity=1), 1 - before
    if function == 6:
        return write_register(address, before ^ 0x0101), before ^ 0x0101
    if function == 16:
        return write_registers(address, [before ^ 0x0202]), before ^ 0x0202
    return mask_write(address, 0, before ^ 0x0404), before ^ 0x0404


def broadcast_is_done(server: Server) -> None:
    """Writes to unit 0 by every function that the server has: no answer, and what is written stands there."""
    done = []
    for function, table, address, pdu, value, _ in _writes(server):
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
    """Writes to another unit, by every function that the server has, must not be done here."""
    unit, sent = foreign_units(server)[0], []
    for function, table, address, pdu, value, before in _writes(server):
        what = f"function {function:02} to unit {unit}"
        prepare(server, table, address, 1)
        talk = server.connect()
        talk.send(server.request(pdu, unit=unit), note=what)
        if not talk.anything():  # who answers is judged where nothing is written
            still_answered(server, what)
        seen = read(server, table, address, 1)[0]
        if seen != before:
            not_by_itself(server, table, address, seen, value)
            changed = f"{what}: {table} {address} changed from {before:04X} to {seen:04X}"
            if seen != value:
                raise Undecided(f"{changed}, which nobody wrote")
            raise Missed(f"{changed}, which was written to that unit")
        sent.append(f"{function:02}")
    if sent:
        server.note(f"written to unit {unit} by functions {', '.join(sent)}: not done here")
    else:
        server.note("nothing was written to another unit: no function is there for what may be written")
