"""Our server inside TLS: `TcpStation` with a `Tunnel` for each connection."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fieldrig.suites.common.outcome import Exchange

from ..station import How, TcpStation
from .certificates import Pki
from .tunnel import Stance, Tunnel

PATIENCE = 0.1
"""A server that says nothing ends the connection after so many seconds: a client need not wait for it for ever."""


class TlsStation(TcpStation):
    """A listening socket whose connections are inside TLS.

    Args:
        folder: where the certificates are made, or stand.
        trusted: PEM file with more CAs that may have signed the certificate of the client.
        names: hosts and addresses that our server is found at, beside 127.0.0.1 and localhost.
    """

    def __init__(
        self, host: str, port: int, folder: Path, trusted: Path | None = None, names: Sequence[str] = ()
    ) -> None:
        self.pki = Pki(folder, names)
        self._trusted = None if trusted is None else str(trusted)
        self._stance = Stance()
        self._context = self._stance.context(self.pki, self._trusted)
        self._tunnels: dict[int, Tunnel] = {}
        self.tunnels: list[Tunnel] = []
        """The connections of the row."""
        super().__init__(host, port, "tls")

    @property
    def url(self) -> str:
        return super().url.replace("tcp:", "tls:")

    def settings(self) -> dict[str, Any]:
        return {"ca": str(self.pki.ca), "cert": str(self.pki.client.cert), "key": str(self.pki.client.key)}

    @property
    def spoke_plainly(self) -> bytes:
        return next((tunnel.plain for tunnel in self.tunnels if tunnel.plain), b"")

    def renew(self, log: list[Exchange], line: str | None = None, stance: object = None) -> None:
        wanted = stance if isinstance(stance, Stance) else Stance()
        context = wanted.context(self.pki, self._trusted)
        with self._lock:
            super().renew(log, line)
            self._stance, self._context = wanted, context

    def corrupt(self, connection: int, data: bytes) -> None:
        """Sends what nobody can decrypt."""
        self.plan(time.monotonic(), connection, Broken(data))

    def _forget(self) -> None:
        super()._forget()
        self._tunnels.clear()
        self.tunnels = []

    def _read(self, number: int, connection: socket.socket) -> None:
        tunnel = self._tunnels.get(number)
        if tunnel is None:
            tunnel = self._tunnels[number] = Tunnel(self._stance, self._context)
            self.tunnels.append(tunnel)
            if self._stance.mute:
                self.plan(time.monotonic() + PATIENCE, number, "fin")
        super()._read(number, connection)

    def _take(self, connection: int, data: bytes) -> None:
        tunnel = self._tunnels[connection]
        before = tunnel.done
        inside = tunnel.take(data)
        self._flush(connection, tunnel)
        if tunnel.done != before or tunnel.failure or tunnel.plain:
            if not before and tunnel.hello is not None:
                self._note(connection, tunnel.hello.says())
            self._note(connection, tunnel.says())
        if inside:
            super()._take(connection, inside)
        if tunnel.fell:
            super()._end(connection, "fin")

    def _flush(self, connection: int, tunnel: Tunnel) -> bool:
        data = tunnel.outgoing()
        return not data or super()._write(connection, data)

    def _write(self, connection: int, data: bytes) -> bool:
        tunnel = self._tunnels.get(connection)
        if tunnel is None or not tunnel.done:
            return False
        with contextlib.suppress(ssl.SSLError):
            tunnel.put(bytes(data))
        sealed = tunnel.outgoing()
        if isinstance(data, Broken):
            sealed = sealed[:-1] + bytes([sealed[-1] ^ 0xFF])
        return super()._write(connection, sealed)

    def _end(self, connection: int, how: How) -> bool:
        tunnel = self._tunnels.get(connection)
        if how == "fin" and tunnel is not None and not tunnel.fell:
            tunnel.farewell()
            self._flush(connection, tunnel)
        return super()._end(connection, how)


class Broken(bytes):
    """Bytes that are damaged behind the encryption, so that nobody can decrypt them."""
