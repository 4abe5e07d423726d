"""Functions 11, Get Comm Event Counter, and 12, Get Comm Event Log: for serial lines."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .outcome import Missed, Undecided
from .server import Server
from .tables import exchange
from .test_fc07_diagnostics import MESSAGES, RESTART, back_again, counted, echoed, plainly_read, refused

LOGGED = 64
"""How many events the log holds (AP 6.10)."""


def event_count(server: Server) -> int:
    """What function 11 counts."""
    answer = exchange(server, bytes([11]), "function 11")
    if answer.function != 11 or len(answer.pdu) != 5:
        raise Missed(f"function 11 got {answer.says()}, not a status and a count")
    if answer.pdu[1:3] not in (b"\x00\x00", b"\xff\xff"):
        raise Missed(f"the status of function 11 is {answer.pdu[1:3].hex().upper()}, not 0000 or FFFF")
    return int.from_bytes(answer.pdu[3:5], "big")


@dataclass(frozen=True)
class Log:
    """An answer of function 12."""

    events: int
    messages: int
    log: bytes


def log_of(server: Server) -> Log:
    """What function 12 returns; its form must be right."""
    pdu = exchange(server, bytes([12]), "function 12").pdu
    if pdu[0] != 12 or len(pdu) < 8 or pdu[1] != len(pdu) - 2 or not 6 <= pdu[1] <= 6 + LOGGED:
        raise Missed(f"function 12 got {pdu[:12].hex(' ').upper()} ({len(pdu)} bytes): the byte count is 6 + events")
    if pdu[2:4] not in (b"\x00\x00", b"\xff\xff"):
        raise Missed(f"the status of function 12 is {pdu[2:4].hex().upper()}, not 0000 or FFFF")
    return Log(int.from_bytes(pdu[4:6], "big"), int.from_bytes(pdu[6:8], "big"), pdu[8:])


def must_have_grown(server: Server, before: int, by: int, why: str) -> None:
    now = event_count(server)
    if before + by > 0xFFFF:
        raise Undecided(f"the event counter is at its end: {before}")
    if now != before + by:
        raise Missed(f"function 11 counted {now - before} ({before} to {now}), not {by}: {why}")


@pytest.mark.requirement("FC11-01")
def test_event_counter_is_a_status_and_a_count(server: Server) -> None:
    server.note(f"{event_count(server)} events")


@pytest.mark.requirement("FC11-02")
def test_good_requests_are_counted(server: Server) -> None:
    before = event_count(server)
    plainly_read(server, 2)
    must_have_grown(server, before, 2, "two reads")


@pytest.mark.requirement("FC11-03")
def test_exceptions_and_function_11_are_not_counted(server: Server) -> None:
    before = event_count(server)
    must_have_grown(server, before, 0, "function 11 itself")
    refused(server, 2)
    must_have_grown(server, before, 0, "two exceptions")


@pytest.mark.requirement("FC12-01")
def test_log_has_status_counts_and_events(server: Server) -> None:
    log = log_of(server)
    server.note(f"{len(log.log)} events, counts {log.events} and {log.messages}")


@pytest.mark.requirement("FC12-02")
def test_newest_event_stands_first(server: Server) -> None:
    plainly_read(server, 2)
    refused(server, 1)
    older = log_of(server).log
    echoed(server, RESTART)
    log = log_of_restarted(server)
    at = log.find(0)
    if not 0 <= at <= 6:  # a few events of the requests since may stand before it
        raise Missed(f"a restart is event 00, and the newest events are {log[:8].hex(' ').upper()}")
    if older[:4] not in log[at:]:
        raise Missed(f"behind the restart, {older[:4].hex(' ').upper()} does not follow: {log[:16].hex(' ').upper()}")


def log_of_restarted(server: Server) -> bytes:
    back_again(server, "after a restart")
    return log_of(server).log


@pytest.mark.requirement("FC12-03")
def test_log_keeps_the_newest_64_events(server: Server) -> None:
    plainly_read(server, LOGGED + 6)
    log = log_of(server).log
    if len(log) != LOGGED:
        raise Missed(f"after {LOGGED + 6} requests the log has {len(log)} events, not {LOGGED}")


@pytest.mark.requirement("FC12-04")
def test_counts_of_the_log_agree_with_the_counters(server: Server) -> None:
    events = event_count(server)
    log = log_of(server)
    if log.events != events:
        raise Missed(f"function 12 counts {log.events} events, function 11 {events}")
    messages = counted(server, MESSAGES)
    if messages != (log.messages + 1) % 0x10000:
        raise Missed(f"function 12 counts {log.messages} messages, function 08 one message later {messages}")
