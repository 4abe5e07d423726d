"""A server of the field, tokio-modbus, behind the server of this suite.

The client under test is connected to our station as in all rows; each of its requests goes on to tokio-modbus as it
came, and what that answers comes back as it is. So the bytes stand in the report, inside TLS as well.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from fieldrig.modbus import StockServer

from .client import UNIT
from .frames import Request
from .station import Reply

LONGEST = 300
"""No answer is longer than this (bytes)."""
CONNECTING = 5.0
"""How long a connection to it may take, on this machine (seconds)."""


class FieldServer:
    """tokio-modbus as a server, for one row.

    Args:
        carrier: what the client is judged on.
        tables: what the server has, as for `StockServer`.
    """

    def __init__(self, carrier: str, tables: Mapping[str, Mapping[int, list[int]]]) -> None:
        framing = "tcp" if carrier in ("tcp", "tls") else "rtu+tcp"
        self._stock = StockServer(f"{framing}://127.0.0.1:0", unit=UNIT, **tables)  # type: ignore[arg-type]
        host, port = self._stock.url.partition("://")[2].rsplit(":", 1)
        self._address = host, int(port)
        self._links: dict[int, _Link] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for link in self._links.values():
            link.close()
        self._stock.close()

    def script(self, request: Request, reply: Reply) -> None:
        """Lets tokio-modbus answer."""
        link = self._links.get(request.connection)
        if link is None:
            link = self._links[request.connection] = _Link(self._address)
        link.ask(request.raw, reply)

    def answers(self, within: float) -> bool:
        """Whether it has answered the latest request, or does so in this time (seconds)."""
        return any(link.answered.wait(within) for link in list(self._links.values())[-1:])

    def holds(self, table: str, address: int, count: int) -> tuple[int, ...]:
        """What stands there now."""
        return self._stock.get(table, address, count)


class _Link:
    """A connection of the client, as tokio-modbus has it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, CONNECTING)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reply: Reply | None = None
        self.answered = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokio-modbus of the suite", daemon=True)
        self._thread.start()

    def ask(self, request: bytes, reply: Reply) -> None:
        self._reply = reply
        self.answered.clear()
        with contextlib.suppress(OSError):  # it has ended the connection, and so has the client's end
            self._socket.sendall(request)

    def close(self) -> None:
        self._reply = None
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                data = self._socket.recv(LONGEST)
            except OSError:
                data = b""
            reply = self._reply
            if reply is not None and data:
                reply.raw(data)
                self.answered.set()
            elif reply is not None:
                reply.end()
            if not data:
                return
