"""The parts of the suite for Modbus clients inside TLS: certificates, hellos, what a server sees of a client."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from fieldrig.errors import InconclusiveError, UsageError
from fieldrig.suites.modbus_client.capabilities import load
from fieldrig.suites.modbus_client.client import Client, Timing
from fieldrig.suites.modbus_client.conform import _probe
from fieldrig.suites.modbus_client.naive import NaiveDriver
from fieldrig.suites.modbus_client.run import judge_all, python_object, station
from fieldrig.suites.modbus_client.secure import curve
from fieldrig.suites.modbus_client.secure.certificates import Pki
from fieldrig.suites.modbus_client.secure.hello import certificates_of, hello_of
from fieldrig.suites.modbus_client.secure.tunnel import V12, Stance, Tunnel

TIMING = Timing(timeout=0.25, settle=0.02, hang=2.0)
STRICT = 0x20
"""X509_V_FLAG_X509_STRICT of OpenSSL."""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def test_a_session_is_told_from_another(pki: Pki) -> None:
    for tickets in (True, False):
        stance = Stance(newest=V12)
        theirs, ours = ssl.create_default_context(cafile=str(pki.ca)), stance.context(pki, None)
        if not tickets:
            ours.options |= ssl.OP_NO_TICKET
        older, old_session = resuming(theirs, ours, stance, None)
        failed, _ = resuming(theirs, ours, stance, None)
        another, _ = resuming(theirs, ours, stance, old_session)
        assert another.resumed and another.offers_session_of(older) and not another.offers_session_of(failed)
        again, _ = resuming(theirs, ours, stance, old_session)
        assert again.offers_session_of(another), "what was resumed there is its session"


def resuming(
    theirs: ssl.SSLContext, ours: ssl.SSLContext, stance: Stance, session: ssl.SSLSession | None
) -> tuple[Tunnel, ssl.SSLSession | None]:
    """A handshake of a client that goes on with a session; gives our end and the session it has then."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = theirs.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1", session=session)
    tunnel, done = Tunnel(stance, ours), False
    while not (done and tunnel.done):
        try:
            client.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        if said := outgoing.read():
            tunnel.take(said)
        incoming.write(tunnel.outgoing())
    return tunnel, client.session


def handshake(pki: Pki, stance: Stance, host: str = "127.0.0.1") -> tuple[Tunnel, bytes]:
    """A strict client of the standard library, and our server; gives what the client sent, too.

    Raises `ssl.SSLError` if the client refuses.
    """
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.verify_flags |= STRICT
    context.load_cert_chain(pki.client.cert, pki.client.key)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=host)
    tunnel, sent = Tunnel(stance, stance.context(pki, None)), b""
    while not tunnel.done:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        said = outgoing.read()
        sent += said
        tunnel.take(said)
        incoming.write(tunnel.outgoing())
    return tunnel, sent


@pytest.mark.parametrize("newest", [V12, ssl.TLSVersion.TLSv1_3])
def test_certificates_pass_the_strict_checks_of_openssl(pki: Pki, newest: ssl.TLSVersion) -> None:
    for host in ("127.0.0.1", "localhost"):
        tunnel, _ = handshake(pki, Stance(newest=newest, knows_between=False), host)
        assert tunnel.certificate is not None and b"fieldrig client" in tunnel.certificate


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("stranger", "unable to get local issuer certificate"),
        ("self-signed", "self-signed certificate"),
        ("expired", "has expired"),
        ("future", "not yet valid"),
        ("elsewhere", "not valid for"),
    ],
)
def test_each_wrong_certificate_is_wrong_in_one_way(pki: Pki, kind: str, complaint: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=complaint):
        handshake(pki, Stance(shows=kind))


def test_the_generator_of_the_curve_has_its_order() -> None:
    assert curve.times(curve.ORDER, curve.BASE) is None
    assert curve.plus(curve.times(curve.ORDER - 1, curve.BASE), curve.BASE) is None
    assert curve.times(2, curve.BASE) == curve.plus(curve.BASE, curve.BASE)


def test_a_hello_is_what_the_client_offers_and_half_of_it_is_none(pki: Pki) -> None:
    _, sent = handshake(pki, Stance(newest=V12))
    hello = hello_of(sent)
    assert hello is not None
    assert 0x0303 in hello.versions and 0xC02B in hello.suites and 23 in hello.groups and hello.compressions == (0,)
    assert certificates_of(sent) == 2
    length = 5 + int.from_bytes(sent[3:5], "big")
    assert all(hello_of(sent[:cut]) is None for cut in range(length))
    for place in range(9, length):  # whatever a client sends, it is a hello or none
        hello_of(sent[:place] + b"\xff" + sent[place + 1 :])


