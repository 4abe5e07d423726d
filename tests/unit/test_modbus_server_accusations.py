"""Servers that the suite once accused, and should not: limits of their own, values that change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieldrig.suites.modbus_server import rows
from fieldrig.suites.modbus_server.capabilities import CapabilityError, parse
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.saboteurs.base import patched
from fieldrig.suites.modbus_server.saboteurs.device import emulated
from fieldrig.suites.modbus_server.saboteurs.patch import Patch, exception, is_exception, words
from fieldrig.suites.modbus_server.server import Server


def judged(server: Server, name: str) -> Row:
    return judge(requirements()[name], rows.tests()[name], server)


class AtMost(Patch):
    """Reads 64 registers at a time, and writes 32."""

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        most = {3: 64, 4: 64, 16: 32}.get(pdu[0])
        return exception(pdu, 3) if most is not None and words(pdu[:5])[1] > most else answer

    def request(self, pdu: bytes) -> bytes:
        return b"\x20" if pdu[0] == 16 and words(pdu[:5])[1] > 32 else pdu


def declaring(server: Server, **limits: int) -> None:
    tables = {**server.capabilities.tables, "holding": replace(server.capabilities.holding, **limits)}  # type: ignore[arg-type]
    server.capabilities = replace(server.capabilities, tables=tables)


@pytest.mark.parametrize("name", ["PDU-04", "FC03-01", "FC16-01"])
def test_a_limit_of_the_device_s_own_is_a_fault_unless_it_is_declared(name: str) -> None:
    key = "max_write" if name == "FC16-01" else "max_read"
    with emulated(patched(AtMost), "memory") as server:
        row = judged(server, name)
        assert row.verdict == "fail" and f"declare holding.{key}" in row.says
        declaring(server, max_read=64, max_write=32)
        row = judged(server, name)
        assert row.verdict in ("pass", "not applicable"), row.says
        assert row.verdict == "pass" or "the others are right" in row.says


def test_a_limit_of_the_device_s_own_is_held_against_no_other_row() -> None:
    with emulated(patched(AtMost), "memory") as server:
        for name in ("PDU-07", "FC16-03", "FC16-06", "FC22-01", "EXC-09"):
            assert judged(server, name).verdict == "pass", name


class OneAtATime(Patch):
    """Reads one register at a time, and writes three at most."""

    def _exceeds(self, pdu: bytes) -> bool:
        most = {3: 1, 16: 3, 23: 1}.get(pdu[0])
        return most is not None and words(pdu[:5])[1] > most

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 3) if self._exceeds(pdu) else answer

    def request(self, pdu: bytes) -> bytes:
        return b"\x20" if self._exceeds(pdu) else pdu


@pytest.mark.parametrize("name", ["PDU-06", "FC16-03", "FC16-05", "FC16-06", "FC23-01", "FC23-03", "EXC-09", "INT-02"])
def test_no_row_asks_for_more_at_once_than_is_declared(name: str) -> None:
    with emulated(patched(OneAtATime), "memory") as server:
        declaring(server, max_read=1, max_write=3)
        row = judged(server, name)
    wanted = "not applicable" if name in ("FC16-06", "FC23-01", "FC23-03") else "pass"
    assert row.verdict == wanted, row.says


class Ticks(Patch):
    """Register 100 counts every read of it."""

    ticks = 0

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if pdu[0] not in (3, 23) or answer is None or is_exception(answer) or words(pdu)[0] != 100:
            return answer
        self.ticks += 1
        return answer[:3] + bytes([(answer[3] + self.ticks) % 256]) + answer[4:]


@pytest.mark.parametrize("name", ["FC06-01", "FC16-01", "FC22-01", "FC23-01", "FC23-04"])
def test_a_register_that_changes_by_itself_is_no_fault_of_writing(name: str) -> None:
    with emulated(patched(Ticks), "memory") as server:
        row = judged(server, name)
    assert row.verdict == "inconclusive", row.says
    if name not in ("FC22-01", "FC23-01"):  # which set it up before
        assert "holding 100 changes by itself: take it out of what may be written" in row.says


def test_a_register_that_changes_by_itself_was_not_written_through_another_unit() -> None:
    with emulated(patched(Ticks), "rtu") as server:
        row = judged(server, "RTU-04")
    assert row.verdict == "inconclusive" and "changes by itself" in row.says, row.says


class WritesForAll(Patch):
    """Does, without a word, what function 16 says to any unit."""

    def request(self, pdu: bytes) -> bytes | None:
        if self.unit == 1:
            return pdu
        if pdu[0] == 16:
            self.ask_unit(1, pdu)
        return None


def test_a_write_to_another_unit_is_found_whatever_function_does_it() -> None:
    with emulated(patched(WritesForAll), "rtu") as server:
        row = judged(server, "RTU-04")
        assert row.verdict == "fail" and "function 16 to unit" in row.says, row.says
        server.capabilities = replace(server.capabilities, functions=frozenset({3}))
        row = judged(server, "RTU-04")
        assert row.verdict == "pass" and "nothing was written to another unit" in row.says, row.says


class WritesLate(Patch):
    """A register that function 06 writes has its value only three reads later."""

    reads = 9
    _late = b""

    def request(self, pdu: bytes) -> bytes | None:
        if pdu[0] == 6:
            self.reads, self._late = 0, pdu
            return b"\x03" + pdu[1:3] + b"\x00\x01"
        if pdu[0] == 3:
            self.reads += 1
            if self.reads == 3:
                self.server(self._late)
        return pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu[0] == 6 else answer


def test_a_write_that_is_done_too_late_is_no_change_by_itself() -> None:
    with emulated(patched(WritesLate), "memory") as server:
        row = judged(server, "FC06-01")
    assert row.verdict == "fail" and "reads" in row.says


class BusyAtTimes(Patch):
    """Is busy with every third request; a write that it is too busy for is not done."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = 0

    def request(self, pdu: bytes) -> bytes | None:
        self._seen += 1
        return b"\x20" if self._seen % self._every == 0 else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 6) if self._seen % self._every == 0 else answer


