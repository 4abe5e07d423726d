"""Modbus ASCII: a colon, unit id and PDU as upper-case hexadecimal digits, LRC, CR LF (SL 2.5.2); on a line, or in TCP.

An answer begins with a colon and ends with CR LF; what is anywhere else is a frame of its own, with a problem.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from ..frames import Adu

LONGEST = 513
END = b"\r\n"


@dataclass(frozen=True)
class Ascii:
    """The framing of Modbus ASCII."""

    name: str
    line: bool

    def request(
        self, pdu: bytes, *, unit: int, transaction: int = 0, protocol: int = 0, length: int | None = None
    ) -> bytes:
        return framed(unit, pdu)

    def answer(self, pdu: bytes, request: bytes) -> bytes:
        return framed(int(request[1:3], 16), pdu)

    def split(self, data: bytes, *, complete: bool) -> list[Adu]:
        *whole, rest = re.split(b"(?<=\r\n)", data)
        return [taken_apart(frame) for frame in [*whole, *([rest] if rest and complete else [])]]

    def disputed(self, data: bytes) -> bool:
        return bool(data) and data[:1] != b":"

    def plausible(self, data: bytes) -> bool:
        return True

    def requests(self, data: bytes) -> list[tuple[bytes, int, bytes]] | None:
        frames = self.split(data, complete=True)
        if not frames or any(frame.problem for frame in frames):
            return None
        return [(frame.raw, frame.unit, frame.pdu) for frame in frames]

    def dissect(self, data: bytes, sender: Literal["client", "server"]) -> list[str]:
        from fieldrig import modbus

        return [modbus.dissect_ascii(frame.raw, sender).render() for frame in self.split(data, complete=True)]


def lrc(data: bytes) -> int:
    """The two's complement of the sum of the bytes (SL 6.2.1)."""
    return -sum(data) & 0xFF


def framed(unit: int, pdu: bytes) -> bytes:
    """A frame that is right."""
    body = bytes([unit]) + pdu
    return b":" + (body + bytes([lrc(body)])).hex().upper().encode() + END


def taken_apart(frame: bytes) -> Adu:
    """Bytes up to an end of line, right or wrong. Lower-case digits are taken: a row says whether they may be."""
    problem = None
    digits = frame.removeprefix(b":").removesuffix(END)
    if not frame.startswith(b":"):
        problem = "it does not begin with a colon"
    elif not frame.endswith(END):
        problem = "it does not end with CR LF"
    elif not re.fullmatch(rb"(?:[0-9A-Fa-f]{2})*", digits):
        problem = "between colon and CR LF stands more, or less, than pairs of hexadecimal digits"
    elif not len(digits) // 2 >= 3 or len(frame) > LONGEST:
        problem = f"{len(frame)} characters, a frame has 9 to {LONGEST}"
    if problem is not None:
        return Adu(frame, 0, frame, problem=problem)
    octets = bytes.fromhex(digits.decode())
    if octets[-1] != lrc(octets[:-1]):
        problem = f"the LRC is {octets[-1]:02X}, the bytes before it give {lrc(octets[:-1]):02X}"
    return Adu(frame, octets[0], octets[1:-1], problem=problem)
