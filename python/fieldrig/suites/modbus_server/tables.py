"""The four tables of the server: where they can be read, what is in them, where they end."""

from __future__ import annotations

from collections.abc import Sequence

from .capabilities import TABLES, Table
from .frames import READ_BITS, Adu, is_normal, read_pdu
from .outcome import Excluded, Inapplicable, Missed, Undecided
from .pdus import bits, read_records, registers
from .probe import CANDIDATES
from .server import Server

LONGEST_READ = {"holding": 125, "input": 125, "coils": 2000, "discrete": 2000}
"""How many items one request may read (AP 6.1 to 6.4)."""

RECORDS_AT_A_TIME = 100
"""How many records of a file are read or written by one request; an answer has room for 124 (AP 6.14)."""

NAMES = {"holding": "holding register", "input": "input register", "coils": "coil", "discrete": "discrete input"}
WRITING = (5, 6, 15, 16, 21, 22, 23)
"""Functions that write."""
BEYOND = (0xFFFF, 0xFFF0, 0xC000, 0x8000, 0x4000)
"""Addresses that few servers have."""


Group = tuple[int, int, int]
"""File, first record, number of records."""


def exchange(server: Server, pdu: bytes, what: str) -> Adu:
    """One request on a connection of its own."""
    talk, busy = server.connect(), server.busy
    talk, answer = server.ask_again(talk, server.request(pdu), what)
    if pdu[0] in WRITING:
        server.written += server.busy - busy
    talk.close()
    return answer


def exception_must_be(server: Server, code: int, pdu: bytes, what: str) -> None:
    """The request must give this exception."""
    must_be_exception(exchange(server, pdu, what), code, what)


def must_be_exception(answer: Adu, code: int, what: str) -> None:
    """The answer must be this exception; whether its function code is right is the business of PDU-02."""
    if not answer.function & 0x80 or answer.exception != code:
        raise Missed(f"{what} got {answer.says()}, not exception {code:02X}")


def place(server: Server, table: str) -> int:
    """An address of a table that can be read.

    Raises `Missed` if the table is declared and cannot be read, `Excluded` if the server does not have its function,
    `Inapplicable` if no address was found.
    """
    if table not in server.places:
        server.places[table] = _place(server, table)
    return server.places[table]


