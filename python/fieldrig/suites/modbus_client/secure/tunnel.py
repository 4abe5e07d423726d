"""One connection of a client with our server inside TLS: cipher text in, plain text out, and what the handshake showed.

`Stance` is what our server does in the handshakes of one row. The rules:

- A client that shows no certificate is served: a row asks whether it has one, and no other is to fall because of it.
- What does not begin like TLS is kept as `plain`: a client that sends requests without it has sent them to anybody.
"""

from __future__ import annotations

import contextlib
import ssl
import warnings
from dataclasses import dataclass

from .certificates import Pki
from .hello import HANDSHAKE, Hello, certificates_of, hello_of, session_of

V10, V11 = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
TICKET = 35
"""The extension with a session ticket (RFC 5077)."""
KEPT = 65536
"""So much of what a client sends is kept for rows about the handshake."""


@dataclass(frozen=True)
class Stance:
    """What our server does in handshakes."""

    shows: str = "good"
    """Which certificate: see `Pki.server`."""
    oldest: ssl.TLSVersion = V12
    newest: ssl.TLSVersion = V13
    suites: str | None = None
    """For TLS 1.2 and older, by the names of OpenSSL."""
    knows_between: bool = True
    """It knows the CA between the certificate of the client and the one it trusts."""
    mute: bool = False
    """It takes the connection and says nothing."""

    def context(self, pki: Pki, trusted: str | None) -> ssl.SSLContext:
        """For the connections of one row; sessions can be resumed between them.

        Args:
            trusted: PEM file with more CAs that may have signed the certificate of the client.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with warnings.catch_warnings():  # whoever judges old versions must speak them
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = self.oldest
            context.maximum_version = self.newest
        if self.suites is not None:
            context.set_ciphers(self.suites)
        identity = pki.server(self.shows)
        context.load_cert_chain(identity.cert, identity.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(pki.ca)
        if self.knows_between:
            context.load_verify_locations(pki.between)
        if trusted is not None:
            context.load_verify_locations(trusted)
        return context


class Tunnel:
    """One connection.

    Attributes:
        done: the handshake is complete.
        certificate: what the client showed, DER; `None` before, and if it showed none.
        resumed: the session of an earlier connection goes on.
        failure: why it failed, then or later, in words; empty if it did not.
        fell: the connection is of no use any more.
        plain: what came where TLS should have begun.
    """

    def __init__(self, stance: Stance, context: ssl.SSLContext) -> None:
        self._mute = stance.mute
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._raw = b""
        self._said = b""
        self._settled = ""
        self.done = False
        self.certificate: bytes | None = None
        self.resumed = False
        self.failure = ""
        self.fell = False
        self.plain = b""

    @property
    def hello(self) -> Hello | None:
        """What the client offered."""
        return hello_of(self._raw)

    @property
    def sent_certificates(self) -> int | None:
        """How many certificates the client sent, where that can be seen (TLS 1.2)."""
        return certificates_of(self._raw)

    def offers_session_of(self, earlier: Tunnel) -> bool:
        """The client offers to go on with the session of another connection, by its id or by a ticket (TLS 1.2).

        That session is the one which our server gave there, and the one which was resumed there.
        """
        found, before = self.hello, earlier.hello
        if found is None or before is None:
            return False
        session, ticket = session_of(earlier._said)
        tickets = {ticket, before.extensions.get(TICKET, b"") if earlier.resumed else b""} - {b""}
        offered = found.extensions.get(TICKET, b"")
        return offered in tickets if offered else bool(session) and found.session == session

    @property
    def offers_a_session(self) -> bool:
        """The client offers to go on with some session of TLS 1.2, by a ticket."""
        return self.hello is not None and bool(self.hello.extensions.get(TICKET))

    def says(self) -> str:
        """What became of the handshake, in words."""
        if self.plain:
            return f"no TLS: {self.plain[:12].hex(' ')}"
        if self.done:
            shown = "with a certificate" if self.certificate else "without a certificate"
            fell = f", then {self.failure}" if self.failure else ""
            return f"{self._settled}, {'resumed' if self.resumed else shown}{fell}"
        return f"the handshake failed: {self.failure}" if self.failure else "the handshake is not complete"

    def take(self, data: bytes) -> bytes:
        """Bytes came. Gives what was inside; `fell` if the connection has to be ended."""
        if self.plain or (not self._raw and data[0] != HANDSHAKE):
            self.plain += data
            self.fell = True
            return b""
        if len(self._raw) < KEPT:
            self._raw += data
        if self._mute:
            return b""
        self._incoming.write(data)
        try:
            return self._inside()
        except ssl.SSLError as error:
            self.failure = self.failure or (error.reason or str(error)).lower().replace("_", " ")
            self.fell = True
            return b""

    def _inside(self) -> bytes:
        found = b""
        try:
            if not self.done:
                self._tls.do_handshake()
                self._complete()
            while more := self._tls.read(65536):
                found += more
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            self.fell = True
        return found

    def _complete(self) -> None:
        """What OpenSSL forgets when the connection fails later."""
        tls, self.done = self._tls, True
        self.certificate = tls.getpeercert(binary_form=True)
        self.resumed = bool(tls.session_reused)
        self._settled = f"{tls.version()}, {(tls.cipher() or ('no suite',))[0]}"

    def put(self, data: bytes) -> None:
        """Says something inside, if the handshake is complete."""
        if self.done:
            self._tls.write(data)

    def farewell(self) -> None:
        """Ends TLS as it should be ended (RFC 5246 7.2.1)."""
        if self.done:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()

    def outgoing(self) -> bytes:
        """Cipher text to send."""
        data = self._outgoing.read()
        if len(self._said) < KEPT:
            self._said += data
        return data
