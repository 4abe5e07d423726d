"""Modbus/TCP Security: what a client offers and shows, which servers it refuses, and what it sends before it knows.

Rules of this file:
- Refused is who gets no request, and no call succeeds. How the client says so, and at what moment, is its own.
- A row that wants something of the client looks at its hello first: what was never offered need not be tried.
- Every handshake is with a server that the same client has just talked to, with one thing changed.
"""

from __future__ import annotations

import ssl

import pytest

from fieldrig.suites.common.outcome import Inapplicable, Missed, NotRun, Undecided

from . import memory
from .client import Client, right
from .driver import Outcome
from .frames import Request
from .secure import hello
from .secure.hello import Hello
from .secure.station import TlsStation
from .secure.tunnel import V10, V11, V12, V13, Stance, Tunnel
from .station import Reply

AES128_GCM = "ECDHE-ECDSA-AES128-GCM-SHA256"
OLD_MACS = ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-NULL-SHA")
UNTRUSTED = "certificate verify failed"
"""How OpenSSL says that it does not believe a certificate."""


def station_of(client: Client) -> TlsStation:
    """Our server, which is inside TLS in these rows."""
    assert isinstance(client.station, TlsStation), "these rows are for the carrier tls"
    return client.station


def handshakes(client: Client, outcome: Outcome, what: str) -> list[Tunnel]:
    """The connections since the client was opened. Raises `Absent` or `Undecided` if there is none."""
    tunnels = list(station_of(client).tunnels)
    if not tunnels:
        raise client.absent(f"{what}: the client did not connect ({outcome.says()})")
    return tunnels


def hellos(client: Client) -> list[Hello]:
    """What the client offers: every hello of a plain read."""
    outcome = client.attempt()
    found = [tunnel.hello for tunnel in handshakes(client, outcome, "a plain read")]
    read = [each for each in found if each is not None]
    if not read:
        raise Undecided(f"no ClientHello came ({outcome.says()})")
    return read


def versions_of(client: Client) -> list[tuple[ssl.TLSVersion, str]]:
    """Versions of TLS with their names: those that the client offers, of 1.2 and 1.3."""
    offered = {version for each in hellos(client) for version in each.versions}
    ours = ((hello.TLS12, V12, "TLS 1.2"), (hello.TLS13, V13, "TLS 1.3"))
    return [(version, name) for number, version, name in ours if number in offered]


def must_refuse(client: Client, stance: Stance, what: str) -> None:
    """The client has nothing to do with such a server. Raises `Missed`, `Absent`, `Undecided`."""
    outcome = client.attempt(stance=stance)
    client.wait(client.timing.settle)  # an alert, or a request, may still be on its way
    client.station.look()
    tunnels = handshakes(client, outcome, what)
    plain = station_of(client).spoke_plainly
    if plain:
        raise Missed(f"{what}: the client sent {plain[:12].hex(' ')} without TLS")
    if client.station.requests:
        sent = client.station.requests[0].raw[:12].hex(" ")
        raise Missed(f"{what}: the client completed the handshake ({_last(tunnels)}) and sent {sent}")
    if outcome.error is None:
        raise Missed(f"{what}: nothing was asked, and the call gave {outcome.says()}")
    if client.disturbed and not stance.mute and not tunnels[-1].failure:
        raise Undecided(f"{what}: {_last(tunnels)} (this machine was busy)")
    client.note(f"{what}: {_last(tunnels)}")


def must_be_served(client: Client, stance: Stance, what: str) -> list[Tunnel]:
    """The client reads from such a server. Raises `Missed` for wrong values, `Absent` for none, `Undecided`."""
    outcome = client.attempt(stance=stance)
    tunnels = handshakes(client, outcome, what)
    client.must_give(outcome, memory.registers(3, 0, 2), f"{what} ({_last(tunnels)})")
    return tunnels


def _last(tunnels: list[Tunnel]) -> str:
    return tunnels[-1].says()


# ---- versions and suites --------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-01")
def test_versions_before_1_2_are_refused(client: Client) -> None:
    if not (ssl.HAS_TLSv1 and ssl.HAS_TLSv1_1):
        raise NotRun("the OpenSSL of this Python does not speak TLS 1.0 and 1.1")
    for version, name in ((V11, "TLS 1.1"), (V10, "TLS 1.0")):
        stance = Stance(oldest=V10, newest=version, suites="ALL:@SECLEVEL=0")
        must_refuse(client, stance, f"a server that speaks nothing newer than {name}")


