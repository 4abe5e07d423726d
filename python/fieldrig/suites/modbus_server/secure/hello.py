"""ClientHellos put together by hand, and what a server says to them before anything is encrypted.

Up to TLS 1.2 the first flight of a server is plain: version, suite, extensions, certificates, the request for one of
ours. So most of what a server negotiates can be judged without a handshake, also for offers that no library makes.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

TLS10, TLS11, TLS12 = 0x0301, 0x0302, 0x0303
SSL3 = 0x0300
RENEGOTIATION_INFO = 0xFF01
MAX_FRAGMENT_LENGTH = 1
SCSV = 0x00FF

GCM = (0xC02B, 0xC02F, 0xC02C, 0xC030)
"""ECDHE with AES-GCM: ECDSA and RSA, 128 and 256 bits."""
USUAL = (*GCM, 0xC023, 0xC027, 0xC024, 0xC028)
"""What a client offers that wants to be understood: these, and ECDHE with AES-CBC and SHA-2."""
ECDSA_AES128_GCM, RSA_AES128_GCM = 0xC02B, 0xC02F
NULL_ENCRYPTION = (0x003B, 0xC006, 0xC010, 0x0001, 0x0002)
"""Suites that do not encrypt."""
WEAK = (0x0000, *NULL_ENCRYPTION, 0x0004, 0x0005, 0x002F, 0x0035, 0xC009, 0xC00A, 0xC013, 0xC014)
"""No encryption, or MD5 or SHA-1 as MAC."""

ALERT, HANDSHAKE = 21, 22
SERVER_HELLO, CERTIFICATE, CERTIFICATE_REQUEST, DONE = 2, 11, 13, 14


@dataclass(frozen=True)
class Hello:
    """What is offered."""

    version: int = TLS12
    suites: Sequence[int] = USUAL
    extensions: Sequence[tuple[int, bytes]] = ()
    """Beside groups, point formats and signature algorithms."""

    def record(self) -> bytes:
        """The bytes that are sent first."""
        suites = b"".join(struct.pack(">H", suite) for suite in self.suites)
        usual = [
            (10, _vector16(struct.pack(">HHH", 29, 23, 24))),
            (11, b"\x01\x00"),
            (13, _vector16(bytes.fromhex("0403080408050806050304010501060102010203"))),
        ]
        listed = b"".join(struct.pack(">H", kind) + _vector16(data) for kind, data in (*usual, *self.extensions))
        tail = b"" if self.version == SSL3 else _vector16(listed)
        body = struct.pack(">H", self.version) + os.urandom(32) + b"\x00" + _vector16(suites) + b"\x01\x00" + tail
        message = b"\x01" + len(body).to_bytes(3, "big") + body
        return struct.pack(">BHH", HANDSHAKE, min(self.version, TLS10), len(message)) + message


@dataclass
class Flight:
    """What the server said, as far as it is plain."""

    version: int | None = None
    suite: int | None = None
    extensions: dict[int, bytes] = field(default_factory=dict)
    certificates: list[bytes] = field(default_factory=list)
    asks_for_certificate: bool = False
    complete: bool = False
    alert: int | None = None
    longest: int = 0
    """The most payload that a record has."""
    raw: bytes = b""
    ended: bool = False
    """It ended the connection."""

    @property
    def accepted(self) -> bool:
        """It chose a version and a suite."""
        return self.version is not None

    def says(self) -> str:
        """In words."""
        if self.accepted:
            return f"ServerHello with version {self.version:04X}, suite {self.suite:04X}"
        if self.alert is not None:
            return f"alert {self.alert}"
        if self.raw:
            return f"{len(self.raw)} bytes: {self.raw[:12].hex(' ')}"
        return "the end of the connection" if self.ended else "nothing"


def flight(address: tuple[str, int], hello: Hello, within: float) -> Flight:
    """Sends a hello and reads the answer until it is complete, the connection ends or nothing comes.

    Raises `OSError`.
    """
    with socket.create_connection(address, timeout=within) as connection:
        connection.sendall(hello.record())
        found, raw = Flight(), b""
        while not found.complete and found.alert is None:
            try:
                more = connection.recv(65536)
            except TimeoutError:
                break
            except ConnectionError:
                found.ended = True
                break
            if not more:
                found.ended = True
                break
            raw += more
            found = read(raw)
        return found


def read(raw: bytes) -> Flight:
    """Takes apart what a server said."""
    found, handshake, at = Flight(raw=raw), b"", 0
    while len(raw) - at >= 5:
        kind, _, length = struct.unpack(">BHH", raw[at : at + 5])
        payload = raw[at + 5 : at + 5 + length]
        if len(payload) < length:
            break
        at += 5 + length
        if kind == ALERT and length == 2:
            found.alert = payload[1]
            break
        if kind != HANDSHAKE:
            break
        found.longest = max(found.longest, length)
        handshake += payload
    _messages(handshake, found)
    return found


def _messages(data: bytes, found: Flight) -> None:
    while len(data) >= 4:
        kind, length = data[0], int.from_bytes(data[1:4], "big")
        body = data[4 : 4 + length]
        if len(body) < length:
            return
        data = data[4 + length :]
        if kind == SERVER_HELLO:
            _server_hello(body, found)
        elif kind == CERTIFICATE:
            found.certificates = _certificates(body)
        elif kind == CERTIFICATE_REQUEST:
            found.asks_for_certificate = True
        elif kind == DONE:
            found.complete = True


def _server_hello(body: bytes, found: Flight) -> None:
    found.version = int.from_bytes(body[0:2], "big")
    at = 35 + body[34]
    found.suite = int.from_bytes(body[at : at + 2], "big")
    rest = body[at + 5 :]
    while len(rest) >= 4:
        kind, length = struct.unpack(">HH", rest[:4])
        found.extensions[kind] = rest[4 : 4 + length]
        rest = rest[4 + length :]


def _certificates(body: bytes) -> list[bytes]:
    found, rest = [], body[3:]
    while len(rest) >= 3:
        length = int.from_bytes(rest[:3], "big")
        found.append(rest[3 : 3 + length])
        rest = rest[3 + length :]
    return found


def _vector16(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
