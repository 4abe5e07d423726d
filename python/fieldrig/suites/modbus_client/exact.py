"""RTU on a wire in memory, on virtual time: where the silences between frames, and inside them, are known exactly.

Only clients that live in this process and take a rig can be judged here: fieldrig's own. What answers is fieldrig's
emulated device, because this station judges when requests come, not what becomes of answers; scripts have no say.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fieldrig.suites.common.outcome import Exchange

from . import memory
from .frames import Request
from .station import LINE, How, Script, Sent, Station

CHARACTERS = 3.5
GAP = 1.5


class WireStation(Station):
    """A wire with a device on it, and a monitor that reads along."""

    exact = True

    def __init__(self) -> None:
        super().__init__("wire")
        self._open()

    def _open(self) -> None:
        from fieldrig import Rig, modbus

        self._character = 11 / int(self.line.partition("+")[0])
        self._stack = contextlib.ExitStack()
        self._rig = self._stack.enter_context(Rig(clock="virtual", trace="counts"))
        self._rig.add_wire("line", self.line.replace("+", " ").replace("8N1", "8E1"))
        self._monitor = self._stack.enter_context(modbus.Monitor("wire://line", rig=self._rig))
        words = {0: [memory.register(3, address) for address in range(1024)]}
        self._stack.enter_context(modbus.Device("wire://line", unit=1, holding=words, rig=self._rig))
        self._seen = 0

    @property
    def url(self) -> str:
        return "wire://line"

    @property
    def shortest_silence(self) -> float:
        return CHARACTERS * self._character

    def play(self, script: Script) -> None:
        """The device answers as it does."""

    def renew(self, log: list[Exchange], line: str | None = None, stance: object = None) -> None:
        self._shut()
        self._forget()
        self._log = log
        self.line = line or LINE
        self._open()

    def hang_up(self) -> None:
        """There is no connection."""

    def settings(self) -> dict[str, Any]:
        return {"rig": self._rig}

    def is_open(self, connection: int) -> bool:
        return True

    def silence(self, earliest: float, ended: float, request: Request) -> tuple[float, float]:
        exactly = request.began - ended
        return exactly, exactly

    def gap_inside(self) -> str | None:
        for request in self.requests:
            took = request.at - request.began
            longest = (len(request.raw) + GAP) * self._character
            if took > longest + 1e-6:
                return f"a request of {len(request.raw)} bytes took {took * 1000:.2f} ms: there are gaps inside it"
        return None

    def look(self) -> None:
        self._monitor.look()
        observed = self._monitor.observations()
        for seen in observed[self._seen :]:
            at, began = seen.at.latest, seen.begins.latest - self._character
            if seen.kind == "request":
                raw = seen.bytes
                self.requests.append(Request(raw, raw[0], raw[1:-2], connection=1, began=began, at=at))
                self._log.append(Exchange(1, "received", at, raw))
            elif seen.kind == "response":
                self.sent.append(Sent(at, 1, seen.bytes))
                self._log.append(Exchange(1, "sent", at, seen.bytes))
        self._seen = len(observed)

    def close(self) -> None:
        self._shut()
        self._woken.close()
        self._waker.close()

    def _shut(self) -> None:
        self._stack.close()

    def _poll(self, wait: float | None) -> None:
        """Nothing to wait for."""

    def _write(self, connection: int, data: bytes) -> bool:
        return False

    def _end(self, connection: int, how: How) -> bool:
        return False

    def _drop_all(self) -> None:
        """Nothing to drop."""