@pytest.mark.requirement("SEC-02")
def test_tls_1_2_is_spoken(client: Client) -> None:
    offered = [version for each in hellos(client) for version in each.versions]
    if hello.TLS12 not in offered:
        if hello.TLS13 in offered:
            raise Inapplicable("the client offers TLS 1.3 only, which is newer: what the standard says of that is open")
        raise Missed(f"the client does not offer TLS 1.2: {' '.join(f'{version:04X}' for version in offered)}")
    must_be_served(client, Stance(newest=V12), "a server that speaks TLS 1.2")
    newer = "offered" if hello.TLS13 in offered else "not offered"
    client.note(f"TLS 1.2: served; TLS 1.3: {newer}")


@pytest.mark.requirement("SEC-10")
def test_ecc_is_offered_as_it_should_be(client: Client) -> None:
    for each in hellos(client):
        if hello.TLS12 not in each.versions:
            raise Inapplicable("the client does not offer TLS 1.2 (SEC-02)")
        if not hello.ECDSA & set(each.suites):
            raise Inapplicable("the client offers no suite for keys on elliptic curves")
        if hello.AES128_GCM not in each.suites:
            raise Missed(f"{AES128_GCM} (C02B) is not offered: {_listed(each.suites)}")
        if hello.P256 not in each.groups:
            raise Missed(f"P-256 is not among the curves of the ClientHello: {_listed(each.groups)}")
        if 0 not in each.points:
            raise Missed(f"uncompressed points are not among the point formats of the ClientHello: {each.points}")
    must_be_served(client, Stance(newest=V12, suites=AES128_GCM), f"a server with a key on P-256 and {AES128_GCM}")
    client.note(f"P-256, uncompressed points, {AES128_GCM}")


@pytest.mark.requirement("SEC-11")
def test_suites_without_encryption_or_with_old_macs_are_refused(client: Client) -> None:
    for suite in OLD_MACS:
        try:
            must_refuse(client, Stance(newest=V12, suites=f"{suite}:@SECLEVEL=0"), f"a server with {suite} only")
        except ssl.SSLError:
            raise NotRun(f"the OpenSSL of this Python does not have {suite}") from None


@pytest.mark.requirement("SEC-13")
def test_suites_without_encryption_come_last(client: Client) -> None:
    for each in hellos(client):
        weak = [suite in hello.WITHOUT_ENCRYPTION for suite in each.suites if suite != hello.SCSV]
        if sorted(weak) != weak:
            suite = next(suite for suite in each.suites if suite in hello.WITHOUT_ENCRYPTION)
            raise Missed(f"suite {suite:04X}, which does not encrypt, is offered before others that do")
        client.note(f"{sum(weak)} suites without encryption")


@pytest.mark.requirement("SEC-28")
def test_counter_mode_is_offered(client: Client) -> None:
    for each in hellos(client):
        found = [suite for suite in each.suites if suite in hello.COUNTER_MODE]
        if not found:
            raise Missed(f"none of the suites is in counter mode: {_listed(each.suites)}")
        client.note(f"offered: {_listed(found)}")


@pytest.mark.requirement("SEC-15")
def test_only_null_compression_is_offered(client: Client) -> None:
    for each in hellos(client):
        if each.compressions != (0,):
            raise Missed(f"the ClientHello has the compression methods {each.compressions}, not just null (0)")


@pytest.mark.requirement("SEC-16")
def test_renegotiation_info_is_in_the_hello(client: Client) -> None:
    for each in hellos(client):
        if all(version >= hello.TLS13 for version in each.versions):
            raise Inapplicable("the client offers TLS 1.3 only, which has no renegotiation")
        if hello.SCSV in each.suites:
            client.note("by the signalling suite")
        elif each.extensions.get(hello.RENEGOTIATION_INFO) == b"\x00":
            client.note("by the extension")
        else:
            raise Missed("the ClientHello has neither an empty renegotiation_info nor the signalling suite 00FF")


def _listed(numbers: list[int] | tuple[int, ...]) -> str:
    return " ".join(f"{number:04X}" for number in numbers) or "none"


# ---- certificates ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-05")
def test_certificates_that_are_not_valid_now_are_refused(client: Client) -> None:
    must_refuse(client, Stance(shows="expired"), "a server with an expired certificate")
    must_refuse(client, Stance(shows="future"), "a server with a certificate of the future")


