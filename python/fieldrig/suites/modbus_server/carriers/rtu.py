"""Modbus RTU: unit id, PDU, CRC with its low byte first (SL 2.5.1.2); on a line, or inside TCP.

An answer ends where the length that its first bytes predict ends, if the CRC is right there; else by silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..frames import Adu, answer_length

SHORTEST = 4
LONGEST = 256


@dataclass(frozen=True)
class Rtu:
    """The framing of Modbus RTU."""

    name: str
    line: bool

    def request(
        self, pdu: bytes, *, unit: int, transaction: int = 0, protocol: int = 0, length: int | None = None
    ) -> bytes:
        return framed(unit, pdu)

    def answer(self, pdu: bytes, request: bytes) -> bytes:
        return framed(request[0], pdu)

    def split(self, data: bytes, *, complete: bool) -> list[Adu]:
        answers: list[Adu] = []
        rest = data
        while (length := _whole(rest)) is not None:
            answers.append(taken_apart(rest[:length]))
            rest = rest[length:]
        return [*answers, taken_apart(rest)] if rest and complete else answers

    def disputed(self, data: bytes) -> bool:
        if len(data) < SHORTEST:
            return False
        length = answer_length(data[1:])
        if length is None:
            return data[1] != 24 or len(data) > 3
        return len(data) >= length + 3 and _whole(data) is None

    def plausible(self, data: bytes) -> bool:
        # USB adapters and busy machines make pauses where the wire had none: then the CRC is not right yet.
        return all(answer.problem is None for answer in self.split(data, complete=True))

    def requests(self, data: bytes) -> list[tuple[bytes, int, bytes]] | None:
        frame = taken_apart(data) if data else None
        return None if frame is None or frame.problem else [(data, frame.unit, frame.pdu)]

    def dissect(self, data: bytes, sender: Literal["client", "server"]) -> list[str]:
        from fieldrig import modbus

        frames = [answer.raw for answer in self.split(data, complete=True)] if sender == "server" else [data]
        return [modbus.dissect_rtu(frame, sender).render() for frame in frames]


def crc(data: bytes) -> int:
    """The CRC of Modbus RTU: polynomial A001h, from FFFFh (SL 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def framed(unit: int, pdu: bytes) -> bytes:
    """A frame that is right."""
    body = bytes([unit]) + pdu
    return body + crc(body).to_bytes(2, "little")


def taken_apart(frame: bytes) -> Adu:
    """Bytes that came between two silences, right or wrong."""
    problem = None
    right = crc(frame[:-2]).to_bytes(2, "little")
    if not SHORTEST <= len(frame) <= LONGEST:
        problem = f"{len(frame)} bytes, a frame has {SHORTEST} to {LONGEST}"
    elif frame[-2:] != right:
        swapped = " (its bytes are swapped)" if frame[-2:] == right[::-1] else ""
        problem = f"the CRC is {frame[-2:].hex(' ')}{swapped}, the bytes before it give {right.hex(' ')}"
    return Adu(frame, frame[0], frame[1:-2] or frame, problem=problem)


def _whole(data: bytes) -> int | None:
    """The length of the frame at the beginning, if its length is predictable and its CRC right."""
    length = answer_length(data[1:])
    if length is None or len(data) < length + 3:
        return None
    return length + 3 if taken_apart(data[: length + 3]).problem is None else None
