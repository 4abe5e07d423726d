"""What tokio-modbus, a client that devices meet in the field, makes of the server: an ordinary session."""

from __future__ import annotations

import pytest

from .capabilities import TABLES, Table
from .field import FieldClient
from .frames import is_normal, read_pdu
from .functions import require
from .outcome import Absent, Excluded, Inapplicable, Missed
from .pdus import OFF, ON, packed, write_coil, write_coils, write_register, write_registers
from .server import Server
from .tables import exchange, limit, not_by_itself, place, read_once
from .wire import WireError
from .writes import prepare, run_of

REQUESTS = 100
IN_PAIRS = 10


def readable(server: Server) -> dict[str, int]:
    """The tables that can be read, each with an address."""
    found = {}
    for table in TABLES:
        try:
            found[table] = place(server, table)
        except (Excluded, Inapplicable):
            continue
    return found


def run_at(server: Server, table: str, address: int) -> int:
    """How many items can be read there in one request: 8, 3, 2 or 1."""
    function = TABLES[table]
    for quantity in (8, 3, 2):
        answer = exchange(server, read_pdu(function, address, quantity), f"a read of {quantity} from {table} {address}")
        if is_normal(answer, function, quantity):
            return quantity
    return 1


@pytest.mark.requirement("INT-01")
def test_every_table_is_read(server: Server) -> None:
    read = []
    for table, address in readable(server).items():
        quantity = run_at(server, table, address)
        what = f"a read of {quantity} from {table} {address}"
        before = read_once(server, table, address, quantity)
        with FieldClient(server) as client:
            made = client.ask(read_pdu(TABLES[table], address, quantity), what)
        if made[0] == "exception":
            raise Missed(f"{what} got exception {made[1]:02X} from the server, which answers it otherwise")
        steady = read_once(server, table, address, quantity) == before
        if steady and list(made[1]) != before:
            raise Missed(f"of {what} tokio-modbus makes {list(made[1])}, where {before} stands")
        read.append(f"{quantity} of {table} {address}" + ("" if steady else ", which changes"))
    server.note(", ".join(read))


@pytest.mark.requirement("INT-02")
def test_what_is_written_is_read_back(server: Server) -> None:
    written = []
    for function in (6, 16, 5, 15):
        table = "holding" if function in (6, 16) else "coils"
        count = 1 if function in (5, 6) else _at_once(server, table)
        if server.permission.run(table, count) is None:
            continue
        try:
            require(server, function)
        except (Excluded, Inapplicable):
            continue
        _write(server, function, table, count)
        written.append(f"{function:02}")
    if not written:
        raise Inapplicable("none of the functions 05, 06, 15 and 16 is there for what may be written")
    server.note(f"functions {', '.join(written)}")


def _at_once(server: Server, table: str) -> int:
    """How many are written and read back by one request: three, if so many are declared for both."""
    most = server.capabilities.tables.get(table, Table()).max_write
    return min(3, limit(server, table), 3 if most is None else most)


def _write(server: Server, function: int, table: str, count: int) -> None:
    address = run_of(server, table, count)
    for values in ([0x1234, 0xFFFF, 0][:count], [0x8001, 0, 1][:count]):
        wanted = values if table == "holding" else [value & 1 for value in values]
        what = f"function {function:02} at {table} {address}"
        prepare(server, table, address, count)
        with FieldClient(server) as client:
            made = client.ask(write_pdu(function, address, wanted), what)
            if made[0] == "exception":
                raise Missed(f"{what} got exception {made[1]:02X}, where it may be written")
            made = client.ask(read_pdu(TABLES[table], address, count), f"a read after {what}")
        if made[0] == "exception":
            raise Missed(f"a read after {what} got exception {made[1]:02X}, where it may be written")
        seen = [int(value) for value in made[1]]
        for index, (value, other) in enumerate(zip(seen, wanted, strict=False)):
            if value != other:
                not_by_itself(server, table, address + index, value, other)
        if seen != wanted:
            raise Missed(f"after {what} with {wanted} tokio-modbus reads {seen}")


def write_pdu(function: int, address: int, values: list[int]) -> bytes:
    """A request of function 05, 06, 15 or 16."""
    if function == 5:
        return write_coil(address, ON if values[0] else OFF)
    if function == 6:
        return write_register(address, values[0])
    return (
        write_coils(address, packed(values), quantity=len(values))
        if function == 15
        else (write_registers(address, values))
    )


@pytest.mark.requirement("INT-03")
def test_a_refusal_is_an_exception(server: Server) -> None:
    pdu = server.read(0)
    what = "a read of quantity 0"
    answer = exchange(server, pdu, what)
    if answer.exception is None:
        raise Inapplicable(f"{what} got {answer.says()}: the server does not refuse it")
    with FieldClient(server) as client:
        made = client.ask(pdu, what)
    if made[0] != "exception":
        raise Missed(f"{what} is data to tokio-modbus: {made[1]}")
    if made[1] != answer.exception:
        raise Missed(f"{what} is exception {made[1]:02X} to tokio-modbus, {answer.exception:02X} otherwise")
    server.note(f"{what}: exception {made[1]:02X}")


@pytest.mark.requirement("INT-04")
def test_each_of_many_requests_is_answered(server: Server) -> None:
    reads = [(table, address, run_at(server, table, address)) for table, address in readable(server).items()]
    count = max(1, round(REQUESTS * server.load))
    with FieldClient(server) as client:
        for number in range(count):
            table, address, most = reads[number % len(reads)]
            quantity = 1 + number % most
            what = f"request {number + 1} of {count}, a read of {quantity} from {table} {address},"
            made = client.ask(read_pdu(TABLES[table], address, quantity), what)
            if made[0] == "exception":
                raise Missed(f"{what} got exception {made[1]:02X}")
            del server.exchanges[4:-4]  # all alike
    server.note(f"{count} requests")


@pytest.mark.requirement("INT-05")
def test_two_clients_at_a_time_are_served(server: Server) -> None:
    maximum = server.capabilities.max_connections
    if maximum == 1:
        raise Inapplicable("one connection is declared as the maximum")
    try:
        _in_pairs(server)
    except (Absent, WireError) as absent:
        if maximum is None:
            raise Inapplicable(f"{absent}; max_connections is not declared") from None
        raise Absent(f"two clients are not served, {maximum} connections are declared: {absent}") from absent
    server.note(f"{IN_PAIRS} requests of each")


def _in_pairs(server: Server) -> None:
    one, other = FieldClient(server), FieldClient(server)
    what = {one: "a read of the first client", other: "a read of the second client"}
    for number in range(IN_PAIRS):
        quantity = 1 + number % server.facts.run
        for client in (one, other):
            client.send(server.read(quantity))
        for client in (other, one):
            made = client.receive(what[client])
            if made[0] == "exception":
                raise Missed(f"{what[client]} got exception {made[1]:02X}")
        if number == 0 and any([one.is_left(), other.is_left()]):
            raise Inapplicable("the server closes each connection after its answer: there are never two")


@pytest.mark.requirement("INT-06")
def test_the_identification_is_read(server: Server) -> None:
    what = "identification, basic, from object 00,"
    with FieldClient(server) as client:
        made = client.ask(bytes([43, 14, 1, 0]), what)
    if made[0] == "exception":
        raise Inapplicable(f"{what} got exception {made[1]:02X}: there is none (see FC43-01)")
