"""ADUs that are wrong: none may be taken for a request, none may hurt what follows."""

from __future__ import annotations

import struct

import pytest

from .carriers.tcp import adu
from .frames import LONGEST_PDU
from .kinds import errors, sent
from .outcome import Absent, Missed
from .server import Server, Talk


@pytest.mark.requirement("MBAP-05")
def test_foreign_protocol_id_is_discarded(server: Server) -> None:
    for protocol in (0x0001, 0x0100, 0xFFFF):
        talk = server.connect()
        talk.send(server.request(server.read(), protocol=protocol))
        seen = server.expect_silence(talk, f"a request with protocol id {protocol:04X}")
        server.note(f"{protocol:04X}: {seen}")
        talk.close()
    server.must_be_usable("requests with a foreign protocol id")


@pytest.mark.requirement("MBAP-12")
def test_length_0_is_not_answered(server: Server) -> None:
    for what, body in (("and nothing behind it", b""), ("in front of a whole request", server.read())):
        talk = server.connect()
        talk.send(server.request(body, length=0))
        server.note(f"{what}: {server.expect_silence(talk, f'a header with length 0 {what}')}")
        talk.close()
    server.must_be_usable("a header with length 0")


@pytest.mark.requirement("MBAP-13")
def test_length_1_is_not_answered(server: Server) -> None:
    for what, body in (("and nothing behind it", b""), ("in front of a whole request", server.read())):
        talk = server.connect()
        talk.send(server.request(body, length=1))
        server.note(f"{what}: {server.expect_silence(talk, f'a header with length 1 {what}')}")
        talk.close()


@pytest.mark.requirement("MBAP-14")
def test_pdu_over_253_bytes_gets_no_normal_answer(server: Server) -> None:
    for length in (LONGEST_PDU + 2, 256, 260, 300):
        talk = server.connect()
        pdu = server.read().ljust(length - 1, b"\x55")
        talk.send(server.request(pdu))
        seen = server.expect_silence(talk, f"an ADU of length {length}", exception=True)
        server.note(f"{length}: {seen}")
        talk.close()


@pytest.mark.requirement("MBAP-15")
def test_claim_of_65535_bytes_hurts_nobody(server: Server) -> None:
    talk = server.connect()
    talk.send(server.request(server.read(), length=0xFFFF))
    seen = server.expect_silence(talk, "a header with length FFFF")
    if not server.facts.parallel:
        talk.close()
    server.must_be_usable("a header that claims 65535 bytes")
    late = talk.anything(0.0) if server.facts.parallel else b""
    if late:
        raise Missed(f"a header with length FFFF was answered with {late[:12].hex(' ')}")
    where = "another connection" if server.facts.parallel else "the next connection"
    server.note(f"{seen}; {where} was served")


@pytest.mark.requirement("MBAP-17")
def test_surplus_bytes_are_not_the_next_request(server: Server) -> None:
    inner = server.next_transaction()
    for what, surplus in (
        ("2 bytes too many", b"\x00\x00"),
        ("a whole request inside it", adu(server.read(), transaction=inner, unit=server.unit)),
    ):
        talk = server.connect()
        talk.send(server.request(server.read() + surplus), note=what)
        answer = server.expect(talk, f"an ADU with {what}")
        if answer.function & 0x80 and answer.exception != 3:
            raise Missed(f"an ADU with {what} got {answer.says()}, not exception 03 or the normal answer")
        surplus_was_ignored(server, talk, what)
        server.note(f"{what}: {answer.says()}")
        talk.close()


def surplus_was_ignored(server: Server, talk: Talk, what: str) -> None:
    """Neither is the surplus answered, nor does it hide the request that follows."""
    following = server.next_transaction()
    if talk.anything(server.timing.silence):
        raise Missed(f"an ADU with {what}: the surplus was taken for the next request and answered")
    if talk.ended:
        return  # then no request can follow
    talk.send(server.request(server.read(), transaction=following), note="the request that follows")
    try:
        answer = server.expect(talk, "the request that follows")
    except Absent as absent:
        raise Absent(f"an ADU with {what}: its surplus seems to hide the next request; {absent}") from None
    if answer.transaction != following:
        raise Missed(f"an ADU with {what}: with the request that follows the surplus was answered, too")


@pytest.mark.requirement("MBAP-18")
def test_pdu_that_ends_too_early_is_refused(server: Server) -> None:
    seen = set()
    for size in (1, 2, 3, 4):
        talk = server.connect()
        talk.send(server.request(server.read()[:size]))
        what = f"a read request of {size} instead of 5 bytes"
        answer = server.expect_silence(talk, what, exception=True)
        if answer.startswith("exception") and not answer.startswith("exception 03"):
            raise Missed(f"{what} got {answer}, not exception 03")
        seen.add(answer)
        talk.close()
    server.note("; ".join(sorted(seen)))
    server.must_be_usable("a PDU that ends too early")


def malformed(server: Server) -> list[tuple[str, bytes]]:
    """Wrong in as many ways as the header allows."""
    read = server.read()
    return [
        ("protocol id 1", server.request(read, protocol=1)),
        ("length 0", server.request(read, length=0)),
        ("length 1", server.request(b"", length=1)),
        ("length 2, read without fields", server.request(read[:1])),
        ("length 4, read cut short", server.request(read[:3])),
        ("length FFFF", server.request(read, length=0xFFFF)),
        ("a PDU of 299 bytes", server.request(read.ljust(299, b"\x55"))),
        ("function 00", server.request(b"\x00")),
        ("3 bytes", b"\x00\x01\x00"),
        ("300 bytes FF", b"\xff" * 300),
        ("a line of text", b"GET / HTTP/1.0\r\n\r\n"),
    ]


@pytest.mark.requirement("MBAP-19")
def test_new_connection_works_after_a_malformed_adu(server: Server) -> None:
    cases = malformed(server)
    for what, data in cases:
        talk = server.connect()
        talk.send(data, note=what)
        talk.answer(server.timing.settle)
        talk.close()
        server.must_be_usable(what)
    server.note(f"a new connection was served after each of {len(cases)} malformed ADUs")


@pytest.mark.requirement("MBAP-20")
def test_same_connection_works_after_a_malformed_adu(server: Server) -> None:
    read = server.read()
    for kind in errors(server):
        talk, answer = sent(server, server.connect(), kind)
        if answer is not None and answer.exception is not None:
            _still_served(server, talk, f"an exception ({kind.what}: {answer.exception:02X})")
        talk.close()
    for what, data in (
        ("protocol id 1", server.request(read, protocol=1)),
        ("a PDU cut short", server.request(read[:3])),
        ("surplus bytes", server.request(read + struct.pack(">H", 0))),
    ):
        talk = server.connect()
        talk.send(data, note=what)
        _still_served(server, talk, what)
        talk.close()


def _still_served(server: Server, talk: Talk, what: str) -> None:
    """After what was refused, or malformed, a valid request on the same connection is answered."""
    talk.anything()
    if talk.ended:
        raise Missed(f"after {what} the server closed the connection ({talk.ended})")
    talk.send(server.request(server.read()), note="a valid request")
    try:
        server.expect_normal(talk, f"the valid request after {what}")
    except Missed as missed:
        raise type(missed)(f"{missed}; the ADU before had the right length") from None
