"""Modbus/TCP: a header with transaction id, protocol id, length and unit id, then the PDU."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from ..frames import Adu, answer_length

HEADER = 7


@dataclass(frozen=True)
class Tcp:
    """The framing of Modbus/TCP, in plain TCP or inside TLS."""

    name: str
    line: bool = False

    def request(
        self, pdu: bytes, *, unit: int, transaction: int = 0, protocol: int = 0, length: int | None = None
    ) -> bytes:
        return adu(pdu, transaction=transaction, unit=unit, protocol=protocol, length=length)

    def answer(self, pdu: bytes, request: bytes) -> bytes:
        return adu(pdu, transaction=int.from_bytes(request[0:2], "big"), unit=request[6])

    def split(self, data: bytes, *, complete: bool) -> list[Adu]:
        return split(data, complete=complete)

    def disputed(self, data: bytes) -> bool:
        return disputed(data)

    def plausible(self, data: bytes) -> bool:
        return True

    def requests(self, data: bytes) -> list[tuple[bytes, int, bytes]] | None:
        frames = messages(data)
        if any(len(frame) <= HEADER or len(frame) != _stated(frame) or frame[2:4] != b"\0\0" for frame in frames):
            return None
        return [(frame, frame[6], frame[HEADER:]) for frame in frames]

    def dissect(self, data: bytes, sender: Literal["client", "server"]) -> list[str]:
        from fieldrig import modbus

        return [modbus.dissect_tcp(frame, sender).render() for frame in messages(data)]


def adu(pdu: bytes, *, transaction: int, unit: int, protocol: int = 0, length: int | None = None) -> bytes:
    """A request; `length` other than `None` is a lie in the length field."""
    stated = 1 + len(pdu) if length is None else length
    return struct.pack(">HHHB", transaction, protocol, stated, unit) + pdu


def taken_apart(raw: bytes) -> Adu:
    """An answer of more than a header, right or wrong."""
    transaction, protocol, length, unit = struct.unpack(">HHHB", raw[:HEADER])
    return Adu(raw, unit, raw[HEADER:], transaction, protocol, length)


def messages(data: bytes) -> list[bytes]:
    """Cuts bytes of one direction into ADUs if their length fields account for every byte; else gives them whole."""
    cut: list[bytes] = []
    position = 0
    while len(data) - position > HEADER:
        end = position + _stated(data[position:])
        if end <= position + HEADER:
            break
        cut.append(data[position:end])
        position = end
    return cut if position == len(data) and cut else [data]


def split(data: bytes, *, complete: bool) -> list[Adu]:
    """Cuts a stream into answers; bytes that are no whole answer yet are left over.

    The end of an answer is where its length field says and the PDU agrees. Where the two disagree, more bytes could
    still settle it: nothing is cut until `complete` says that no more come; then what is there decides.
    """
    answers: list[Adu] = []
    position = 0
    while len(data) - position > HEADER:
        extent = _extent(data[position:], complete)
        if extent is None or extent > len(data) - position:
            break
        answers.append(taken_apart(data[position : position + extent]))
        position += extent
    return answers


def disputed(data: bytes) -> bool:
    """The length field of the answer at the beginning and its PDU disagree about where it ends."""
    if len(data) <= HEADER:
        return False
    predicted = _predicted(data)
    return predicted is not None and predicted != _stated(data)


def _stated(view: bytes) -> int:
    return 6 + int.from_bytes(view[4:6], "big")


def _extent(view: bytes, complete: bool) -> int | None:
    stated, predicted = _stated(view), _predicted(view)
    if predicted is None or predicted == stated:
        return max(stated, HEADER + 1)
    if not complete:
        return None
    if len(view) != stated and len(view) >= predicted:
        return predicted
    return max(stated, HEADER + 1)


def _predicted(view: bytes) -> int | None:
    length = answer_length(view[HEADER:])
    return None if length is None else HEADER + length
