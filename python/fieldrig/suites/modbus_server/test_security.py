"""Modbus/TCP Security: which handshakes a server takes, which it refuses, and what it makes of the role of a client.

Rules of this file:
- A refusal counts only where the server was asked something: with TLS 1.3 a client believes in its handshake before the
  server has looked at the certificate, so a request follows, and what comes of it decides.
- Offers that no library makes are hellos put together by hand (`secure.hello`).
"""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, suppress
from typing import Literal

import pytest

from .carriers.tcp import adu, split
from .frames import Adu
from .outcome import Absent, Exchange, Inapplicable, Missed, NotRun, Undecided
from .secure import hello
from .secure.der import issuer_of, key_of, self_signed, subject_of
from .secure.hello import Flight, Hello
from .secure.link import Offer, Refused, Target, says
from .secure.pki import FUTURE, PAST, Identity, role
from .server import Server
from .wire import WireError

V12 = ssl.TLSVersion.TLSv1_2


def target_of(server: Server) -> Target:
    """The server as handshakes see it."""
    if server.target is None:
        raise NotRun("the capabilities file does not say who signs the certificates of clients ([security] ca, ca_key)")
    return server.target


def offered(server: Server, offer: Hello) -> Flight:
    """What the server says to a hello."""
    try:
        found = hello.flight(target_of(server).address, offer, server.timing.answer)
    except OSError as error:
        raise WireError(
            "refused" if isinstance(error, ConnectionRefusedError) else "unreachable", str(error)
        ) from error
    shown = " ".join(f"{suite:04X}" for suite in offer.suites)
    log(server, "note", text=f"a ClientHello of version {offer.version:04X} with suites {shown} got {found.says()}")
    return found


def log(server: Server, what: Literal["sent", "received", "note"], data: bytes = b"", text: str = "") -> None:
    """Keeps what happened for the report."""
    server.exchanges.append(Exchange(1, what, server.clock.now(), data, text))


def plain_read(server: Server) -> bytes:
    """A whole request for what can be read."""
    return adu(server.read(), transaction=server.next_transaction(), unit=server.unit)


def exchange(server: Server, connection: ssl.SSLSocket, request: bytes) -> Adu | None:
    """One request and its answer; `None` if the server ended the connection or kept silent."""
    connection.settimeout(server.timing.answer)
    data = b""
    log(server, "sent", request)
    with suppress(OSError):
        connection.sendall(request)
        while not split(data, complete=False):
            more = connection.recv(65536)
            if not more:
                break
            data += more
    if data:
        log(server, "received", data)
    else:
        log(server, "note", text="nothing came, or the server ended the connection")
    return next(iter(split(data, complete=True)), None)


def tried(server: Server, identity: Identity | None, newest: ssl.TLSVersion) -> str | None:
    """How the server refuses a client; `None` if it answers it."""
    context = Offer(identity, newest).context()
    try:
        with closing(target_of(server).connect(context)) as connection:
            connection.settimeout(server.timing.answer)
            connection.sendall(plain_read(server))
            return None if connection.recv(1) else "the end of the connection"
    except Refused as refused:
        return str(refused)
    except (ssl.SSLError, OSError) as error:
        return says(error)


def must_be_refused(server: Server, identity: Identity | None, what: str) -> None:
    """A client, by both versions of TLS."""
    for newest in (V12, ssl.TLSVersion.TLSv1_3):
        how = tried(server, identity, newest)
        if how is None:
            raise Missed(f"a client {what} was answered ({newest.name})")
        if "timed out" in how:
            raise Absent(f"a client {what} was neither answered nor refused ({newest.name})")
        server.note(f"{what}, {newest.name}: {how}")


def the_client(server: Server) -> Identity:
    """A certificate that the server takes for all it lets anybody do."""
    target = target_of(server)
    full = server.capabilities.security.full_role if server.capabilities.security else None
    return target.client("client", *([role(full)] if full else []))