@pytest.mark.requirement("SEC-06")
def test_a_server_that_nobody_vouches_for_gets_no_request(client: Client) -> None:
    for newest, name in ((V13, "TLS 1.3"), (V12, "TLS 1.2")):
        stranger = Stance(shows="stranger", newest=newest)
        must_refuse(client, stranger, f"a server with a certificate of an unknown CA, up to {name}")
    must_refuse(client, Stance(shows="self-signed"), "a server that signed its certificate itself")
    must_refuse(client, Stance(mute=True), "a server that says nothing to the ClientHello")
    elsewhere = Stance(shows="elsewhere")
    if client.declares("checks_names"):
        must_refuse(client, elsewhere, "a server with a certificate for another host")
        return
    outcome = client.attempt(stance=elsewhere)
    found = "refused" if outcome.error is not None else "accepted"
    client.note(f"a certificate for another host, which the client is not declared to look at: {found}")


@pytest.mark.requirement("SEC-07")
def test_the_client_shows_its_certificate(client: Client) -> None:
    for newest, name in versions_of(client):
        what = f"a server that asks for a certificate, {name}"
        outcome = client.attempt(stance=Stance(newest=newest))
        tunnels = handshakes(client, outcome, what)
        _must_be_known(tunnels)
        done = [tunnel for tunnel in tunnels if tunnel.done]
        if not done:
            raise client.absent(f"{what}: {_last(tunnels)}")
        if done[-1].certificate is None:
            raise Missed(f"{what}, was shown none: {done[-1].says()}")
        client.note(done[-1].says())


def _must_be_known(tunnels: list[Tunnel]) -> None:
    """Raises `Undecided` if the certificate of the client is one that we cannot judge."""
    if any(UNTRUSTED in tunnel.failure for tunnel in tunnels):
        raise Undecided("the client shows a certificate that we did not give it; `client_ca` would say who signed it")


@pytest.mark.requirement("SEC-14")
def test_the_whole_chain_is_sent(client: Client) -> None:
    known = client.attempt()
    tunnels = handshakes(client, known, "a server that asks for a certificate")
    _must_be_known(tunnels)
    if not any(tunnel.certificate for tunnel in tunnels):
        raise Inapplicable(f"the client shows no certificate (SEC-07): {_last(tunnels)}")
    for newest, _ in versions_of(client):
        outcome = client.attempt(stance=Stance(newest=newest, knows_between=False))
        tunnels = handshakes(client, outcome, "a server that knows the CA only")
        count = tunnels[-1].sent_certificates
        seen = "" if count is None else f", the Certificate message has {count}"
        if any(UNTRUSTED in tunnel.failure for tunnel in tunnels):
            raise Missed(f"a server that knows the CA only cannot verify the client: the chain is not sent{seen}")
        if not any(tunnel.done for tunnel in tunnels):
            raise client.absent(f"a server that knows the CA only: {_last(tunnels)}")
        client.note(f"{tunnels[-1].says()}{seen}")


# ---- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SEC-08")
def test_a_session_that_failed_is_not_resumed(client: Client) -> None:
    station = station_of(client)
    if V12 not in [version for version, _ in versions_of(client)]:
        raise Inapplicable("the client does not offer TLS 1.2 (SEC-02); a session of TLS 1.3 has no id")
    first = must_be_served(client, Stance(newest=V12), "a server that speaks TLS 1.2")[-1]

    def script(request: Request, reply: Reply) -> None:
        station.corrupt(request.connection, station.framing.answer(request, memory.good(request)))

    outcome = client.read(script)
    if outcome.error is None:
        raise Missed(f"an answer that nobody can decrypt was taken: the call gave {outcome.says()}")
    before = len(station.tunnels)
    for _ in range(3):
        client.read(right)
        if len(station.tunnels) > before:
            break
    if "alert" not in first.failure:
        raise Inapplicable("the client ended the connection without a fatal alert")
    after = station.tunnels[before:]
    if not after:
        raise Inapplicable("the client does not connect again by itself: no session outlives its connection")
    if after[0].offers_session_of(first):
        raise Missed("the session of a connection that ended with a fatal alert is offered again")
    other = after[0].resumed or after[0].offers_a_session
    client.note(f"fatal alert ({first.failure}); {'another' if other else 'no'} session is offered next")
