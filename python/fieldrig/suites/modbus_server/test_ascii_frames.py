"""ASCII frames: digits, LRC, ends, lengths."""

from __future__ import annotations

import re

import pytest

from .carriers.ascii import LONGEST, lrc
from .frames import LONGEST_PDU
from .kinds import UNASSIGNED, Kind, kinds, sent
from .lines import answered_in_pieces, answered_normally, request_of, silent
from .outcome import Missed, Undecided
from .server import Server, Talk
from .test_rtu_frames import answers_come_from_the_unit


def text_of(body: bytes, wrong: int = 0) -> bytes:
    """Colon, digits and LRC, without an end; the bits of `wrong` are flipped in the LRC."""
    return b":" + (body + bytes([lrc(body) ^ wrong])).hex().upper().encode()


def plain(server: Server) -> bytes:
    """The frame of a plain read."""
    return text_of(request_of(server)) + b"\r\n"


def answered(server: Server, frame: bytes, what: str) -> None:
    """A burst must get the answer to a plain read, and nothing else."""
    talk = server.connect()
    talk.send(frame, note=what)
    answered_normally(server, talk, what)


@pytest.mark.requirement("ASC-01")
def test_answers_are_upper_case_between_colon_and_line_end(server: Server) -> None:
    for kind in kinds(server):
        _, answer = sent(server, server.connect(), kind)
        if answer is not None and not re.fullmatch(rb":[0-9A-F]+\r\n", answer.raw):
            raise Missed(f"the answer to {kind.what} is {answer.raw!r}")
    answers_come_from_the_unit(server, kinds(server))


@pytest.mark.requirement("ASC-02")
def test_wrong_lrc_is_not_answered(server: Server) -> None:
    for bit in range(8):
        frame = text_of(request_of(server), 1 << bit) + b"\r\n"
        silent(server, frame, f"a request whose LRC is wrong in bit {bit}", next_one=True)


@pytest.mark.requirement("ASC-03")
def test_answers_have_the_right_lrc(server: Server) -> None:
    reads = [Kind(f"a read of {quantity}", server.read(quantity), certain=True) for quantity in (2, 3)]
    came = [sent(server, server.connect(), kind)[1] for kind in kinds(server) + reads]
    server.note(f"{len(came) - came.count(None)} answers")


@pytest.mark.requirement("ASC-04")
def test_colon_begins_a_new_frame(server: Server) -> None:
    frame = plain(server)
    for length in (1, 3, 4, len(frame) - 2):
        answered(server, frame[:length] + frame, f"a request behind the first {length} characters of one")


@pytest.mark.requirement("ASC-07")
def test_what_is_no_pair_of_digits_is_not_answered(server: Server) -> None:
    frame = plain(server)
    at = frame.index(b"0", 3)
    for what, wrong in (
        ("a G for a 0", frame[:at] + b"G" + frame[at + 1 :]),
        ("a blank for a 0", frame[:at] + b" " + frame[at + 1 :]),
        ("a digit too many", frame[:-2] + b"0\r\n"),
        ("a digit missing", frame[:-3] + b"\r\n"),
    ):
        silent(server, wrong, f"a request with {what}")


@pytest.mark.requirement("ASC-08")
def test_request_without_its_whole_end_is_not_answered(server: Server) -> None:
    text = text_of(request_of(server))
    for what, frame in (("LF alone", text + b"\n"), ("CR alone", text + b"\r"), ("LF before CR", text + b"\n\r")):
        silent(server, frame, f"a request that ends with {what}")
    talk = server.connect()
    talk.send(text, note="without an end")
    early = talk.anything(min(server.timing.silence, 0.5 * limit(server)))
    if early:
        raise Missed(f"a request without an end got {early[:24]!r}")
    talk.send(b"\r\n", note="its end")
    answered_normally(server, talk, "a request whose end came later")


def limit(server: Server) -> float:
    """How far apart two characters may be (seconds): one second, if nothing else is declared."""
    declared = server.capabilities.character_timeout
    return 1.0 if declared is None else declared


