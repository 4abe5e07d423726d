"""Requests as they come from the client under test, and answers to them, right or wrong: TCP, RTU and ASCII.

The suite does not use the codec it ships with: our own client must not pass because it shares a mistake with its judge.
Where the end of a request cannot be told from its bytes, silence tells it: `cut` says what it could not decide.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass

HEADER = 7
LONGEST_PDU = 253
FIXED = {1: 5, 2: 5, 3: 5, 4: 5, 5: 5, 6: 5, 7: 1, 11: 1, 12: 1, 17: 1, 22: 7, 24: 3, 43: 4}
"""Length of the PDU of a request, by function (AP 6)."""
COUNTED = {15: 5, 16: 5, 20: 1, 21: 1, 23: 9}
"""Where in the PDU of a request the byte count stands, by function (AP 6)."""


@dataclass(frozen=True)
class Request:
    """A request as it came, right or wrong."""

    raw: bytes
    """All its bytes."""
    unit: int
    pdu: bytes
    transaction: int = 0
    """Transaction id and protocol id, and what the length field says; 0 on serial lines."""
    protocol: int = 0
    length: int = 0
    connection: int = 0
    """On which connection it came; 1 is the first of the row."""
    began: float = 0.0
    """When its first byte was seen (monotonic clock, seconds)."""
    at: float = 0.0
    """When its last byte was seen."""

    @property
    def function(self) -> int:
        return self.pdu[0] if self.pdu else 0

    @property
    def address(self) -> int:
        return int.from_bytes(self.pdu[1:3], "big")

    @property
    def quantity(self) -> int:
        return int.from_bytes(self.pdu[3:5], "big")


def predicted(pdu: bytes) -> int | None:
    """How long the PDU of this request must be; `None` while, or because, that cannot be told."""
    if not pdu:
        return None
    function = pdu[0]
    if function in COUNTED:
        place = COUNTED[function]
        return place + 1 + pdu[place] if len(pdu) > place else None
    return FIXED.get(function)


@dataclass(frozen=True)
class Fields:
    """What stands around the PDU of an answer, right or wrong; a carrier takes what it has."""

    unit: int
    transaction: int
    protocol: int
    length: int
    check: int
    """By how much the CRC or LRC is wrong."""


class Framing(ABC):
    """How PDUs travel on one carrier."""

    def cut(self, data: bytes, quiet: bool) -> tuple[list[Request], bytes]:
        """Takes requests from the beginning of a stream, and gives what is left. `quiet`: no more came for a while."""
        requests = []
        while (found := self._first(data, quiet)) is not None:
            requests.append(found)
            data = data[len(found.raw) :]
        return requests, data

    def answer(
        self,
        request: Request,
        pdu: bytes,
        *,
        unit: int | None = None,
        transaction: int | None = None,
        protocol: int = 0,
        length: int | None = None,
        check: int = 0,
    ) -> bytes:
        """An answer; what is not given is right. `check` is by how much the CRC or LRC is wrong."""
        unit = request.unit if unit is None else unit
        transaction = request.transaction if transaction is None else transaction
        length = 1 + len(pdu) if length is None else length
        return self._frame(pdu, Fields(unit, transaction, protocol, length, check))

    @abstractmethod
    def _first(self, data: bytes, quiet: bool) -> Request | None:
        """The request that a stream begins with; `None` while, or because, there is none."""

    @abstractmethod
    def _frame(self, pdu: bytes, fields: Fields) -> bytes:
        """A PDU in its frame."""


class Tcp(Framing):
    """MBAP header and PDU (MG 3.1.3)."""

    def _first(self, data: bytes, quiet: bool) -> Request | None:
        if len(data) <= HEADER:
            return None
        stated = 6 + int.from_bytes(data[4:6], "big")
        length = predicted(data[HEADER:])
        extent = stated if length is None else HEADER + length
        whole = HEADER < extent <= len(data) and extent == stated
        if not whole and not quiet:
            return None
        raw = data[:extent] if whole else data  # the two disagree: everything that came is one request, and wrong
        return Request(raw, raw[6], raw[HEADER:], *struct.unpack(">HHH", raw[:6]))

    def _frame(self, pdu: bytes, fields: Fields) -> bytes:
        return struct.pack(">HHHB", fields.transaction, fields.protocol, fields.length, fields.unit) + pdu


class Rtu(Framing):
    """Unit, PDU, CRC, low byte first (SL 2.5.1)."""

    def _first(self, data: bytes, quiet: bool) -> Request | None:
        length = predicted(data[1:])
        extent = 3 + length if length is not None else len(data) if quiet else None
        if extent is None or not 3 < extent <= len(data):
            return None
        if crc(data[: extent - 2]) != int.from_bytes(data[extent - 2 : extent], "little"):
            return None
        return Request(data[:extent], data[0], data[1 : extent - 2])

    def _frame(self, pdu: bytes, fields: Fields) -> bytes:
        body = bytes([fields.unit]) + pdu
        return body + struct.pack("<H", crc(body) ^ fields.check)


class Ascii(Framing):
    """Colon, unit, PDU and LRC as hexadecimal digits, CR LF (SL 2.5.2)."""

    def _first(self, data: bytes, quiet: bool) -> Request | None:
        line, end, _ = data.partition(b"\r\n")
        body = _hex(line[line.rfind(b":") + 1 :]) if end and b":" in line else b""
        if len(body) < 3 or sum(body) % 256:
            return None
        return Request(line + end, body[0], body[1:-1])

    def _frame(self, pdu: bytes, fields: Fields) -> bytes:
        body = bytes([fields.unit]) + pdu
        body += bytes([(-sum(body) & 0xFF) ^ (fields.check & 0xFF)])
        return b":" + body.hex().upper().encode("ascii") + b"\r\n"


FRAMINGS: dict[str, Framing] = {"tcp": Tcp(), "rtu": Rtu(), "ascii": Ascii()}


def crc(data: bytes) -> int:
    """CRC-16 of RTU (SL 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


def _hex(digits: bytes) -> bytes:
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        return b""