def asked(server: Server, connection: ssl.SSLSocket, place: tuple[int, int], what: str) -> Adu:
    """The answer to a read of one item somewhere."""
    function, address = place
    request = adu(bytes([function, *address.to_bytes(2, "big"), 0, 1]), transaction=1, unit=server.unit)
    answer = exchange(server, connection, request)
    if answer is None:
        raise Absent(f"{what} was not answered")
    return answer


# ---- versions and suites --------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-01")
def test_versions_before_1_2_are_refused(server: Server) -> None:
    old = (0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035, 0x000A, 0x0005)
    for version, name in ((hello.TLS11, "TLS 1.1"), (hello.TLS10, "TLS 1.0"), (hello.SSL3, "SSL 3")):
        found = offered(server, Hello(version, (*old, *hello.GCM)))
        if found.accepted:
            raise Missed(f"a client limited to {name} got a {found.says()}")
        server.note(f"{name}: {found.says()}")


@pytest.mark.requirement("SEC-02")
def test_tls_1_2_is_accepted(server: Server) -> None:
    identity = the_client(server)
    for newest, needed in ((V12, True), (ssl.TLSVersion.TLSv1_3, False)):
        how = tried(server, identity, newest)
        if how is not None and needed:
            raise Missed(f"a client with {newest.name} was refused: {how}")
        server.note(f"up to {newest.name}: {how or 'answered'}")


@pytest.mark.requirement("SEC-09")
def test_the_suite_for_rsa_keys_is_accepted(server: Server) -> None:
    must_take(server, "rsa", hello.RSA_AES128_GCM, "ECDHE-RSA-AES128-GCM-SHA256")


@pytest.mark.requirement("SEC-10")
def test_the_suite_for_ecc_keys_is_accepted(server: Server) -> None:
    must_take(server, "ec", hello.ECDSA_AES128_GCM, "ECDHE-ECDSA-AES128-GCM-SHA256")


def must_take(server: Server, kind: str, suite: int, name: str) -> None:
    """A handshake with one suite only, if the key of the server is of the kind it is for."""
    found = offered(server, Hello())
    if not found.certificates:
        raise Undecided(f"the certificate of the server cannot be seen: it says {found.says()}")
    if key_of(found.certificates[0]) != kind:
        raise Inapplicable(f"the key of the server is of another kind ({key_of(found.certificates[0])})")
    found = offered(server, Hello(suites=(suite,)))
    if found.suite != suite:
        raise Missed(f"a client that offers {name} only got {found.says()}")
    try:
        with closing(target_of(server).connect(Offer(the_client(server), V12, name).context())) as connection:
            if exchange(server, connection, plain_read(server)) is None:
                raise Missed(f"a request over {name} was not answered")
    except Refused as refused:
        raise Missed(f"a handshake with {name} was refused: {refused}") from None


@pytest.mark.requirement("SEC-11")
def test_suites_without_encryption_or_with_old_macs_are_refused(server: Server) -> None:
    for suite in hello.WEAK:
        found = offered(server, Hello(suites=(suite,)))
        if found.accepted:
            raise Missed(f"a client that offers suite {suite:04X} only got a {found.says()}")
    server.note(f"none of {len(hello.WEAK)} suites was taken")


@pytest.mark.requirement("SEC-12")
def test_the_suite_is_one_that_was_offered(server: Server) -> None:
    found = offered(server, Hello())
    if not found.accepted:
        raise Undecided(f"nothing was negotiated: {found.says()}")
    if found.suite not in hello.USUAL:
        raise Missed(f"the server chose suite {found.suite:04X}, which is none of the registered ones it was offered")
    server.note(f"suite {found.suite:04X}")


@pytest.mark.requirement("SEC-13")
def test_a_suite_that_encrypts_is_preferred(server: Server) -> None:
    found = offered(server, Hello(suites=(*hello.NULL_ENCRYPTION, *hello.USUAL)))
    if found.suite in hello.NULL_ENCRYPTION:
        raise Missed(f"with encryption on offer the server chose suite {found.suite:04X}, which has none")
    server.note(found.says())


