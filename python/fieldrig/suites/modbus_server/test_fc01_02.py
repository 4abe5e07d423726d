"""Functions 01, Read Coils, and 02, Read Discrete Inputs: the same rules for two tables."""

from __future__ import annotations

import pytest

from .capabilities import TABLES
from .frames import is_normal, read_pdu
from .outcome import Inapplicable, Missed, Undecided
from .server import Server
from .tables import (
    NAMES,
    exception_must_be,
    exchange,
    last_of,
    legal_quantities,
    missing_addresses_are_refused,
    place,
    read_once,
)
from .writes import run_of, set_up

WINDOW = 24
"""How many bits are compared one by one."""
TRIES = 5


def answers_are_as_long_as_the_quantity_says(server: Server, table: str) -> None:
    legal_quantities(server, table, (1, 7, 8, 9, 16, 17, 2000))
    address = place(server, table)
    if table == "coils" and server.permission.run(table, WINDOW) is not None:
        address = run_of(server, table, WINDOW)
        set_up(server, table, address, [1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1] * 2)
    server.note(bit_order(server, table, address))


def bit_order(server: Server, table: str, address: int) -> str:
    """Reads some bits together and one by one. A device may change them meanwhile: only what stays so counts."""
    for _ in range(TRIES):
        size = readable(server, table, address)
        together = read_once(server, table, address, size)
        singly = [read_once(server, table, address + index, 1)[0] for index in range(size)]
        if together == singly:
            if together in (together[::-1], [together[0]] * size):
                raise Inapplicable(f"the order of {table} cannot be seen: {together}; the byte counts are right")
            return f"{size} bits in order"
        if together != read_once(server, table, address, size):
            continue  # it changes
        wrong = next(index for index in range(size) if together[index] != singly[index])
        text = f"{NAMES[table]} {address + wrong} reads {singly[wrong]} alone and {together[wrong]} from {address} on"
    else:
        if together != read_once(server, table, address, size) or together == singly:
            raise Undecided("the bits change all the time")
    raise Missed(f"{text}: the first is not bit 0 of byte 0")


def readable(server: Server, table: str, address: int) -> int:
    """How many bits from there on can be read together, up to the window."""
    function = TABLES[table]
    for size in (WINDOW, 16, 9, 8, 4, 2, 1):
        what = f"a read of {size} from {table} {address}"
        if is_normal(exchange(server, read_pdu(function, address, size), what), function, size):
            return size
    raise Undecided(f"{table} {address} could be read before and cannot be read now")


def unused_bits_are_zero(server: Server, table: str) -> None:
    function, address = TABLES[table], place(server, table)
    size = readable(server, table, address)
    values = read_once(server, table, address, size)
    seen = []
    for quantity in (1, 2, 3, 5, 7, 9, 12, 15, 17):
        if quantity >= size:
            continue
        start = address + telling(values, quantity)
        what = f"a read of {quantity} from {table} {start}"
        answer = exchange(server, read_pdu(function, start, quantity), what)
        if not is_normal(answer, function, quantity):
            raise Missed(f"{what} got {answer.says()}, not the normal answer")
        unused = answer.pdu[-1] >> (quantity % 8)
        if unused:
            raise Missed(f"{what}: the last byte is {answer.pdu[-1]:02X}, its unused high bits are not 0")
        seen.append(str(quantity))
    if not seen:
        raise Inapplicable(f"a read of 2 from {table} {address} is refused: there is no quantity to try")
    server.note(f"quantities {', '.join(seen)}")


def telling(values: list[int], quantity: int) -> int:
    """Where to read so that as many as can be of the bits behind the quantity are 1: stale ones would show."""
    behind = (-quantity) % 8
    return max(range(len(values) - quantity), key=lambda at: sum(values[at + quantity : at + quantity + behind]))


def quantity_zero_is_refused(server: Server, table: str) -> None:
    exception_must_be(server, 3, read_pdu(TABLES[table], place(server, table), 0), "quantity 0")


def quantity_above_2000_is_refused(server: Server, table: str) -> None:
    address = place(server, table)
    for quantity in (2001, 0x7FFF, 0xFFFF):
        exception_must_be(server, 3, read_pdu(TABLES[table], address, quantity), f"quantity {quantity}")


def what_does_not_exist_is_refused(server: Server, table: str) -> None:
    missing_addresses_are_refused(server, table)
    last = last_of(server, table)
    if last is not None and last < 0xFFFF:
        start = max(last - 6, place(server, table))
        what = f"a read of {table} {start} to {last + 1}, one more than there is,"
        exception_must_be(server, 2, read_pdu(TABLES[table], start, last - start + 2), what)


@pytest.mark.requirement("FC01-01")
def test_coils_come_in_as_many_bytes_as_it_takes_the_first_in_bit_0(server: Server) -> None:
    answers_are_as_long_as_the_quantity_says(server, "coils")


@pytest.mark.requirement("FC01-02")
def test_unused_bits_behind_coils_are_zero(server: Server) -> None:
    unused_bits_are_zero(server, "coils")


@pytest.mark.requirement("FC01-03")
def test_no_coil_is_refused(server: Server) -> None:
    quantity_zero_is_refused(server, "coils")


@pytest.mark.requirement("FC01-04")
def test_more_than_2000_coils_are_refused(server: Server) -> None:
    quantity_above_2000_is_refused(server, "coils")


@pytest.mark.requirement("FC01-05")
def test_coils_that_do_not_exist_are_refused(server: Server) -> None:
    what_does_not_exist_is_refused(server, "coils")


@pytest.mark.requirement("FC02-01")
def test_discrete_inputs_come_in_as_many_bytes_as_it_takes_the_first_in_bit_0(server: Server) -> None:
    answers_are_as_long_as_the_quantity_says(server, "discrete")


@pytest.mark.requirement("FC02-02")
def test_unused_bits_behind_discrete_inputs_are_zero(server: Server) -> None:
    unused_bits_are_zero(server, "discrete")


@pytest.mark.requirement("FC02-03")
def test_no_discrete_input_is_refused(server: Server) -> None:
    quantity_zero_is_refused(server, "discrete")


@pytest.mark.requirement("FC02-04")
def test_more_than_2000_discrete_inputs_are_refused(server: Server) -> None:
    quantity_above_2000_is_refused(server, "discrete")


@pytest.mark.requirement("FC02-05")
def test_discrete_inputs_that_do_not_exist_are_refused(server: Server) -> None:
    what_does_not_exist_is_refused(server, "discrete")
