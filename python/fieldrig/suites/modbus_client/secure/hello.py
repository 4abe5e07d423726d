"""What a client says before anything is encrypted: its hello (RFC 5246 7.4.1.2, RFC 8446 4.1.2) and its certificates.

Up to TLS 1.2 the whole handshake but its last message is plain; of TLS 1.3 only the hello is. Lengths are walked; a
message that ends too early is as if it had not come.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

HANDSHAKE, APPLICATION, CHANGE = 22, 23, 20
CLIENT_HELLO, SERVER_HELLO, SESSION_TICKET, CERTIFICATE = 1, 2, 4, 11
GROUPS, POINT_FORMATS, SUPPORTED_VERSIONS, RENEGOTIATION_INFO = 10, 11, 43, 0xFF01
TLS12, TLS13 = 0x0303, 0x0304
SCSV = 0x00FF
"""The suite that means renegotiation_info (RFC 5746 3.3)."""
P256 = 23
AES128_GCM = 0xC02B
"""TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256."""
ECDSA = frozenset((*range(0xC006, 0xC00B), 0xC023, 0xC024, AES128_GCM, 0xC02C, *range(0xC0AC, 0xC0B0), 0xCCA9))
"""Suites for TLS 1.2 and servers with a key on an elliptic curve."""

WITHOUT_ENCRYPTION = frozenset((0x0000, 0x0001, 0x0002, 0x003B, 0xC001, 0xC006, 0xC00B, 0xC010, 0xC015, 0x00B0, 0x00B1))
"""Suites whose cipher is NULL (IANA)."""
COUNTER_MODE = frozenset(
    (0x1301, 0x1302, 0x1303, 0x1304, 0x1305, *range(0x009C, 0x00A8), *range(0xC02B, 0xC033), *range(0xC09C, 0xC0B0))
)
"""Suites with GCM or CCM, and those of TLS 1.3, which all are of that kind."""


@dataclass(frozen=True)
class Hello:
    """One ClientHello."""

    version: int
    """The legacy version; `versions` is what is offered."""
    session: bytes
    suites: tuple[int, ...]
    compressions: tuple[int, ...]
    extensions: dict[int, bytes] = field(default_factory=dict)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of TLS that are offered; without the extension all up to the one that is named."""
        listed = self.extensions.get(SUPPORTED_VERSIONS, b"")[1:]
        if not listed:
            return tuple(range(0x0301, self.version + 1))
        return struct.unpack(f">{len(listed) // 2}H", listed[: len(listed) // 2 * 2])

    @property
    def groups(self) -> tuple[int, ...]:
        listed = self.extensions.get(GROUPS, b"")[2:]
        return struct.unpack(f">{len(listed) // 2}H", listed[: len(listed) // 2 * 2])

    @property
    def points(self) -> tuple[int, ...]:
        return tuple(self.extensions.get(POINT_FORMATS, b"")[1:])

    def says(self) -> str:
        """In words."""
        versions = " ".join(f"{version:04X}" for version in self.versions)
        return f"ClientHello: versions {versions}, suites {' '.join(f'{suite:04X}' for suite in self.suites)}"


def records(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each whole record."""
    while len(raw) >= 5:
        length = int.from_bytes(raw[3:5], "big")
        if len(raw) < 5 + length:
            return
        yield raw[0], raw[5 : 5 + length]
        raw = raw[5 + length :]


def messages(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each handshake message that is plain."""
    data = b""
    for kind, payload in records(raw):
        if kind != HANDSHAKE:
            break
        data += payload
    while len(data) >= 4:
        length = int.from_bytes(data[1:4], "big")
        if len(data) < 4 + length:
            return
        yield data[0], data[4 : 4 + length]
        data = data[4 + length :]


def hello_of(raw: bytes) -> Hello | None:
    """The hello at the beginning of what a client sent."""
    kind, body = next(messages(raw), (0, b""))
    if kind != CLIENT_HELLO:
        return None
    try:
        return _hello(body)
    except (IndexError, struct.error):
        return None


def certificates_of(raw: bytes) -> int | None:
    """How many certificates the client sent; `None` if that is not plain (TLS 1.3) or did not come."""
    for kind, body in messages(raw):
        if kind == CERTIFICATE:
            rest, count = body[3:], 0
            while len(rest) >= 3:
                rest, count = rest[3 + int.from_bytes(rest[:3], "big") :], count + 1
            return count
    return None


def session_of(said: bytes) -> tuple[bytes, bytes]:
    """The session id (RFC 5246 7.4.1.3) and the ticket (RFC 5077 3.3) that a server gave, each empty if it gave none.

    Both are plain up to TLS 1.2.
    """
    session = ticket = b""
    for kind, body in messages(said):
        if kind == SERVER_HELLO and len(body) > 34:
            session = body[35 : 35 + body[34]]
        if kind == SESSION_TICKET:
            ticket = body[6 : 6 + int.from_bytes(body[4:6], "big")]
    return session, ticket


def _hello(body: bytes) -> Hello:
    at = 35 + body[34]
    session = body[35:at]
    size = int.from_bytes(body[at : at + 2], "big")
    suites = struct.unpack(f">{size // 2}H", body[at + 2 : at + 2 + size])
    at += 2 + size
    compressions = tuple(body[at + 1 : at + 1 + body[at]])
    rest, extensions = body[at + 3 + body[at] :], {}
    while len(rest) >= 4:
        kind, length = struct.unpack(">HH", rest[:4])
        extensions[kind] = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return Hello(int.from_bytes(body[:2], "big"), session, suites, compressions, extensions)
