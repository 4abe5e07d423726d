"""RTU frames: CRC, unit ids, lengths."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .carriers.rtu import LONGEST
from .kinds import UNASSIGNED, Kind, kinds, sent
from .lines import CANDIDATES, foreign_units, framed, request_of, silent, still_answered
from .outcome import Missed, Undecided
from .server import Server
from .test_serial_writes import write_to_another_unit

RESERVED = range(248, 256)


@pytest.mark.requirement("RTU-01")
def test_answers_have_the_right_crc_and_unit(server: Server) -> None:
    reads = [Kind(f"a read of {quantity}", server.read(quantity), certain=True) for quantity in (2, 3)]
    answers_come_from_the_unit(server, kinds(server) + reads)


def answers_come_from_the_unit(server: Server, requests: Sequence[Kind]) -> None:
    """Answers and exceptions are frames and carry the unit id of the server."""
    came = 0
    for kind in requests:
        _, answer = sent(server, server.connect(), kind)
        if answer is not None and answer.unit != server.unit:
            raise Missed(f"{kind.what} is answered as unit {answer.unit}, not {server.unit}: {answer.says()}")
        came += answer is not None
    server.note(f"{came} answers")


@pytest.mark.requirement("RTU-02")
def test_wrong_crc_is_not_answered(server: Server) -> None:
    body = request_of(server)
    for what, wrong in (("low byte", 0x00FF), ("high byte", 0xFF00)):
        silent(server, framed(body, wrong), f"a request whose CRC is wrong in its {what}", next_one=True)
    for bit in range(16):
        silent(server, framed(body, 1 << bit), f"a request whose CRC is wrong in bit {bit}", next_one=True)


@pytest.mark.requirement("RTU-03")
def test_swapped_crc_is_not_answered(server: Server) -> None:
    for quantity in (1, 2):
        body = request_of(server, server.read(quantity))
        right = framed(body)[-2:]
        if right[0] != right[1]:
            silent(server, body + right[::-1], "a request whose CRC has its bytes swapped")
            return
    raise Undecided("the CRC of the request looks the same with its bytes swapped")


@pytest.mark.requirement("RTU-04")
def test_request_to_another_unit_is_not_answered(server: Server) -> None:
    if server.capabilities.alone and server.permission.places:
        write_to_another_unit(server)
    else:
        server.note("nothing was written to another unit: that needs --writable, and `alone` declared")
    there = []
    for unit in foreign_units(server, CANDIDATES):
        talk = server.connect()
        talk.send(server.request(server.read(), unit=unit))
        answer = talk.answer(server.timing.silence)
        talk.anything(server.timing.settle)
        if answer is None:
            still_answered(server, f"a request to unit {unit}")
            server.note(f"unit {unit}: no answer")
            return
        if answer.problem is None and answer.unit == server.unit:
            raise Missed(f"a request to unit {unit} was answered as unit {answer.unit}: {answer.says()}")
        there.append(str(unit))
    if server.capabilities.alone:
        raise Missed(f"requests to units {', '.join(there)} were answered; the server is declared to be alone")
    raise Undecided(f"units {', '.join(there)} answer, too: whether they are others, `alone = true` would tell")


@pytest.mark.requirement("RTU-06")
def test_broadcast_that_is_no_write_is_not_answered(server: Server) -> None:
    for what, pdu in (
        ("a read", server.read()),
        ("a read of quantity 0", server.read(0)),
        ("an unknown function", bytes([UNASSIGNED])),
        ("a read that is cut short", server.read()[:3]),
    ):
        silent(server, framed(request_of(server, pdu, 0)), f"{what} as a broadcast")


@pytest.mark.requirement("RTU-07")
def test_reserved_units_are_not_answered(server: Server) -> None:
    for unit in RESERVED:
        silent(server, framed(request_of(server, unit=unit)), f"a read of unit {unit}, which is reserved,")


@pytest.mark.requirement("RTU-18")
def test_frame_that_is_too_long_is_not_answered(server: Server) -> None:
    for length in (LONGEST + 1, LONGEST + 2, 300):
        body = request_of(server).ljust(length - 2, b"\x55")
        silent(server, framed(body), f"a frame of {length} bytes", next_one=True)


@pytest.mark.requirement("RTU-19")
def test_frame_that_is_too_short_is_not_answered(server: Server) -> None:
    unit = bytes([server.unit])
    for what, frame in (
        ("a frame of 1 byte", unit),
        ("a frame of 2 bytes", unit + server.read()[:1]),
        ("a frame of 2 bytes, the CRC of nothing", framed(b"")),
        ("a frame of 3 bytes, the CRC right", framed(unit)),
    ):
        silent(server, frame, what, next_one=True)


@pytest.mark.requirement("RTU-21")
def test_unknown_function_is_answered(server: Server) -> None:
    for what, data in (("no data", b""), ("3 bytes of data", b"\x01\x02\x03")):
        frame = framed(request_of(server, bytes([UNASSIGNED]) + data))
        answer = server.ask(server.connect(), frame, f"function {UNASSIGNED:02X} with {what}")
        if answer.function != UNASSIGNED | 0x80 or answer.exception != 1:
            raise Missed(f"function {UNASSIGNED:02X} with {what} got {answer.says()}, not exception 01")
