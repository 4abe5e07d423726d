"""A patch in front of a server that speaks TCP: a proxy on the loopback interface, for any client.

    with Proxy(opener, CARRIERS["tcp"], Patch(), clock) as proxy:
        ..    # a client connects to proxy.url

Rules of this file:
- Each client gets a connection to the server of its own; exchanges of all of them go through the patch one at a time.
- The bytes of a client are a request as soon as they are a whole one; what is none, as soon as nothing follows it.
- An end on one side ends the other.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

from ...common.ready import readable
from ..carriers import Carrier
from ..server import Clock
from ..wire import Opener, Wire, WireError
from .patch import Patch
from .wire import patched

LOOK = 0.005
"""How often the two sides are looked at (seconds)."""
REST = 0.03
"""How long the rest of a request is waited for (seconds)."""


class Proxy:
    """A server behind a patch, at `url`."""

    def __init__(self, opener: Opener, carrier: Carrier, patch: Patch, clock: Clock, give_up: float = 0.1) -> None:
        self._open = patched(opener, carrier, patch, clock, give_up)
        self._carrier = carrier
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LOOK)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="patching proxy")  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, WireError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = self._open(None)
            try:
                self._relay(client, wire)
            finally:
                wire.close("fin")

    def _relay(self, client: socket.socket, wire: Wire) -> None:
        held = b""
        writing = True
        while not self._over.is_set():
            ready = readable([client] if writing else [], REST if held else LOOK)
            fresh = client.recv(65536) if ready else b""
            held += fresh
            over = bool(ready) and not fresh
            if held and (not fresh or self._carrier.requests(held) is not None):
                with self._turn:
                    wire.send([(0.0, held)])
                held = b""
            if over:
                writing = False
                wire.close("half")
            with self._turn:
                arrival = wire.receive(lambda new: True, 0.0)
            if arrival is not None:
                client.sendall(arrival.data)
            elif wire.ended is not None:
                if wire.ended == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                return
