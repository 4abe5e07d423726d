"""PDUs: function codes, exceptions and their order, addresses at the edges."""

from __future__ import annotations

import pytest

from .capabilities import TABLES
from .frames import LONGEST_PDU, Adu, data_bytes, is_normal, read_pdu
from .kinds import UNASSIGNED, errors, sent
from .outcome import Inapplicable, Missed, Undecided
from .server import Server
from .tables import declared_as, exception_must_be, exchange, limit, must_be_exception


@pytest.mark.requirement("PDU-01")
def test_function_code_comes_back(server: Server) -> None:
    normal = []
    for name, function in TABLES.items():
        first = server.capabilities.tables[name].first if name in server.capabilities.tables else None
        first = (server.facts.address if function == server.facts.function else 0) if first is None else first
        answer = exchange(server, read_pdu(function, first, 1), f"a read with function {function:02}")
        if answer.function & 0x7F != function:
            raise Missed(f"a request with function {function:02} got function {answer.function:02X}")
        if not answer.function & 0x80:
            normal.append(function)
    server.note(f"normal answers: function {', '.join(f'{function:02}' for function in sorted(normal))}")


@pytest.mark.requirement("PDU-02")
def test_exception_is_two_bytes(server: Server) -> None:
    provoked = 0
    for kind in errors(server):
        talk, answer = sent(server, server.connect(), kind)
        if answer is not None and answer.function & 0x80:  # whether it had to be refused is the business of other rows
            provoked += 1
            _check_exception(answer, kind.pdu[0], kind.what, talk.anything(server.timing.settle))
        talk.close()
    if not provoked:
        raise Undecided("no error could be provoked")
    server.note(f"{provoked} errors provoked")


def _check_exception(answer: Adu, function: int, what: str, more: bytes) -> None:
    if answer.function != function | 0x80:
        raise Missed(f"{what}: the exception has function code {answer.function:02X}, not {function | 0x80:02X}")
    if len(answer.pdu) != 2 or more:
        pdu = answer.pdu + more
        raise Missed(f"{what}: the exception PDU has {len(pdu)} bytes ({pdu[:8].hex(' ').upper()}), not 2")


@pytest.mark.requirement("PDU-03")
def test_registers_are_big_endian(server: Server) -> None:
    known = server.capabilities.holding.known
    assert known is not None, "the row needs it"
    address, value = known
    if value >> 8 == value & 0xFF:
        raise Inapplicable(f"the declared value {value:04X} looks the same with its bytes swapped: declare another")
    answer = exchange(server, read_pdu(3, address, 1), f"a read of register {address}")
    if not is_normal(answer, 3, 1):
        raise Missed(f"a read of register {address} got {answer.says()}")
    seen = int.from_bytes(answer.pdu[2:4], "big")
    if seen != value:
        swapped = ", its bytes swapped" if seen == (value & 0xFF) << 8 | value >> 8 else ""
        raise Missed(f"register {address} is declared as {value:04X} and reads {seen:04X}{swapped}")


@pytest.mark.requirement("PDU-04")
def test_largest_answers_come_whole(server: Server) -> None:
    whole, absent = [], []
    for name, function, quantity in (("holding", 3, 125), ("coils", 1, 2000)):
        declared = server.capabilities.tables.get(name)
        first = declared.first if declared and declared.first is not None else 0
        if declared is None and function == server.facts.function:
            first = server.facts.address
        if quantity > limit(server, name):
            absent.append(f"{name}.max_read is declared as {limit(server, name)}")
            continue
        what = f"a read of {quantity} with function {function:02}"
        answer = exchange(server, read_pdu(function, first, quantity), what)
        if answer.function & 0x80 and not _must_exist(declared.last if declared else None, first, quantity):
            absent.append(f"{quantity} {name}: {answer.says()}")
            continue
        if len(answer.pdu) > LONGEST_PDU:
            raise Missed(f"{what} got a PDU of {len(answer.pdu)} bytes")
        if not is_normal(answer, function, quantity):
            size = 2 + data_bytes(function, quantity)
            hint = declared_as(answer, name, "max_read")
            raise Missed(f"{what} got {answer.says()}; the normal answer has {size} PDU bytes{hint}")
        whole.append(f"{quantity} {name}")
    if not whole:
        raise Inapplicable(f"no range that long was found ({'; '.join(absent)})")
    server.note(f"whole: {', '.join(whole)}")


def _must_exist(last: int | None, first: int, quantity: int) -> bool:
    return last is not None and first + quantity - 1 <= last


def declared_edges(server: Server) -> list[tuple[str, int, int, int]]:
    """Table, function, first and last address of every table whose last address is declared."""
    return [
        (name, TABLES[name], table.first or 0, table.last)
        for name, table in server.capabilities.tables.items()
        if table.last is not None
    ]


@pytest.mark.requirement("PDU-05")
def test_first_and_last_address_can_be_read(server: Server) -> None:
    for name, function, first, last in declared_edges(server):
        for address in (first, last):
            answer = exchange(server, read_pdu(function, address, 1), f"a read of {name} {address}")
            if not is_normal(answer, function, 1):
                raise Missed(f"{name} {address} is declared and gave {answer.says()}")
        server.note(f"{name} {first} and {last}")


@pytest.mark.requirement("PDU-06")
def test_nothing_behind_the_last_address(server: Server) -> None:
    one_by_one, ends = [], []
    for name, function, _, last in declared_edges(server):
        if limit(server, name) < 2:  # two would be refused for another reason
            one_by_one.append(name)
            continue
        answer = exchange(server, read_pdu(function, last, 1), f"a read of {name} {last}")
        if not is_normal(answer, function, 1):
            raise Missed(f"{name} {last} is the declared last one and gave {answer.says()}")
        exception_must_be(server, 2, read_pdu(function, last, 2), f"a read of {name} {last} and the one behind it")
        ends.append(f"{name} ends at {last}")
    if one_by_one and not ends:
        raise Inapplicable(f"{', '.join(one_by_one)}: 1 is declared as max_read, so nothing can go past the end")
    server.note("; ".join(ends))


@pytest.mark.requirement("PDU-07")
def test_addresses_do_not_wrap(server: Server) -> None:
    for quantity in (2, 125):
        what = f"a read of {quantity} from address FFFF"
        answer = exchange(server, server.read(quantity, 0xFFFF), what)
        if answer.exception == 3 and exchange(server, server.read(quantity), f"a read of {quantity}").exception == 3:
            server.note(f"{what} got {answer.says()}, as does any read of {quantity} (see FC03-01)")
        else:
            must_be_exception(answer, 2, what)


@pytest.mark.requirement("PDU-08")
def test_quantity_is_judged_before_address(server: Server) -> None:
    for quantity in (0, 0xFFFF):
        exception_must_be(server, 3, server.read(quantity, 0xFFFF), f"quantity {quantity} at address FFFF")


@pytest.mark.requirement("PDU-09")
def test_function_is_judged_before_data(server: Server) -> None:
    for what, data in (("data that fits nothing", b"\xff" * 5), ("no data at all", b"")):
        exception_must_be(server, 1, bytes([UNASSIGNED]) + data, f"function {UNASSIGNED:02X} with {what}")


@pytest.mark.requirement("PDU-10")
def test_inner_failure_is_exception_04(server: Server) -> None:
    address = server.capabilities.holding.failing
    assert address is not None, "the row needs it"
    exception_must_be(server, 4, read_pdu(3, address, 1), f"a read of register {address}, which fails inside,")
