"""Function 24, Read FIFO Queue."""

from __future__ import annotations

import pytest

from .outcome import Inapplicable, Missed, Undecided
from .server import Server
from .tables import exception_must_be, exchange

LONGEST = 31


def pdu_for(pointer: int) -> bytes:
    """24 (0x18) Read FIFO Queue."""
    return bytes([24]) + pointer.to_bytes(2, "big")


def queue(server: Server, pointer: int) -> bytes:
    """The registers of a queue, as bytes; the form of the answer must be right (AP 6.18)."""
    pdu = exchange(server, pdu_for(pointer), f"a read of the queue at {pointer}").pdu
    shown = f"the queue at {pointer} got {pdu[:10].hex(' ').upper()} ({len(pdu)} bytes)"
    if pdu[0] != 24 or len(pdu) < 5:
        raise Missed(f"{shown}, not its registers")
    stated, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
    if stated != len(pdu) - 3 or stated != 2 + 2 * count or count > LONGEST:
        raise Missed(f"{shown}: byte count {stated}, {count} registers, {len(pdu) - 3} bytes follow")
    return pdu[5:]


@pytest.mark.requirement("FC24-01")
def test_queue_has_a_byte_count_of_16_bits_a_count_and_registers(server: Server) -> None:
    for pointer in server.capabilities.fifo.pointers or ():
        server.note(f"{len(queue(server, pointer)) // 2} registers at {pointer}")


@pytest.mark.requirement("FC24-02")
def test_queue_that_is_too_long_is_refused(server: Server) -> None:
    pointer = server.capabilities.fifo.overfull
    assert pointer is not None, "the row needs it"
    exception_must_be(server, 3, pdu_for(pointer), f"a read of the queue at {pointer}, which has more than 31,")


@pytest.mark.requirement("FC24-03")
def test_pointer_that_is_none_is_refused(server: Server) -> None:
    known = {*(server.capabilities.fifo.pointers or ()), server.capabilities.fifo.overfull}
    pointer = next(at for at in (0xFFFF, 0xFFFE, 0xFFFD) if at not in known)
    answer = exchange(server, pdu_for(pointer), f"a read of the queue at {pointer}")
    if answer.function == 24:
        raise Inapplicable(f"the queue at {pointer}, which is not declared, is there")
    if answer.exception != 2:
        raise Missed(f"a read of the queue at {pointer}, which does not exist, got {answer.says()}, not exception 02")


@pytest.mark.requirement("FC24-04")
def test_reading_takes_nothing_out(server: Server) -> None:
    seen = 0
    for pointer in server.capabilities.fifo.pointers or ():
        first, second, third = (queue(server, pointer) for _ in range(3))
        seen += len(first)
        if len(second) < len(first) and len(third) <= len(second):
            raise Missed(f"the queue at {pointer} has {len(first) // 2} registers, then {len(second) // 2}")
    if not seen:
        raise Undecided("every declared queue is empty: nothing could be taken out")
