"""Where a server is and what carries its PDUs, as users write it: `tcp://HOST:PORT`, `rtu:///dev/ttyUSB0?line=9600+8E1`.

URLs are those of `fieldrig.modbus.Client`, and read by the same parser. Only `tls://` is read by `secure/place.py`: its
certificates are those of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fieldrig.errors import UsageError

from .carriers import CARRIERS, Carrier
from .datagram_wire import datagram_opener
from .secure.place import address, identity_of
from .server import Timing
from .silences import Silences, silences
from .stream_wire import clock_of, line_opener, opener
from .wire import Opener

if TYPE_CHECKING:
    from fieldrig import Rig

UNCALIBRATED = {"serial": 0.020, "rfc2217": 0.100}
"""How fine the instants of a port are that nobody calibrated: USB adapters deliver in lumps of 16 ms, serial servers
over a network (seconds)."""

LINES = ("serial", "wire", "rfc2217")
"""Ports that are one wire."""
STREAMS = ("tcp", "unix", "memory")
"""Ports that are connections."""

EXAMPLES = (
    "tcp://192.0.2.7:502, rtu:///dev/ttyUSB0?line=19200+8E1, ascii:///dev/ttyUSB0?line=9600+7E1, rtu+tcp://HOST:PORT, "
    "rtu+rfc2217://HOST:PORT?line=9600+8E1"
)


@dataclass(frozen=True)
class Place:
    """Where a server is."""

    url: str
    carrier: Carrier
    stream: str
    """URL of the bytes."""
    silences: Silences | None = None
    """Of the line, if it is one with a speed."""
    resolution: float = 0.0
    """How far apart two instants of the port must be to be told apart (seconds)."""

    def timing(self, timing: Timing) -> Timing:
        """With the time that the longest request and answer take on the line."""
        return timing if self.silences is None else timing.on_line(self.silences)

    def opener(self, rig: Rig, timing: Timing) -> Opener:
        """How connections to it are made."""
        protocol = "modbus-tcp" if self.carrier.name in ("tcp", "tls", "udp") else f"modbus-{self.carrier.name[:3]}"
        if self.carrier.line:
            quick = self.silences or Silences(0.0, 0.0, 0.0)
            return line_opener(self.stream, rig, quick, timing.settle, protocol.replace("asc", "ascii"))
        if self.carrier.name == "udp":
            return datagram_opener(self.stream, clock_of(rig))
        return opener(self.stream, rig, protocol.replace("asc", "ascii"))


def parse(url: str, line: str | None = None, resolution: float | None = None) -> Place:
    """Reads the URL of a server; `line` is that of a wire in memory.

    Raises `UsageError`.
    """
    from fieldrig._core.modbus import read_url

    if url.startswith("tls://"):
        address(url), identity_of(url)
        return Place(url, CARRIERS["tls"], url)
    protocol, stream, settings = read_url(url)
    port = stream.partition("://")[0]
    name = _carrier(protocol.removeprefix("modbus-"), port)
    if name is None:
        raise UsageError(f"{url!r} is no address of a server that could be judged", hint=f"write it like {EXAMPLES}")
    fine = UNCALIBRATED.get(port, 0.0) if resolution is None else resolution
    return Place(url, CARRIERS[name], stream, _silences(name, settings if line is None else line), fine)


def _carrier(framing: str, port: str) -> str | None:
    """What carries PDUs, by framing and port; `None` if no row knows it."""
    if framing in ("rtu", "ascii"):
        return framing if port in LINES else f"{framing}+tcp" if port in STREAMS else None
    return framing if (framing, port) == ("udp", "udp") or (framing == "tcp" and port in STREAMS) else None


def _silences(carrier: str, line: str | None) -> Silences | None:
    """Those of RTU; ASCII has none between frames, and one second inside (SL 2.5.2.1)."""
    if line is None:
        return None
    times = silences(line)
    return replace(times, inside=1.0, between=0.0) if carrier == "ascii" else times