@pytest.mark.parametrize("name", ["MBAP-01", "PDU-02", "FC03-01", "FC16-01"])
def test_a_server_that_is_busy_at_times_is_asked_again(name: str) -> None:
    with emulated(patched(lambda: BusyAtTimes(3)), "memory") as server:
        row = judged(server, name)
    assert row.verdict == "pass", row.says
    assert "requests were sent again because the server was busy" in row.says


class BusyAndCloses(BusyAtTimes):
    """Closes the connection behind every exception, too."""

    def closes(self, answer: bytes) -> bool:
        return is_exception(answer)


@pytest.mark.parametrize("name", ["EXC-01", "EXC-02", "FC03-03", "FC16-01", "FC16-03", "FC16-06", "MBAP-01"])
def test_a_busy_server_may_close_behind_what_it_says(name: str) -> None:
    with emulated(patched(lambda: BusyAndCloses(3)), "memory") as server:
        row = judged(server, name)
    assert row.verdict == "pass", row.says
    assert "requests were sent again because the server was busy" in row.says


class RefusesLate(Patch):
    """What it says to function 26 comes with the next answer on the same connection."""

    _late = b""

    def opens(self) -> bool:
        self._late = b""
        return True

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 0x0B) if pdu[0] == 0x26 else answer

    def answer_frame(self, request: bytes, frame: bytes) -> bytes:
        due, self._late = self._late, frame if request[7] == 0x26 else b""
        return due if self._late else due + frame


@pytest.mark.parametrize("name", ["MBAP-01", "MBAP-02", "MBAP-04", "MBAP-20"])
def test_a_refusal_that_comes_late_is_no_answer_to_the_next_request(name: str) -> None:
    with emulated(patched(RefusesLate), "memory") as server:
        row = judged(server, name)
    assert row.verdict == "pass", row.says


class StaysBusy(Patch):
    """Once it was busy with a request, it is busy with it for ever."""

    def __init__(self) -> None:
        self._busy: set[bytes] = set()

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        if answer is not None and is_exception(answer, 6):
            self._busy.add(pdu)
        return exception(pdu, 6) if pdu in self._busy else answer


def test_a_server_that_is_busy_for_longer_than_it_is_asked_is_not_accused() -> None:
    with emulated(patched(StaysBusy), "memory") as server:
        row = judged(server, "EXC-06")
    assert row.verdict == "inconclusive" and "exception 06" in row.says, row.says


def test_a_function_00_that_finds_the_server_busy_is_asked_again() -> None:
    patch = BusyOnce()
    with emulated(patched(lambda: patch), "memory") as server:
        patch.left = 2  # health, and then the row
        row = judged(server, "EXC-03")
    assert row.verdict == "pass" and "1 requests were sent again" in row.says, row.says


class BusyOnce(Patch):
    """Is busy with the first request that follows this many."""

    def __init__(self) -> None:
        self.left = 1000

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        self.left -= 1
        return exception(pdu, 6) if self.left == 0 else answer


def test_a_row_that_sends_by_hand_is_tried_again_when_the_server_is_busy() -> None:
    patch = BusyOnce()
    with emulated(patched(lambda: patch), "memory") as server:
        patch.left = 2  # health, and then the row
        row = judged(server, "MBAP-16")
    assert row.verdict == "pass" and "1 requests were sent again" in row.says, row.says


def test_a_server_that_is_always_busy_cannot_be_judged() -> None:
    patch = BusyAtTimes(1000)
    with emulated(patched(lambda: patch), "memory") as server:
        patch._every = 1
        row = judged(server, "FC03-01")
    assert row.verdict == "inconclusive", row.says
    assert "the server says it is busy" in row.says and "requests were sent again" in row.says


def test_limits_stand_in_the_capabilities() -> None:
    holding = parse({"holding": {"max_read": 64, "max_write": 32}}).holding
    assert (holding.max_read, holding.max_write) == (64, 32)
    with pytest.raises(CapabilityError, match="holding.max_read is 0"):
        parse({"holding": {"max_read": 0}})