def halves(server: Server, gap: float, what: str) -> Talk:
    """A plain read, its halves so far apart."""
    frame = plain(server)
    talk = server.connect()
    talk.send(frame[:6], frame[6:], gap=gap, note=what)
    return talk


@pytest.mark.requirement("ASC-05")
def test_pause_between_characters_is_accepted(server: Server) -> None:
    gap = 0.9 * limit(server) - 5 * server.resolution
    if gap <= 0:
        raise Undecided(f"the port is too coarse for pauses of less than {limit(server)} s")
    what = f"a request with a pause of {gap:.3g} s"
    answered_in_pieces(server, halves(server, gap, what), what, limit(server) - gap)


@pytest.mark.requirement("ASC-06")
def test_long_pause_between_characters_drops_the_request(server: Server) -> None:
    gap = 1.2 * limit(server) + 5 * server.resolution
    what = f"a request with a pause of {gap:.3g} s"
    server.expect_silence(halves(server, gap, what), what)


@pytest.mark.requirement("ASC-09")
def test_what_lower_case_digits_get(server: Server) -> None:
    talk = server.connect()
    talk.send(plain(server).lower(), note="lower-case digits")
    answer = talk.answer()
    server.note(f"lower-case digits get {'no answer' if answer is None else answer.says()}")


@pytest.mark.requirement("ASC-10")
def test_longest_frame_is_taken_and_no_longer_one(server: Server) -> None:
    pdu = bytes([UNASSIGNED]).ljust(LONGEST_PDU, b"\x55")
    longest = text_of(request_of(server, pdu)) + b"\r\n"
    assert len(longest) == LONGEST, "it is the longest there may be"
    server.ask(server.connect(), longest, f"a frame of {LONGEST} characters")
    for more in (1, 2, 44):
        frame = text_of(request_of(server, server.read() + bytes(len(pdu) - 5 + more))) + b"\r\n"
        silent(server, frame, f"a frame of {len(frame)} characters", next_one=True)


@pytest.mark.requirement("ASC-12")
def test_garbage_before_the_colon_is_ignored(server: Server) -> None:
    for garbage in (b"x", b"0103", b"\r\n", b"~garbage 0123456789 ABCDEF\r\n"):
        answered(server, garbage + plain(server), f"a request behind {garbage!r}")


@pytest.mark.requirement("ASC-13")
def test_delimiter_can_be_changed(server: Server) -> None:
    text = text_of(request_of(server))
    restart = text_of(request_of(server, b"\x08\x00\x01\x00\x00"))
    try:
        talk = server.connect()
        talk.send(text_of(request_of(server, b"\x08\x00\x03#\x00")) + b"\r\n", note="# becomes the delimiter")
        echo = talk.anything()
        if b"0800032300" not in echo:
            raise Missed(f"function 08 sub-function 0003 got {echo[:24]!r}, not its echo")
        talk.send(text + b"\r#", note="a read with the new delimiter")
        said = talk.anything()
        if not re.match(rb":[0-9A-F]+\r#$", said):
            raise Missed(f"a read that ends with CR # got {said[:24]!r}")
        talk.send(text + b"\r\n", note="a read with the old delimiter")
        said = talk.anything()
        if said:
            raise Missed(f"a read that ends with CR LF got {said[:24]!r} although # is the delimiter")
        talk.send(b"\r#", note="the end of what is no frame")
        talk.anything()
        talk.send(restart + b"\r#", note="a restart, with the new delimiter")
        talk.anything()
        answered(server, plain(server), "a read after the restart")
    finally:
        line_feed_ends_frames(server)


def line_feed_ends_frames(server: Server) -> None:
    """Brings the delimiter back if the server still has #: without it nobody else could talk to it."""
    if server.health() == "answers":
        return
    talk = server.connect()
    for frame in (b"\r#", text_of(request_of(server, b"\x08\x00\x03\n\x00")) + b"\r#"):
        talk.send(frame, note="LF becomes the delimiter again")
        talk.anything()
