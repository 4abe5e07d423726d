"""Functions 22, Mask Write Register, and 23, Read/Write Multiple Registers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .frames import is_normal, read_pdu
from .outcome import Inapplicable, Missed
from .pdus import mask_write, read_write, registers, words
from .server import Server
from .tables import exchange, last_of, limit, must_be_exception, not_by_itself
from .test_fc15_16 import beyond_the_limit, must_be_refused, must_hold, run_for, writes_at_once
from .writes import ask, behind, end_of, put, run_of


def masked(server: Server, before: int, and_mask: int, or_mask: int) -> None:
    """(before AND and) OR (or AND NOT and) must stand in the register afterwards (AP 6.16)."""
    address = run_of(server, "holding", 1)
    put(server, "holding", address, [before])
    pdu = mask_write(address, and_mask, or_mask)
    what = f"function 22 with {and_mask:04X} and {or_mask:04X} on {before:04X}"
    answer = ask(server, "holding", address, 1, pdu, what)
    if answer.pdu != pdu:
        raise Missed(f"{what} got {answer.says()}, not its own bytes ({pdu.hex(' ').upper()})")
    must_hold(server, "holding", address, [before & and_mask | or_mask & ~and_mask & 0xFFFF], what)


@pytest.mark.requirement("FC22-01")
def test_masks_are_applied_as_the_standard_computes_it(server: Server) -> None:
    masked(server, 0x0012, 0x00F2, 0x0025)


@pytest.mark.requirement("FC22-02")
def test_with_one_mask_zero_the_other_alone_decides(server: Server) -> None:
    masked(server, 0xA5C3, 0x0FF0, 0x0000)
    masked(server, 0xA5C3, 0x0000, 0x3C5A)


@pytest.mark.requirement("FC22-03")
def test_register_that_does_not_exist_is_not_masked(server: Server) -> None:
    address = behind(server, "holding")
    what = f"function 22 at register {address}, which does not exist,"
    must_be_exception(ask(server, "holding", address, 1, mask_write(address, 0xFFFF, 0), what), 2, what)


def read_and_written(
    server: Server, read: tuple[int, int], address: int, values: Sequence[int], then: Sequence[int]
) -> None:
    """Function 23: the answer must be `then`, what stands in the read range after the write."""
    pdu = read_write(read, address, values)
    what = f"function 23: read {read[1]} from {read[0]}, write {len(values)} to {address}"
    answer = ask(server, "holding", address, len(values), pdu, what)
    if answer.pdu[:2] != bytes([23, 2 * read[1]]) or len(answer.pdu) != 2 + 2 * read[1]:
        raise Missed(f"{what} got {answer.says()}, not {2 * read[1]} data bytes")
    seen = registers(answer.pdu[2:])
    if seen != list(then):
        _not_by_themselves(server, read[0], seen, then)
        raise Missed(f"{what} gave {words(seen).hex(' ', 2).upper()}, not {words(then).hex(' ', 2).upper()}")
    must_hold(server, "holding", address, values, what)


def _handles(server: Server, reads: int, writes: int) -> None:
    """Raises `Inapplicable` if fewer are declared to be read or written by one request."""
    writes_at_once(server, "holding", writes)
    if limit(server, "holding") < reads:
        raise Inapplicable(f"{limit(server, 'holding')} is declared as holding.max_read: {reads} at once are refused")


def _not_by_themselves(server: Server, first: int, seen: Sequence[int], wanted: Sequence[int]) -> None:
    """Raises `Undecided` if a register that is not as it should be changes by itself."""
    for index, (value, other) in enumerate(zip(seen, wanted, strict=False)):
        if value != other:
            not_by_itself(server, "holding", first + index, value, other)
            return


@pytest.mark.requirement("FC23-01")
def test_function_23_writes_before_it_reads(server: Server) -> None:
    first = run_of(server, "holding", 4)
    _handles(server, reads=3, writes=2)
    before = [0x1111, 0x2222, 0x1111, 0x2222]
    new = [0xA001, 0xA002]
    for read, address, then in (
        ((first, 2), first, new),  # the same range
        ((first, 3), first + 1, [before[0], *new]),  # overlapping
        ((first, 2), first + 2, before[:2]),  # apart
    ):
        put(server, "holding", first, before)
        read_and_written(server, read, address, new, then)
    server.note("ranges equal, overlapping and apart")


@pytest.mark.requirement("FC23-02")
def test_quantities_of_function_23_are_limited_and_its_byte_count_must_fit(server: Server) -> None:
    first = run_of(server, "holding", 2)
    for what, pdu in (
        ("read quantity 0", read_write((first, 0), first, [0x5A5A])),
        ("read quantity 126", read_write((first, 126), first, [0x5A5A])),
        ("write quantity 0", read_write((first, 1), first, [])),
        ("write quantity 2 in 2 bytes", read_write((first, 1), first, [0x5A5A], quantity=2)),
        ("write quantity 1 in 4 bytes", read_write((first, 1), first, [0x5A5A, 0x5A5A], quantity=1)),
    ):
        must_be_refused(server, "holding", first, 2, pdu, f"function 23 with {what}")
    address = run_for(server, "holding", 122, "the other quantities are right")
    pdu = read_write((address, 1), address, [0x5A5A] * 122)
    followed = beyond_the_limit(server, "holding", address, 122, pdu, "function 23 with write quantity 122")
    server.note(f"write quantity 122: {followed}")


@pytest.mark.requirement("FC23-03")
def test_function_23_writes_nothing_if_either_range_does_not_exist(server: Server) -> None:
    missing = behind(server, "holding")
    first = end_of(server, "holding", 2)
    _handles(server, reads=3, writes=3)
    before = [0x1111, 0x2222]
    put(server, "holding", first, before)
    for what, pdu in (
        ("a read range that does not exist", read_write((missing, 1), first, [0x5A5A])),
        ("a read range one too long", read_write((first, 3), first, [0x5A5A])),
        ("a write range one too long", read_write((first, 1), first, [0x5A5A] * 3)),
    ):
        must_be_refused(server, "holding", first, 3, pdu, f"function 23 with {what}", code=2)
        must_hold(server, "holding", first, before, f"function 23 with {what}")


@pytest.mark.requirement("FC23-04")
def test_largest_read_and_write_of_function_23(server: Server) -> None:
    address = run_of(server, "holding", 121)
    last = last_of(server, "holding")
    if limit(server, "holding") < 125 or (server.capabilities.holding.max_write or 121) < 121:
        raise Inapplicable("fewer are declared: holding.max_read, holding.max_write")
    start = address if last is None else min(address, last - 124)
    if start < 0 or not _readable(server, start):
        raise Inapplicable("125 registers that can be read together, 121 of which may be written, were not found")
    values = [0xB000 + index for index in range(121)]
    pdu = read_write((start, 125), address, values)
    what = f"function 23: read 125 from {start}, write 121 to {address}"
    answer = ask(server, "holding", address, 121, pdu, what)
    if answer.pdu[:2] != bytes([23, 250]) or len(answer.pdu) != 252:
        raise Missed(f"{what} got {answer.says()}, not 250 data bytes")
    seen, both = registers(answer.pdu[2:]), min(121, start + 125 - address)
    read_back = seen[address - start : address - start + both]
    if read_back != values[:both]:
        _not_by_themselves(server, address, read_back, values[:both])
        raise Missed(f"{what} did not give what it wrote")
    must_hold(server, "holding", address, values, what)


def _readable(server: Server, start: int) -> bool:
    answer = exchange(server, read_pdu(3, start, 125), f"a read of 125 from holding {start}")
    return is_normal(answer, 3, 125)