@pytest.mark.requirement("SEC-28")
def test_counter_mode_is_accepted(server: Server) -> None:
    found = offered(server, Hello(suites=hello.GCM))
    if found.suite not in hello.GCM:
        raise Missed(f"a client that offers AES-GCM only got {found.says()}")
    server.note(f"suite {found.suite:04X}")


# ---- certificates ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-03")
def test_a_certificate_is_asked_for(server: Server) -> None:
    found = offered(server, Hello())
    if not found.complete:
        raise Undecided(f"the first flight of the server cannot be seen: {found.says()}")
    if not found.asks_for_certificate:
        raise Missed("the first flight of the server has no CertificateRequest")


@pytest.mark.requirement("SEC-04")
def test_a_client_without_certificate_is_refused(server: Server) -> None:
    must_be_refused(server, None, "without a certificate")


@pytest.mark.requirement("SEC-05")
def test_certificates_that_are_not_valid_are_refused(server: Server) -> None:
    target = target_of(server)
    full = server.capabilities.security.full_role if server.capabilities.security else None
    extensions = [role(full)] if full else []
    must_be_refused(server, target.stranger(), "with a certificate of an unknown CA")
    must_be_refused(server, target.client("expired", *extensions, dates=PAST), "with an expired certificate")
    must_be_refused(server, target.client("future", *extensions, dates=FUTURE), "with a certificate of the future")


@pytest.mark.requirement("SEC-14")
def test_the_whole_chain_is_sent(server: Server) -> None:
    found = offered(server, Hello())
    if not found.certificates:
        raise Undecided(f"the certificate of the server cannot be seen: it says {found.says()}")
    security = server.capabilities.security
    known = subject_of(ssl.PEM_cert_to_DER_cert(security.issuer.read_text("ascii"))) if security else b""
    for index, certificate in enumerate(found.certificates[:-1]):
        if issuer_of(certificate) != subject_of(found.certificates[index + 1]):
            raise Missed(f"certificate {index + 2} of the chain did not sign the one before it")
    last = found.certificates[-1]
    if not self_signed(last) and issuer_of(last) != known:
        if security is None or security.server_ca is None:
            raise Undecided("nobody says who signed the certificate of the server ([security] server_ca)")
        raise Missed(f"the chain of {len(found.certificates)} ends before the CA: who signed its last one is not sent")
    server.note(f"a chain of {len(found.certificates)}")


@pytest.mark.requirement("SEC-16")
def test_renegotiation_info_is_there(server: Server) -> None:
    for extensions, suites, how in (
        ([(hello.RENEGOTIATION_INFO, b"\x00")], hello.USUAL, "the extension"),
        ([], (*hello.USUAL, hello.SCSV), "the signalling suite"),
    ):
        found = offered(server, Hello(suites=suites, extensions=extensions))
        if not found.accepted:
            raise Undecided(f"nothing was negotiated: {found.says()}")
        if found.extensions.get(hello.RENEGOTIATION_INFO) != b"\x00":
            raise Missed(f"the ServerHello has no empty renegotiation_info, which a client asked for by {how}")


@pytest.mark.requirement("SEC-17")
def test_a_maximum_fragment_length_is_honoured(server: Server) -> None:
    found = offered(server, Hello(extensions=[(hello.MAX_FRAGMENT_LENGTH, b"\x01")]))
    if not found.accepted:
        raise Undecided(f"nothing was negotiated: {found.says()}")
    if found.extensions.get(hello.MAX_FRAGMENT_LENGTH) != b"\x01":
        raise Missed("max_fragment_length 512 is not in the ServerHello")
    if found.longest > 512:
        raise Missed(f"a record of {found.longest} bytes follows where 512 are the maximum")
    server.note(f"the longest record has {found.longest} bytes")


