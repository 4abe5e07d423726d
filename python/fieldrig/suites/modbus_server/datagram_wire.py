"""The wire of the suite for servers on UDP: one ADU in each datagram (`udp://HOST:PORT`).

A datagram has no connection: what is called one here is a local port, so that answers find their way. Datagrams do not
stand in the trace of the run, only in its report.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from .server import Clock
from .wire import Arrival, Ending, Opener, WireError

LONGEST = 65536


def datagram_opener(url: str, clock: Clock) -> Opener:
    """Opens local ports for datagrams to a server."""
    parts = urlsplit(url)

    def connect(source: str | None) -> DatagramWire:
        try:
            return DatagramWire((parts.hostname or "", parts.port or 0), source, clock)
        except OSError as error:
            raise WireError("unreachable", error.strerror or str(error)) from error

    return connect


class DatagramWire:
    """A local port. See `wire.Wire`."""

    def __init__(self, address: tuple[str, int], source: str | None, clock: Clock) -> None:
        family, kind, _, _, target = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind)
        self._clock = clock
        self._refused = False
        if source is not None:
            self._socket.bind((source, 0))
        self._socket.connect(target)

    @property
    def ended(self) -> Ending | None:
        """Nothing ends; that nobody listens there is told by the machine that has the address."""
        return "reset" if self._refused else None

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        """All pieces in one datagram: a part of an ADU is no datagram."""
        at = self._clock.now()
        try:
            self._socket.send(b"".join(data for _, data in parts))
        except OSError:
            self._refused = True
            return None
        return at

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        data, first, reads = b"", 0.0, 0
        deadline = self._clock.now() + within
        while not self._refused and not (data and enough(data)):
            self._socket.settimeout(max(deadline - self._clock.now(), 1e-6))
            try:
                came = self._socket.recv(LONGEST)
            except TimeoutError:
                break
            except OSError:
                self._refused = True
                break
            first = first if data else self._clock.now()
            data, reads = data + came, reads + 1
        return Arrival(data, first, self._clock.now(), reads) if data else None

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        """Nobody is told."""
        if how != "half":
            self._socket.close()