def test_a_folder_keeps_what_a_device_was_given(tmp_path: Path) -> None:
    first = Pki(tmp_path)
    given = [path.read_bytes() for path in (first.ca, first.client.cert, first.client.key)]
    again = Pki(tmp_path)
    assert [path.read_bytes() for path in (again.ca, again.client.cert, again.client.key)] == given
    assert handshake(again, Stance())[0].done
    (tmp_path / "ca.key").unlink()
    with pytest.raises(UsageError, match=r"has ca\.pem and no ca\.key"):
        Pki(tmp_path)


def test_a_client_that_talks_without_tls_is_seen() -> None:
    with station("tls") as server:
        server.renew([])
        host, port = server.url.removeprefix("tls://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(bytes.fromhex("0001 0000 0006 01 03 0000 0002"))
            assert connection.recv(100) == b""
        tunnels = getattr(server, "tunnels")  # noqa: B009, only this station has them
        assert tunnels[0].plain.startswith(b"\0\1") and server.requests == []


def test_who_shows_a_certificate_of_somebody_else_is_not_accused(tmp_path: Path) -> None:
    other = Pki(tmp_path / "factory")

    class Factory(NaiveDriver):
        def __call__(self, request: dict[str, object]) -> object:  # type: ignore[override]
            own = {"cert": str(other.client.cert), "key": str(other.client.key)}
            return super().__call__({**request, **own} if request["call"] == "open" else request)

    rows = judge_all(Factory, "tls", timing=TIMING, only=("SEC-07", "SEC-14"))
    assert {row.verdict for row in rows.values()} <= {"inconclusive", "not tested"}
    caps = tmp_path / "caps.toml"
    caps.write_text('client_ca = "factory/ca.pem"\n', "utf-8")
    rows = judge_all(Factory, "tls", timing=TIMING, capabilities=load(caps), only=("SEC-07", "SEC-14"))
    assert {row.verdict for row in rows.values()} == {"pass"}, rows


def test_names_count_for_who_is_declared_to_look_at_them(tmp_path: Path) -> None:
    caps = tmp_path / "caps.toml"
    caps.write_text("checks_names = true\n", "utf-8")
    for faults, undeclared, declared in (((), "pass", "pass"), (("any name",), "pass", "fail")):
        found = [
            judge_all(
                lambda faults=faults: NaiveDriver(*faults), "tls", timing=TIMING, capabilities=each, only=("SEC-06",)
            )
            for each in (None, load(caps))
        ]
        assert [rows["SEC-06"].verdict for rows in found] == [undeclared, declared]


def test_rows_about_tls_are_not_for_clients_without_it() -> None:
    rows = judge_all(NaiveDriver, "tcp", timing=TIMING, only=("SEC",))
    assert len(rows) == 13 and {row.verdict for row in rows.values()} == {"not applicable"}


def test_a_server_that_says_nothing_is_left_by_itself() -> None:
    with station("tls") as server:
        client = Client(server, python_object(NaiveDriver), TIMING)
        assert client.attempt(stance=Stance(mute=True)).error in ("refused", "lost")
        assert client.attempt().error is None
        client.close()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('certificates = "caps.toml"', "is no folder"),
        ('client_ca = "none.pem"', "No such file"),
        ('client_ca = "caps.toml"', "caps.toml"),
        ("checks_names = 1", "true or false"),
        ("certificates = 7", "it is a path"),
        ("check_names = true", "unknown key"),
    ],
)
def test_wrong_capabilities_are_told(line: str, complaint: str, tmp_path: Path) -> None:
    caps = tmp_path / "caps.toml"
    caps.write_text(line + "\n", "utf-8")
    with pytest.raises(UsageError, match=complaint):
        load(caps)


def test_a_client_that_speaks_tls_1_3_only_is_not_judged_by_the_row_about_1_2() -> None:
    row = judge_all(lambda: NaiveDriver("1.3 only"), "tls", timing=TIMING, only=["SEC-02"])["SEC-02"]
    assert row.verdict == "not applicable" and "TLS 1.3 only" in row.says


class Plain:
    """A driver that knows nothing of TLS."""

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["call"] == "open":
            self.place = request["url"].removeprefix("tls://").split(":")
        if request["call"] in ("open", "close"):
            return {"ok": True}
        with socket.create_connection((self.place[0], int(self.place[1])), 2.0) as connection:
            connection.sendall(bytes.fromhex("000100000006010300000002"))
            return {"error": "malformed" if connection.recv(1) else "lost"}


def test_a_driver_without_tls_is_told_so() -> None:
    with station("tls") as server, contextlib.closing(Client(server, python_object(Plain), TIMING)) as client:
        with pytest.raises(InconclusiveError, match="the client spoke without TLS, 00 01 00 00") as raised:
            _probe(client)
        assert "`cert`" in str(raised.value.hint)
