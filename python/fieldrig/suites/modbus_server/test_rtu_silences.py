"""RTU frames end by silence: cut off, in pieces, behind noise, behind each other."""

from __future__ import annotations

import pytest

from .lines import (
    absent_unit,
    answered_in_pieces,
    answered_normally,
    frame_end,
    framed,
    must_tell,
    request_of,
    silences_of,
    still_answered,
)
from .outcome import Absent, Missed, Undecided
from .server import Server

TIMES = 3
"""So often must a server answer what it must not, where a late machine could have made it so."""
NOISE = bytes((0x55, 0xA3, 0x1E, 0xC7))


def pieces_must_be_silent(server: Server, parts: tuple[bytes, ...], gap: float, what: str) -> None:
    """Pieces with silences between must get no answer, and a plain read one. Who answers must do so each time."""
    for count in range(TIMES):
        talk = server.connect()
        talk.send(*parts, gap=gap, note=what)
        try:
            server.expect_silence(talk, what)
        except Missed as missed:
            if count == TIMES - 1:
                raise
            seen = str(missed)
            continue
        if count:
            raise Undecided(f"{seen}; that was not so each time: ports and machines that are late join pieces")
        return


def answered_behind(server: Server, before: bytes, gap: float, what: str, other: int | None = None) -> None:
    """A plain read must be answered behind something and a silence. Who does not answer must not do so each time."""
    absent = None
    for _ in range(2):
        talk = server.connect()
        talk.send(before, framed(request_of(server)), gap=gap, note=what)
        try:
            answered_normally(server, talk, what, other)
        except Absent as error:
            absent = absent or error
            continue
        if absent is None:
            return
        raise Undecided(f"{absent}; that was not so each time: ports and machines that are late join pieces")
    assert absent is not None, "the loop ends so"
    raise absent


@pytest.mark.requirement("RTU-08")
def test_silence_of_a_frame_end_inside_a_request_drops_it(server: Server) -> None:
    gap = frame_end(server)
    request = framed(request_of(server))
    for at in (1, 4, 7):
        what = f"a request with a silence of {gap * 1000:.2f} ms behind byte {at}"
        pieces_must_be_silent(server, (request[:at], request[at:]), gap, what)
    server.note(f"t3.5 is {silences_of(server).between * 1000:.2f} ms")


@pytest.mark.requirement("RTU-09")
def test_silence_of_more_than_t15_inside_a_request_drops_it(server: Server) -> None:
    times = silences_of(server)
    must_tell(server, (times.between - times.inside) / 2, "half of what lies between t1.5 and t3.5")
    gap = (times.inside + times.between) / 2
    request = framed(request_of(server))
    for at in (1, 4, 7):
        what = f"a request with a silence of {gap * 1000:.3f} ms behind byte {at}"
        pieces_must_be_silent(server, (request[:at], request[at:]), gap, what)
    server.note(f"t1.5 is {times.inside * 1000:.3f} ms, t3.5 is {times.between * 1000:.3f} ms")


@pytest.mark.requirement("RTU-10")
def test_silence_of_less_than_t15_inside_a_request_is_accepted(server: Server) -> None:
    times = silences_of(server)
    must_tell(server, times.inside / 2, "half of t1.5")
    gap = 0.9 * times.inside
    request = framed(request_of(server))
    for parts in ((request[:4], request[4:]), tuple(request[at : at + 1] for at in range(len(request)))):
        talk = server.connect()
        what = f"a request in {len(parts)} pieces, {gap * 1000:.3f} ms of silence between them,"
        talk.send(*parts, gap=gap, note=what)
        answered_in_pieces(server, talk, what, times.inside - gap)


@pytest.mark.requirement("RTU-11")
def test_frame_that_was_cut_off_is_forgotten(server: Server) -> None:
    request = framed(request_of(server))
    for length in (1, 2, 5, 7):
        what = f"a request behind one that was cut off after {length} bytes"
        answered_behind(server, request[:length], frame_end(server), what)


@pytest.mark.requirement("RTU-12")
def test_noise_is_forgotten(server: Server) -> None:
    for length in (1, 3, 64):
        answered_behind(server, (NOISE * 16)[:length], frame_end(server), f"a request behind {length} bytes of noise")


@pytest.mark.requirement("RTU-13")
def test_request_directly_behind_noise_is_part_of_it(server: Server) -> None:
    must_tell(server, silences_of(server).between, "t3.5")
    for length in (1, 3, 64):
        what = f"a request directly behind {length} bytes of noise"
        talk = server.connect()
        talk.send((NOISE * 16)[:length] + framed(request_of(server)), note=what)
        server.expect_silence(talk, what)


@pytest.mark.requirement("RTU-14")
def test_two_requests_without_a_frame_end_between_are_one_bad_frame(server: Server) -> None:
    times = silences_of(server)
    must_tell(server, (times.between - times.inside) / 2, "half of what lies between t1.5 and t3.5")
    request = framed(request_of(server))
    for gap in (0.0, (times.inside + times.between) / 2):
        what = f"two requests with {gap * 1000:.3f} ms of silence between them"
        pieces_must_be_silent(server, (request, request) if gap else (2 * request,), gap, what)


@pytest.mark.requirement("RTU-15")
def test_two_requests_with_a_frame_end_between_are_two_frames(server: Server) -> None:
    other = absent_unit(server)
    foreign = framed(request_of(server, unit=other))
    gap = frame_end(server, 1.02)
    answered_behind(server, foreign, gap, f"a request {gap * 1000:.3f} ms behind one for another unit", other)
    server.note(f"t3.5 is {silences_of(server).between * 1000:.3f} ms")


@pytest.mark.requirement("RTU-22")
def test_answer_of_another_unit_is_no_request(server: Server) -> None:
    unit = absent_unit(server)
    for count in (2, 4, 6):
        response = framed(bytes([unit, 3, count]) + bytes(range(1, count + 1)))
        what = f"a request behind an answer of unit {unit} with {count} bytes"
        answered_behind(server, response, frame_end(server), what, unit)


@pytest.mark.requirement("RTU-28")
def test_request_in_segments_is_answered(server: Server) -> None:
    request = framed(request_of(server))
    for parts in ((request[:3], request[3:]), (request[:7], request[7:]), tuple(request[i : i + 1] for i in range(8))):
        talk = server.connect()
        talk.send(*parts, gap=0.010)
        try:
            answered_normally(server, talk, f"a request in {len(parts)} segments")
        except Absent as absent:
            still_answered(server, "a request in segments")
            raise Missed(f"{absent}; in one segment it is answered") from None
        talk.close()
