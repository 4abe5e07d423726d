"""Connections to a server with TLS, by the standard library: what ordinary rows talk over, and handshakes to judge.

The certificate of the server is not verified here: rows about it look at it themselves, and no other row is to fall
because of it.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...common.ready import readable
from ..wire import Arrival, Ending, Opener, WireError
from .pki import NOW, Authority, Identity, Pki

CONNECT = 5.0
"""How long a connection and its handshake may take (seconds)."""


@dataclass(frozen=True)
class Offer:
    """What a client brings to a handshake."""

    identity: Identity | None
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    suites: str | None = None
    """For TLS 1.2, by the names of OpenSSL."""
    tickets: bool = True

    def context(self) -> ssl.SSLContext:
        """For as many connections as wanted; sessions can be resumed between them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = self.newest
        if self.suites is not None:
            context.set_ciphers(self.suites)
        if not self.tickets:
            context.options |= ssl.OP_NO_TICKET
        if self.identity is not None:
            context.load_cert_chain(self.identity.cert, self.identity.key)
        return context


class Refused(Exception):
    """The server refused the handshake; the text says how."""


@dataclass(frozen=True)
class Target:
    """A server, who signs the certificates it accepts, and where ours are made."""

    address: tuple[str, int]
    pki: Pki
    clients: Authority

    def client(self, name: str, *extensions: str, dates: tuple[str, str] = NOW) -> Identity:
        """A certificate that the server has to accept, unless its dates say otherwise."""
        return self.pki.identity(name, self.clients, extensions=tuple(extensions), dates=dates)

    def stranger(self) -> Identity:
        """A certificate of a CA that the server cannot know."""
        return self.pki.identity("stranger", self.pki.authority("strange CA"))

    def connect(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
        """A connection whose handshake is done. Raises `Refused`, `WireError`."""
        try:
            plain = socket.create_connection(self.address, timeout=CONNECT)
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError)
            raise WireError("refused" if refused else "unreachable", str(error)) from error
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return context.wrap_socket(plain, session=session)
        except (ssl.SSLError, OSError) as error:
            plain.close()
            raise Refused(says(error)) from error

    def opener(self, identity: Identity | None) -> Opener:
        """Connections for ordinary rows."""
        context = Offer(identity).context()

        def connect(source: str | None) -> TlsWire:
            del source  # an access list is judged on plain TCP
            try:
                return TlsWire(self.connect(context))
            except Refused as refused:
                raise WireError("refused", f"the TLS handshake was refused: {refused}") from refused

        return connect


def says(error: BaseException) -> str:
    """An error of a handshake in a few words: the alert, if there was one."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return str(error) or type(error).__name__


class TlsWire:
    """A connection to the server under test. See `wire.Wire`."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._ended: Ending | None = None

    @property
    def ended(self) -> Ending | None:
        return self._ended

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        try:
            for pause, data in parts:
                if pause > 0:
                    time.sleep(pause)
                self._connection.settimeout(CONNECT)
                self._connection.sendall(data)
        except (ssl.SSLError, OSError):
            return None
        return time.monotonic()

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        data, reads, first, last = b"", 0, 0.0, 0.0
        deadline = time.monotonic() + within
        while self._ended is None and not (data and enough(data)):
            more = self._read(deadline - time.monotonic())
            if more is None:
                break
            last = time.monotonic()
            first = first if data else last
            data, reads = data + more, reads + 1
        return Arrival(data, first, last, reads) if data else None

    def _read(self, within: float) -> bytes | None:
        """What comes next; `None` if nothing does, or the connection ended."""
        if not self._connection.pending():
            ready = readable([self._connection], within)
            if not ready:
                return None
        self._connection.settimeout(max(within, 0.01))
        try:
            data = self._connection.recv(65536)
        except TimeoutError:
            return None
        except (ssl.SSLError, OSError) as error:
            self._ended = "finished" if isinstance(error, ssl.SSLEOFError) else "reset"
            return None
        if not data:
            self._ended = "finished"
            return None
        return data

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        if how == "half":
            with suppress(OSError):  # that of the TLS socket would take TLS off the other direction, too
                socket.socket.shutdown(self._connection, socket.SHUT_WR)
            return
        if how == "rst":
            with suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            with suppress(OSError, ValueError):
                self._connection.settimeout(0.0)
                self._connection.unwrap()
        self._connection.close()


def target(url_address: tuple[str, int], ca: Path, ca_key: Path, folder: Path) -> Target:
    """A target whose clients are certified by the CA in these files."""
    return Target(url_address, Pki(folder), Authority(ca, ca_key))