# ---- what goes through ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-18")
def test_the_adu_is_that_of_plain_tcp(server: Server) -> None:
    talk = server.connect()
    transaction = server.next_transaction()
    answer = server.ask(talk, server.request(server.read(), transaction=transaction))
    follow = len(answer.raw) - 6
    expected = (transaction, 0, follow, server.unit)
    if (answer.transaction, answer.protocol, answer.length, answer.unit) != expected:
        raise Missed(f"the answer inside TLS is no ADU of Modbus/TCP: {answer.raw[:9].hex(' ')}")


@pytest.mark.requirement("SEC-27")
def test_a_plain_request_is_not_answered(server: Server) -> None:
    target = target_of(server)
    data = b""
    request = plain_read(server)
    log(server, "sent", request, "without TLS")
    with suppress(OSError), socket.create_connection(target.address, timeout=server.timing.answer) as connection:
        connection.sendall(request)
        while more := connection.recv(65536):
            data += more
    answer = next(iter(split(data, complete=True)), None)
    if answer is not None and answer.protocol == 0 and answer.function & 0x7F == server.facts.function:
        raise Missed(f"a plain request on port {target.address[1]} was answered: {answer.says()}")
    server.note(f"a plain request got {f'{len(data)} bytes, none of them Modbus' if data else 'no answer'}")
    if target.address[1] != 802:
        server.note(f"the port is {target.address[1]}; that of Modbus/TCP Security is 802")


# ---- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-08")
def test_a_session_that_failed_is_not_resumed(server: Server) -> None:
    target, context = target_of(server), Offer(the_client(server), V12, tickets=False).context()
    first = target.connect(context)
    with closing(first):
        if exchange(server, first, plain_read(server)) is None:
            raise Absent("a plain read was not answered")
        session = first.session
        with closing(target.connect(context, session)) as second:
            if not second.session_reused:
                server.note("the server resumes no session, whatever became of it")
                return
        # A record that nobody can decrypt, past the library.
        first.settimeout(server.timing.answer)
        raw = b"\x17\x03\x03\x00\x30" + bytes(48)
        with suppress(OSError):
            socket.socket.send(first, raw)
        with suppress(OSError):
            if first.recv(1):
                raise Missed("a record that cannot be decrypted was answered")
    with closing(target.connect(context, session)) as third:
        if third.session_reused:
            raise Missed("the session of a connection that ended with a fatal alert was resumed")


@pytest.mark.requirement("SEC-25")
def test_a_resumed_session_keeps_the_role(server: Server) -> None:
    target, security = target_of(server), declared_roles(server)
    context = Offer(operator(server), V12).context()
    with closing(target.connect(context)) as first:
        asked(server, first, security[0], "an allowed request")
        session = first.session
    with closing(target.connect(context, session)) as second:
        if not second.session_reused:
            raise Missed("the session was not resumed")
        answer = asked(server, second, security[0], "an allowed request in a resumed session")
        if answer.function & 0x80:
            raise Missed(f"in a resumed session, what the role may do got {answer.says()}")
        answer = asked(server, second, security[1], "a forbidden request in a resumed session")
        if answer.exception != 1:
            raise Missed(f"in a resumed session, what the role may not do got {answer.says()}")


# ---- roles ----------------------------------------------------------------------------------------------------------


def declared_roles(server: Server) -> tuple[tuple[int, int], tuple[int, int]]:
    """What the declared role may read, and what it may not."""
    security = server.capabilities.security
    if security is None or security.allowed is None or security.forbidden is None:
        raise Inapplicable("the capabilities file declares no role ([security] role, allowed, forbidden)")
    return security.allowed, security.forbidden


def operator(server: Server) -> Identity:
    """A certificate with the declared role."""
    security = server.capabilities.security
    return target_of(server).client("operator", role(security.role if security and security.role else ""))


def judged_as(server: Server, name: str, *extensions: str) -> Adu | None:
    """The answer to the request that only the declared role may make; `None` if the client is refused."""
    return answer_to(server, target_of(server).client(name, *extensions), name)


