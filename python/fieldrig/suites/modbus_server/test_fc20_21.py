"""Functions 20, Read File Record, and 21, Write File Record."""

from __future__ import annotations

import struct

import pytest

from .frames import LONGEST_PDU, Adu
from .outcome import Inapplicable, Missed, NotRun
from .pdus import read_records, write_records
from .server import Server
from .tables import Group, exception_must_be, exchange, must_be_exception, parts
from .writes import keep, spend


def a_file(server: Server, records: int = 2) -> tuple[int, int]:
    """Number and last record of a declared file with that many records. Raises `Inapplicable`."""
    for number, last in (server.capabilities.files or {}).items():
        if last >= records - 1:
            return number, last
    raise Inapplicable(f"no declared file has {records} records")


@pytest.mark.requirement("FC20-01")
def test_groups_are_answered_with_as_many_parts(server: Server) -> None:
    number, last = a_file(server)
    alone = parts(server, [(number, 0, 2)])[0]
    both = parts(server, [(number, 0, 1), (number, 1, 1)])
    if both != [alone[:1], alone[1:]] and alone == parts(server, [(number, 0, 2)])[0]:
        raise Missed(f"records 0 and 1 of file {number} read {alone} together and {both} in two groups")
    server.note(f"file {number}, records 0 to {last}")


@pytest.mark.requirement("FC20-02")
def test_byte_count_that_cannot_be_is_refused(server: Server) -> None:
    number, _ = a_file(server)
    group = read_records([(number, 0, 1)])[2:]
    for count, data in ((0, b""), (6, group[:6]), (8, group + b"\x06"), (0xF6, group * 35 + b"\x06")):
        what = f"a read of records with byte count {count:02X}"
        exception_must_be(server, 3, bytes([20, count]) + data, what)


@pytest.mark.requirement("FC20-03")
def test_other_reference_types_are_refused(server: Server) -> None:
    number, _ = a_file(server)
    for reference in (0, 5, 7):
        pdu = read_records([(number, 0, 1)], reference=reference)
        exception_must_be(server, 2, pdu, f"a read of records with reference type {reference:02X}")


@pytest.mark.requirement("FC20-04")
def test_records_that_do_not_exist_are_refused(server: Server) -> None:
    number, last = a_file(server)
    absent: list[Group] = [(0, 0, 1), (number, 10000, 1)]
    if last < 9999:
        absent += [(number, last, 2), (number, last + 1, 1)]
    for group in absent:
        what = f"a read of {group[2]} records of file {group[0]} from {group[1]}"
        exception_must_be(server, 2, read_records([group]), what)


@pytest.mark.requirement("FC20-05")
def test_answer_that_would_be_too_long_is_an_exception(server: Server) -> None:
    number, last = a_file(server, 64)
    for groups in ([(number, 0, 64), (number, 0, 64)], [(number, 0, min(last + 1, 126))] * 2):
        answer = exchange(server, read_records(groups), f"a read of {sum(group[2] for group in groups)} records")
        if not answer.function & 0x80 or len(answer.pdu) > LONGEST_PDU:
            raise Missed(f"records that do not fit in one answer got {answer.says()}, not an exception")


class Kept:
    """Records that may be written; they are as before when the row ends."""

    def __init__(self, server: Server, count: int) -> None:
        self._server = server
        self.number, self.first = _writable(server, count)
        self.count = count
        keep(server, f"file{self.number}", self.first, count)

    def read(self) -> list[int]:
        return parts(self._server, [(self.number, self.first, self.count)])[0]

    def write(self, pdu: bytes, what: str) -> Adu:
        """Sends a request that writes these records, or might."""
        spend(self._server)
        return exchange(self._server, pdu, what)

    def must_be_refused(self, pdu: bytes, code: int, what: str) -> None:
        """It must give this exception, and write nothing."""
        before = self.read()
        must_be_exception(self.write(pdu, what), code, what)
        if self.read() != before:
            raise Missed(f"{what} was refused, and its records were written nevertheless")


def _writable(server: Server, count: int) -> tuple[int, int]:
    for number in server.capabilities.files or {}:
        first = server.permission.run(f"file{number}", count)
        if first is not None:
            return number, first
    raise NotRun(f"it writes {count} records of a file; permit it with --writable file4:FIRST-LAST")


@pytest.mark.requirement("FC21-01")
def test_records_are_written_and_the_request_echoed(server: Server) -> None:
    kept = Kept(server, 4)
    one = [(kept.number, kept.first, [0x1234, 0xABCD, 1, 2])]
    several = [(kept.number, kept.first, [0xFFFF, 0]), (kept.number, kept.first + 2, [0x8000, 0x7FFF])]
    for groups, then in ((one, [0x1234, 0xABCD, 1, 2]), (several, [0xFFFF, 0, 0x8000, 0x7FFF])):
        what = f"a write of {len(groups)} groups"
        pdu = write_records(groups)
        answer = kept.write(pdu, what)
        if answer.pdu != pdu:
            raise Missed(f"{what} got {answer.says()}, not its own bytes")
        if kept.read() != then:
            raise Missed(f"after {what} the records read {kept.read()}, not {then}")


@pytest.mark.requirement("FC21-02")
def test_byte_count_at_odds_with_the_groups_is_refused(server: Server) -> None:
    kept = Kept(server, 2)
    group = write_records([(kept.number, kept.first, [0x5A5A])])[2:]
    long = struct.pack(">BHHH", 6, kept.number, kept.first, 2) + b"\x5a\x5a"
    for count, data in ((0, b""), (8, group[:8]), (9, long), (10, group + b"\x5a"), (0xFC, group * 27)):
        what = f"a write of records with byte count {count:02X}"
        kept.must_be_refused(bytes([21, count]) + data, 3, what)


@pytest.mark.requirement("FC21-03")
def test_if_one_group_cannot_be_written_none_is(server: Server) -> None:
    kept = Kept(server, 1)
    good = (kept.number, kept.first, [kept.read()[0] ^ 0xFFFF])
    last = (server.capabilities.files or {})[kept.number]
    for what, second in (("file 0", (0, 0, [1])), ("a record behind 270F", (kept.number, 10000, [1]))):
        kept.must_be_refused(write_records([good, second]), 2, f"a write whose second group has {what}")
    if last < 9999:
        second = (kept.number, last + 1, [1])
        kept.must_be_refused(write_records([good, second]), 2, "a write whose second group is behind the last record")
    bad = write_records([good, (kept.number, kept.first, good[2])])
    wrong = bytearray(bad)
    wrong[2 + 9] = 7
    kept.must_be_refused(bytes(wrong), 2, "a write whose second group has reference type 07")