def _place(server: Server, table: str) -> int:
    function, declared = TABLES[table], server.capabilities.tables.get(table)
    if declared is not None and (declared.first is not None or declared.last is not None):
        first = declared.first or 0
        last = first if declared.last is None else declared.last
        for address in dict.fromkeys((first, min(first + 1, last), (first + last) // 2, last)):
            answer = exchange(server, read_pdu(function, address, 1), f"a read of {table} {address}")
            if is_normal(answer, function, 1):
                return address
        raise Missed(f"{NAMES[table]} {last} is declared and gave {answer.says()}")
    if function == server.facts.function:
        return server.facts.address
    for address in CANDIDATES:
        answer = exchange(server, read_pdu(function, address, 1), f"a read of {table} {address}")
        if is_normal(answer, function, 1):
            return address
        if answer.exception == 1:
            raise Excluded(f"function {function:02} got {answer.says()}, and nobody declares it")
    raise Inapplicable(f"no {NAMES[table]} that can be read was found; declare [{table}] first")


def read(server: Server, table: str, address: int, count: int) -> list[int]:
    """What stands in a table, or a file (`file4`), now, in as many requests as it takes.

    Raises `Missed` if it cannot be read.
    """
    values: list[int] = []
    while len(values) < count:
        first = address + len(values)
        if table.startswith("file"):
            quantity = min(count - len(values), RECORDS_AT_A_TIME)
            values += parts(server, [(int(table[4:]), first, quantity)])[0]
            continue
        quantity = min(count - len(values), server.longest.get(table) or limit(server, table))
        answer = exchange(server, read_pdu(TABLES[table], first, quantity), f"a read of {table} {first}")
        if answer.exception == 3 and quantity > 1:  # a limit of its own is the business of rows about quantities
            server.longest[table] = quantity // 2
            continue
        values += _items(answer, table, first, quantity)
    return values


def limit(server: Server, table: str) -> int:
    """How many items of a table one request may read: as declared, or as the standard has it."""
    declared = server.capabilities.tables.get(table, Table()).max_read
    return LONGEST_READ[table] if declared is None else min(declared, LONGEST_READ[table])


def read_once(server: Server, table: str, address: int, quantity: int) -> list[int]:
    """What one request reads. Raises `Missed` if it is not answered normally."""
    what = f"a read of {quantity} from {table} {address}"
    return _items(exchange(server, read_pdu(TABLES[table], address, quantity), what), table, address, quantity)


def _items(answer: Adu, table: str, address: int, quantity: int) -> list[int]:
    if not is_normal(answer, TABLES[table], quantity):
        raise Missed(f"a read of {quantity} from {table} {address} got {answer.says()}, not the normal answer")
    return items(answer, quantity)


def parts(server: Server, groups: Sequence[Group]) -> list[list[int]]:
    """Reads groups; the answer must have a part for each, of its length."""
    what = f"a read of {len(groups)} groups"
    pdu = exchange(server, read_records(groups), what).pdu
    expected = sum(2 + 2 * length for _, _, length in groups)
    if pdu[0] != 20 or len(pdu) != 2 + expected or pdu[1] != expected:
        raise Missed(f"{what} got {pdu[:12].hex(' ').upper()} ({len(pdu)} bytes), not {expected} data bytes")
    found, at = [], 2
    for _, _, length in groups:
        if pdu[at] != 1 + 2 * length or pdu[at + 1] != 6:
            raise Missed(f"{what}: a part begins with {pdu[at : at + 2].hex(' ').upper()}, not length and 06")
        found.append(registers(pdu[at + 2 : at + 2 + 2 * length]))
        at += 2 + 2 * length
    return found


def items(answer: Adu, quantity: int) -> list[int]:
    """The bits or registers of the normal answer to a read."""
    data = answer.pdu[2:]
    return bits(data, quantity) if answer.function in READ_BITS else registers(data)


def last_of(server: Server, table: str) -> int | None:
    """The last address of a table, if it is declared."""
    declared = server.capabilities.tables.get(table)
    return declared.last if declared is not None else None


def not_by_itself(server: Server, table: str, address: int, seen: int, wanted: int) -> None:
    """What stands there is not what was written. Raises `Undecided` if it goes on changing although nobody writes."""
    deadline = server.clock.now() + server.timing.answer
    changes, latest = 0, seen
    while server.clock.now() < deadline:
        server.clock.sleep(server.timing.settle)
        now = read(server, table, address, 1)[0]
        changes += now != latest
        latest = now
    if changes and not (changes == 1 and latest == wanted):  # once, to what was written: it was done too late
        raise Undecided(f"{table} {address} changes by itself: take it out of what may be written")


def missing_address(server: Server, table: str) -> int:
    """An address that the table does not have: declared so, or a read of it gives exception 02.

    Raises `Inapplicable` if none was found.
    """
    last = last_of(server, table)
    if last == 0xFFFF:
        raise Inapplicable(f"every address from 0 to FFFF is declared for {table}")
    if last is not None:
        return last + 1
    function = TABLES[table]
    for address in BEYOND:
        answer = exchange(server, read_pdu(function, address, 1), f"a read of {table} {address}")
        if answer.exception == 2:
            return address
    raise Inapplicable(f"no {NAMES[table]} that does not exist was found; declare [{table}] last")


def missing_addresses_are_refused(server: Server, table: str) -> None:
    """A read of an address that does not exist must give exception 02."""
    place(server, table)
    function, last = TABLES[table], last_of(server, table)
    if last == 0xFFFF:
        raise Inapplicable("every address from 0 to FFFF is declared")
    if last is not None:
        for address in (last + 1, 0xFFFF):
            what = f"a read of {NAMES[table]} {address}, behind the last,"
            exception_must_be(server, 2, read_pdu(function, address, 1), what)
        return
    for address in BEYOND:
        what = f"a read of {NAMES[table]} {address}"
        answer = exchange(server, read_pdu(function, address, 1), what)
        if answer.exception == 2:
            server.note(f"{NAMES[table]} {address}: exception 02")
            return
        if answer.function & 0x80 and answer.exception in (1, 3):
            raise Missed(f"{what} got {answer.says()}: function and quantity are right")
        if answer.function & 0x80:
            raise Undecided(f"{what} got {answer.says()}; whether it exists is not declared ({table}.last)")
    raise Inapplicable(f"no address that does not exist was found; {table}.last is not declared")


def declared_as(answer: Adu, table: str, key: str) -> str:
    """What helps if a legal quantity was refused as such."""
    return f"; if that is a limit of the device, declare {table}.{key}" if answer.exception == 3 else ""


def legal_quantities(server: Server, table: str, quantities: tuple[int, ...]) -> None:
    """Reads of these quantities must be answered with as many items; those that exceed the table are left out."""
    function, address, last = TABLES[table], place(server, table), last_of(server, table)
    beyond = [str(quantity) for quantity in quantities if quantity > limit(server, table)]
    for quantity in quantities[: len(quantities) - len(beyond)]:
        what = f"a read of {quantity} from {table} {address}"
        answer = exchange(server, read_pdu(function, address, quantity), what)
        if answer.exception == 2 and (last is None or address + quantity - 1 > last):
            beyond.append(str(quantity))
        elif not is_normal(answer, function, quantity):
            size = 2 * quantity if table in ("holding", "input") else (quantity + 7) // 8
            hint = declared_as(answer, table, "max_read")
            raise Missed(f"{what} got {answer.says()}, not {size} data bytes{hint}")
    if beyond:
        few = f"there is from {address}, or may be read at once"
        raise Inapplicable(f"quantity {', '.join(beyond)} is more than {few}; the others are right")
    server.note(f"quantities {', '.join(map(str, quantities))}")
