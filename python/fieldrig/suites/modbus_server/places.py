"""Where a server is and what carries its PDUs, as users write it: `tcp://HOST:PORT`, `rtu:///dev/ttyUSB0?line=9600+8E1`.

The schemes are those of `fieldrig.modbus.Client`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

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

UNCALIBRATED = 0.020
"""How fine the instants of a port are that nobody calibrated: USB adapters deliver in lumps of 16 ms (seconds)."""

SCHEMES: dict[str, tuple[str, str]] = {
    "tcp": ("tcp", "tcp"),
    "tls": ("tls", "tls"),
    "udp": ("udp", "udp"),
    "rtu": ("rtu", "serial"),
    "serial": ("rtu", "serial"),
    "ascii": ("ascii", "serial"),
    "rtu+tcp": ("rtu+tcp", "tcp"),
    "ascii+tcp": ("ascii+tcp", "tcp"),
    "memory": ("tcp", "memory"),
    "wire": ("rtu", "wire"),
    "ascii+wire": ("ascii", "wire"),
}
"""Scheme: carrier, scheme of the raw byte stream."""

EXAMPLES = (
    "tcp://192.0.2.7:502, rtu:///dev/ttyUSB0?line=19200+8E1, ascii:///dev/ttyUSB0?line=9600+7E1, rtu+tcp://HOST:PORT"
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
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, 1)
        hint = f"did you mean {near[0]}://?" if near and found else f"write it like {EXAMPLES}"
        raise UsageError(f"{url!r} is no address of a server", hint=hint)
    name, bytes_of = SCHEMES[scheme]
    if bytes_of in ("tcp", "udp"):
        _check_address(url, rest)
    if bytes_of == "tls":
        address(url), identity_of(url)
    if bytes_of == "serial":
        line = _line(url, rest, name)
        rest = _with_line(rest, line)
    fine = UNCALIBRATED if bytes_of == "serial" else 0.0
    return Place(
        url,
        CARRIERS[name],
        f"{bytes_of}://{rest}",
        _silences(name, line),
        fine if resolution is None else resolution,
    )


def _silences(carrier: str, line: str | None) -> Silences | None:
    """Those of RTU; ASCII has none between frames, and one second inside (SL 2.5.2.1)."""
    if line is None:
        return None
    times = silences(line)
    return replace(times, inside=1.0, between=0.0) if carrier == "ascii" else times


def _check_address(url: str, rest: str) -> None:
    parts = urlsplit(f"tcp://{rest}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or port is None or parts.path not in ("", "/"):
        raise UsageError(f"{url!r} is no address of a server", hint="tcp://HOST:PORT, e.g. tcp://192.0.2.7:502")


def _line(url: str, rest: str, carrier: str) -> str:
    """Speed and format of a serial port, as its URL has them: `line=9600+8E1`, or one word for each."""
    path, _, query = rest.partition("?")
    fields = {key: values[0] for key, values in parse_qs(query).items()}
    if not path.startswith(("/", "usb:")):
        what = "is an address, not a serial port" if ":" in path else "is no serial port"
        hint = f"for frames inside a TCP connection write {url.partition(':')[0]}+tcp://{path}" if ":" in path else ""
        raise UsageError(f"{url!r}: `{path}` {what}", hint=hint or "write it like rtu:///dev/ttyUSB0?line=19200+8E1")
    line = fields.get("line", _line_of_keys(fields, carrier))
    if "line" not in fields and not set(fields) & set(_LINE_KEYS):
        raise UsageError(
            f"{url!r} does not say how the line is set", hint="write it like rtu:///dev/ttyUSB0?line=19200+8E1"
        )
    try:
        silences(line)
    except ValueError:
        raise UsageError(f"{url!r}: {line!r} is no setting of a line", hint="write it like 19200+8E1") from None
    return line


_LINE_KEYS = ("baud", "data", "parity", "stop")
"""Other words for `line`."""


def _line_of_keys(fields: Mapping[str, str], carrier: str) -> str:
    """What is not given is as the standard has it (SL 2.5.1, 2.5.2)."""
    data = fields.get("data", "7" if carrier == "ascii" else "8")
    parity = fields.get("parity", "even")[:1].upper()
    return f"{fields.get('baud', '19200')} {data}{parity}{fields.get('stop', '1')}"


def _with_line(rest: str, line: str) -> str:
    """The rest of the URL, in which `line` says speed and format."""
    path, _, query = rest.partition("?")
    others = [pair for pair in query.split("&") if pair and pair.partition("=")[0] not in ("line", *_LINE_KEYS)]
    return f"{path}?" + "&".join(["line=" + line.replace(" ", "+"), *others])
