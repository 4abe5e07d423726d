"""Functions 07, Read Exception Status, and 08, Diagnostics: for serial lines.

Counters are judged by how much they grow between two readings, of which one counts itself: that holds whether a server
counts a request before or after it answers. A sub-function that gets exception 01 is not there, which is allowed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .frames import Adu, is_normal
from .functions import missing_because
from .outcome import Absent, Excluded, Inapplicable, Missed, Undecided
from .pdus import write_register
from .server import Server
from .tables import exception_must_be, exchange, must_be_exception, read_once
from .test_exceptions import UNASSIGNED
from .writes import prepare, run_of

RESTART, REGISTER, DELIMITER, LISTEN, CLEAR, OVERRUNS_CLEAR = 0x01, 0x02, 0x03, 0x04, 0x0A, 0x14
MESSAGES, ERRORS, EXCEPTIONS, ADDRESSED, UNANSWERED = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
NAKS, BUSY, OVERRUNS = 0x10, 0x11, 0x12
RESERVED = (0x05, 0x06, 0x07, 0x08, 0x09, 0x16, 0xFF, 0x1234)
"""Without 0013 and 0015, which old devices have."""


def request(sub: int, data: int = 0) -> bytes:
    """08 (0x08) Diagnostics."""
    return bytes([8]) + sub.to_bytes(2, "big") + data.to_bytes(2, "big")


def diagnosed(server: Server, sub: int, data: int = 0) -> Adu:
    """The answer to a sub-function. Raises `Excluded` if the server does not have it."""
    answer = exchange(server, request(sub, data), f"sub-function {sub:04X}")
    if answer.exception == 1:
        raise Excluded(f"the server does not have sub-function {sub:04X}: {answer.says()}")
    return answer


def counted(server: Server, sub: int) -> int:
    """The 16 bits that a sub-function returns."""
    answer = diagnosed(server, sub)
    if len(answer.pdu) != 5 or answer.pdu[:3] != request(sub)[:3]:
        raise Missed(f"sub-function {sub:04X} got {answer.says()}, not itself and 16 bits")
    return int.from_bytes(answer.pdu[3:], "big")


def echoed(server: Server, sub: int, data: int = 0) -> None:
    """The answer must be the request."""
    answer = diagnosed(server, sub, data)
    if answer.pdu != request(sub, data):
        raise Missed(f"sub-function {sub:04X} with {data:04X} got {answer.says()}, not its own bytes")


def must_grow(server: Server, sub: int, before: int, by: int, why: str) -> None:
    """The counter must have grown by so much."""
    now = counted(server, sub)
    if before + by > 0xFFFF:
        raise Undecided(f"the counter of sub-function {sub:04X} is at its end: {before}")
    if now != before + by:
        raise Missed(f"sub-function {sub:04X} counted {now - before} ({before} to {now}), not {by}: {why}")


def refused(server: Server, count: int) -> None:
    """Makes the server send that many exceptions, to reads behind the last address of all."""
    for _ in range(count):
        answer = exchange(server, server.read(2, 0xFFFF), "a read of 2 from address FFFF")
        if not answer.function & 0x80:
            raise Inapplicable(f"a read of 2 from address FFFF is not refused but got {answer.says()}")


def plainly_read(server: Server, count: int) -> None:
    for _ in range(count):
        answer = exchange(server, server.read(), "a plain read")
        if not is_normal(answer, server.facts.function, 1):
            raise Missed(f"a plain read got {answer.says()}")


def unanswered(server: Server, frame: bytes, what: str) -> None:
    """Nothing may follow; nothing else is sent, for that would be counted."""
    talk = server.connect()
    talk.send(frame)
    data = talk.anything()
    talk.close()
    if data:
        raise Missed(f"{what} must not be answered, but got {data[:12].hex(' ')}")


def back_again(server: Server, why: str) -> None:
    """The server must answer a plain read again, soon."""
    deadline = server.clock.now() + 4 * server.timing.answer
    while server.health() != "answers":
        if server.clock.now() > deadline:
            raise Absent(f"no plain read is answered {why}")


@contextlib.contextmanager
def listening_only(server: Server) -> Iterator[None]:
    """The server is in listen-only mode meanwhile; it is restarted, however this ends."""
    there = exchange(server, request(0, 0xA537), "sub-function 0000")
    if there.exception == 1:
        raise Excluded(f"the server does not have sub-function 0000: {there.says()}")
    talk = server.connect()
    talk.send(server.request(request(LISTEN)))
    answer = talk.answer(server.timing.silence)
    talk.close()
    if answer is not None and answer.exception == 1:
        raise Excluded(f"the server does not have sub-function 0004: {answer.says()}")
    try:
        if answer is not None:
            raise Missed(f"sub-function 0004 must not be answered, but got {answer.says()}")
        yield
    finally:
        talk = server.connect()
        talk.send(server.request(request(RESTART)))
        talk.anything()
        talk.close()
        back_again(server, "after listen-only mode and a restart")


@pytest.mark.requirement("FC07-01")
def test_exception_status_is_one_byte(server: Server) -> None:
    answer = exchange(server, bytes([7]), "function 07")
    if answer.function != 7 or len(answer.pdu) != 2:
        raise Missed(f"function 07 got {answer.says()}, not one byte of status")
    server.note(f"status {answer.pdu[1]:02X}")


@pytest.mark.requirement("FC07-02")
def test_without_function_07_it_gets_exception_01(server: Server) -> None:
    must_not_be_known(server, 7)


def must_not_be_known(server: Server, function: int) -> None:
    """A function without data that the server does not have must get exception 01."""
    declared = server.capabilities.functions
    if declared is not None and function in declared:
        raise Inapplicable(f"the server has function {function:02}")
    what = f"function {function:02}, which the server does not have,"
    answer = exchange(server, bytes([function]), what)
    if declared is None and not answer.function & 0x80:
        raise Inapplicable(f"the server has function {function:02}: it got {answer.says()}")
    must_be_exception(answer, 1, what)


@pytest.mark.requirement("FC08-00")
def test_query_data_comes_back(server: Server) -> None:
    echoed(server, 0x00, 0xA537)
    for words, data in ((0, b""), (2, b"\xa5\x37\x12\x34")):
        pdu = bytes([8, 0, 0]) + data
        answer = exchange(server, pdu, f"sub-function 0000 with {words} words")
        if answer.pdu != pdu and answer.exception != 3:  # how many words it takes is up to the server
            raise Missed(f"sub-function 0000 with {words} words got {answer.says()}, neither its own bytes nor 03")
        server.note(f"{words} words: {'echoed' if answer.pdu == pdu else 'exception 03'}")


@pytest.mark.requirement("FC08-01")
def test_restart_clears_counters_and_keeps_the_log(server: Server) -> None:
    refused(server, 3)
    log = _events(server)
    echoed(server, RESTART)
    back_again(server, "after a restart")
    errors = counted(server, EXCEPTIONS)
    if errors:
        raise Missed(f"after a restart sub-function 000D returns {errors}, not 0")
    if log is not None and (kept := _events(server)) is not None and len(kept) < min(len(log), 60):
        raise Missed(f"a restart with 0000 keeps the event log, and it has {len(kept)} events now, {len(log)} before")


@pytest.mark.requirement("FC08-02")
def test_restart_with_ff00_clears_the_log(server: Server) -> None:
    plainly_read(server, 8)
    refused(server, 3)
    echoed(server, RESTART, 0xFF00)
    back_again(server, "after a restart")
    errors = counted(server, EXCEPTIONS)
    if errors:
        raise Missed(f"after a restart sub-function 000D returns {errors}, not 0")
    log = _events(server)
    if log is not None and len(log) > 11:  # the restart, and two events for each request since
        raise Missed(f"a restart with FF00 clears the event log, and it has {len(log)} events")


def _events(server: Server) -> bytes | None:
    """The events of function 12, if the server has it."""
    declared = server.capabilities.functions
    if (declared is not None and 12 not in declared) or (declared is None and missing_because(server, 12)):
        return None
    answer = exchange(server, bytes([12]), "function 12")
    return answer.pdu[8:] if answer.function == 12 else None


@pytest.mark.requirement("FC08-03")
def test_restart_with_other_data_is_refused(server: Server) -> None:
    for data in (0x0001, 0x1234, 0xFF01):
        diagnosed(server, RESTART, data)
        exception_must_be(server, 3, request(RESTART, data), f"sub-function 0001 with {data:04X}")


@pytest.mark.requirement("FC08-04")
def test_restart_ends_listen_only_mode_without_an_answer(server: Server) -> None:
    with listening_only(server):
        unanswered(server, server.request(request(RESTART)), "a restart in listen-only mode")
        back_again(server, "after a restart in listen-only mode")


@pytest.mark.requirement("FC08-05")
def test_diagnostic_register_is_16_bits(server: Server) -> None:
    server.note(f"diagnostic register {counted(server, REGISTER):04X}")


@pytest.mark.requirement("FC08-06")
def test_delimiter_of_ascii_frames_is_changed(server: Server) -> None:
    answer = _ending(server, request(DELIMITER, 0x2300), b"\n")
    if b"8801" in answer:
        raise Excluded("the server does not have sub-function 0003")
    try:
        if b"0800032300" not in answer:
            raise Missed(f"sub-function 0003 with 2300 got {answer[:24]!r}, not its echo")
        if not _ending(server, server.read(), b"#").endswith(b"\r#"):
            raise Missed("a read that ends with CR # got no answer that ends so")
    finally:
        _ending(server, request(DELIMITER, 0x0A00), b"#")
        back_again(server, "after the delimiter was changed back")


def _ending(server: Server, pdu: bytes, delimiter: bytes) -> bytes:
    """What follows a request whose frame ends with this character instead of LF."""
    talk = server.connect()
    talk.send(server.request(pdu)[:-1] + delimiter)
    data = talk.anything()
    talk.close()
    return data


@pytest.mark.requirement("FC08-07")
def test_in_listen_only_mode_nothing_is_answered(server: Server) -> None:
    with listening_only(server):
        for what, pdu in (
            ("a read", server.read()),
            ("function 08, sub-function 0000,", request(0, 0xA537)),
            ("a function that nobody assigned", bytes([UNASSIGNED[0]])),
        ):
            unanswered(server, server.request(pdu), f"{what} in listen-only mode")


@pytest.mark.requirement("FC08-08")
def test_in_listen_only_mode_requests_are_noticed(server: Server) -> None:
    with listening_only(server):
        unanswered(server, server.request(server.read()), "a read in listen-only mode")
    log = _events(server)
    if log is None:
        raise Inapplicable("what happens in listen-only mode shows only in the event log (function 12)")
    if not any(event & 0xA0 == 0xA0 for event in log):
        raise Missed(f"no event of the log was received in listen-only mode: {log[:16].hex(' ').upper()}")


@pytest.mark.requirement("FC08-09")
def test_all_counters_are_cleared(server: Server) -> None:
    refused(server, 2)
    echoed(server, CLEAR)
    asked = 0
    for sub in (ERRORS, EXCEPTIONS, UNANSWERED, NAKS, BUSY, OVERRUNS, REGISTER, MESSAGES, ADDRESSED):
        asked += 1
        try:
            now = counted(server, sub)
        except Excluded:
            continue
        if now > (asked if sub in (MESSAGES, ADDRESSED) else 0):
            raise Missed(f"after sub-function 000A, sub-function {sub:04X} returns {now}")


@pytest.mark.requirement("FC08-10")
def test_messages_on_the_line_are_counted(server: Server) -> None:
    before = counted(server, MESSAGES)
    plainly_read(server, 2)
    other = server.unit + 1 if server.unit < 247 else server.unit - 1
    unanswered(server, server.request(server.read(), unit=other), f"a read from unit {other}")
    must_grow(server, MESSAGES, before, 4, f"two reads, one from unit {other}, and itself")


@pytest.mark.requirement("FC08-11")
def test_messages_with_a_wrong_checksum_are_counted(server: Server) -> None:
    before = counted(server, ERRORS)
    for _ in range(3):
        unanswered(server, damaged(server), "a read with a wrong checksum")
    must_grow(server, ERRORS, before, 3, "three reads with a wrong checksum")


def damaged(server: Server) -> bytes:
    """A plain read whose checksum is wrong."""
    frame = bytearray(server.request(server.read()))
    if server.carrier.name == "ascii":
        frame[-3] = ord("0") if frame[-3] != ord("0") else ord("1")
    else:
        frame[-1] ^= 0x01
    return bytes(frame)


@pytest.mark.requirement("FC08-12")
def test_exceptions_are_counted(server: Server) -> None:
    before = counted(server, EXCEPTIONS)
    refused(server, 3)
    must_grow(server, EXCEPTIONS, before, 3, "three exceptions")


@pytest.mark.requirement("FC08-13")
def test_messages_for_the_server_are_counted(server: Server) -> None:
    before = counted(server, ADDRESSED)
    plainly_read(server, 2)
    must_grow(server, ADDRESSED, before, 3, "two reads, and itself")


@pytest.mark.requirement("FC08-14")
def test_messages_that_it_does_not_answer_are_counted(server: Server) -> None:
    address = run_of(server, "holding", 1)
    value = read_once(server, "holding", address, 1)[0]
    before = counted(server, UNANSWERED)
    prepare(server, "holding", address, 1)
    unanswered(server, server.request(write_register(address, value), unit=0), "a broadcast")
    must_grow(server, UNANSWERED, before, 1, "a broadcast")


@pytest.mark.requirement("FC08-15")
def test_other_counters_are_16_bits(server: Server) -> None:
    seen = []
    for sub in (NAKS, BUSY, OVERRUNS):
        with contextlib.suppress(Excluded):
            seen.append(f"{sub:04X}: {counted(server, sub)}")
    if not seen:
        raise Excluded("the server has none of the sub-functions 0010, 0011 and 0012")
    server.note(", ".join(seen))


@pytest.mark.requirement("FC08-16")
def test_overruns_are_cleared(server: Server) -> None:
    echoed(server, OVERRUNS_CLEAR)
    now = counted(server, OVERRUNS)
    if now:
        raise Missed(f"after sub-function 0014, sub-function 0012 returns {now}")


@pytest.mark.requirement("FC08-17")
def test_reserved_subfunctions_get_exception_01(server: Server) -> None:
    for sub in RESERVED:
        exception_must_be(server, 1, request(sub), f"sub-function {sub:04X}, which is reserved,")


@pytest.mark.requirement("FC08-18")
def test_data_where_none_belongs_is_refused(server: Server) -> None:
    tried = []
    clearing = (CLEAR, OVERRUNS_CLEAR) if "counters" in server.permission.allow else ()
    for sub in (REGISTER, MESSAGES, ERRORS, EXCEPTIONS, ADDRESSED, UNANSWERED, NAKS, BUSY, OVERRUNS, *clearing):
        what = f"sub-function {sub:04X} with data 0001"
        answer = exchange(server, request(sub, 1), what)
        if answer.exception != 1:
            must_be_exception(answer, 3, what)
            tried.append(sub)
    if not tried:
        raise Excluded("the server has none of the sub-functions without data")