def answer_to(server: Server, identity: Identity, name: str) -> Adu | None:
    """The same, for a certificate."""
    allowed, _ = declared_roles(server)
    try:
        connection = target_of(server).connect(Offer(identity, V12).context())
    except Refused as refused:
        server.note(f"{name}: refused ({refused})")
        return None
    with closing(connection):
        answer = exchange(server, connection, _request(server, allowed))
        server.note(f"{name}: {answer.says() if answer else 'not served'}")
        return answer


@pytest.mark.requirement("SEC-19")
def test_the_role_is_applied(server: Server) -> None:
    allowed, _ = declared_roles(server)
    with closing(target_of(server).connect(Offer(operator(server)).context())) as connection:
        answer = asked(server, connection, allowed, "what the role may do")
        if answer.function & 0x80:
            raise Missed(f"what the role may do got {answer.says()}")
    answer_of_nobody = judged_as(server, "nobody")
    if answer_of_nobody is not None and not answer_of_nobody.function & 0x80:
        raise Missed("what only the role may do is answered without it, too")


@pytest.mark.requirement("SEC-20")
def test_a_certificate_without_role_is_no_error(server: Server) -> None:
    allowed, _ = declared_roles(server)
    try:
        connection = target_of(server).connect(Offer(target_of(server).client("nobody"), V12).context())
    except Refused as refused:
        raise Missed(f"a client without a role was refused: {refused}") from None
    with closing(connection):
        for number in ("first", "second"):
            answer = exchange(server, connection, _request(server, allowed))
            if answer is None:
                raise Missed(f"the {number} request of a client without a role was not answered")


@pytest.mark.requirement("SEC-21")
def test_what_is_not_allowed_gets_exception_01(server: Server) -> None:
    _, forbidden = declared_roles(server)
    with closing(target_of(server).connect(Offer(operator(server)).context())) as connection:
        answer = exchange(server, connection, _request(server, forbidden))
        if answer is None:
            raise Missed("what the role may not do was not answered")
        if answer.exception != 1:
            raise Missed(f"what the role may not do got {answer.says()}, not exception 01")


@pytest.mark.requirement("SEC-22")
def test_every_request_is_judged(server: Server) -> None:
    allowed, forbidden = declared_roles(server)
    with closing(target_of(server).connect(Offer(operator(server)).context())) as connection:
        for place, fine in ((allowed, True), (forbidden, False), (allowed, True), (forbidden, False)):
            answer = exchange(server, connection, _request(server, place))
            if answer is None:
                raise Missed("a request after others of the same connection was not answered")
            if fine == bool(answer.function & 0x80):
                raise Missed(f"a request that is {'allowed' if fine else 'forbidden'} got {answer.says()}")


@pytest.mark.requirement("SEC-23")
def test_other_strings_are_no_role(server: Server) -> None:
    name = role_name(server)
    for kind in ("PrintableString", "IA5String"):
        answer = judged_as(server, f"role as {kind}", role(name, kind))
        if answer is not None and not answer.function & 0x80:
            raise Missed(f"a role as {kind} is taken for one")


@pytest.mark.requirement("SEC-24")
def test_one_role_is_one_role(server: Server) -> None:
    name = role_name(server)
    for what, text in (("with another behind a comma", f"{name},Other"), ("behind a comma", f"Other,{name}")):
        answer = judged_as(server, f"role {what}", role(text))
        if answer is not None and not answer.function & 0x80:
            raise Missed(f"the role {what} is taken for it: a comma is part of a role")
    target = target_of(server)
    answer = answer_to(server, target.pki.with_two_roles("two roles", target.clients, "Other", name), "two roles")
    if answer is not None and not answer.function & 0x80:
        raise Missed("of two role extensions one is taken")


def role_name(server: Server) -> str:
    declared_roles(server)
    security = server.capabilities.security
    return security.role if security and security.role else ""


def _request(server: Server, place: tuple[int, int]) -> bytes:
    function, address = place
    pdu = bytes([function, *address.to_bytes(2, "big"), 0, 1])
    return adu(pdu, transaction=server.next_transaction(), unit=server.unit)
