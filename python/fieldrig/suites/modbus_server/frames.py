"""Modbus/TCP bytes, built and taken apart by hand.

The suite does not use the codec it ships with: our own device must not pass because it shares a mistake with its judge.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER = 7
LONGEST_PDU = 253
READ_BITS = (1, 2)
READ_REGISTERS = (3, 4)


@dataclass(frozen=True)
class Adu:
    """An answer as it came, right or wrong."""

    raw: bytes
    """All its bytes."""

    @property
    def transaction(self) -> int:
        return int.from_bytes(self.raw[0:2], "big")

    @property
    def protocol(self) -> int:
        return int.from_bytes(self.raw[2:4], "big")

    @property
    def length(self) -> int:
        """What the length field says."""
        return int.from_bytes(self.raw[4:6], "big")

    @property
    def unit(self) -> int:
        return self.raw[6]

    @property
    def pdu(self) -> bytes:
        return self.raw[HEADER:]

    @property
    def function(self) -> int:
        return self.raw[HEADER]

    @property
    def exception(self) -> int | None:
        """The exception code, if bit 7 of the function code is set and a code follows."""
        return self.raw[HEADER + 1] if self.function & 0x80 and len(self.pdu) > 1 else None

    def says(self) -> str:
        """The answer in a few words."""
        if self.function & 0x80:
            code = "no code" if self.exception is None else f"exception {self.exception:02X}"
            return f"{code} (PDU {self.pdu[:4].hex(' ').upper()})"
        return f"a normal answer of {len(self.pdu)} PDU bytes ({self.pdu[:6].hex(' ').upper()})"


def read_pdu(function: int, address: int, quantity: int) -> bytes:
    """A read request of one of the functions 01 to 04."""
    return struct.pack(">BHH", function, address, quantity)


def adu(pdu: bytes, *, transaction: int, unit: int, protocol: int = 0, length: int | None = None) -> bytes:
    """A request; `length` other than `None` is a lie in the length field."""
    stated = 1 + len(pdu) if length is None else length
    return struct.pack(">HHHB", transaction, protocol, stated, unit) + pdu


def data_bytes(function: int, quantity: int) -> int:
    """How many data bytes the normal answer to a read has."""
    return 2 * quantity if function in READ_REGISTERS else (quantity + 7) // 8


def is_normal(answer: Adu, function: int, quantity: int) -> bool:
    """It is the normal answer to a read of `quantity` items. The header is not looked at."""
    count = data_bytes(function, quantity)
    return answer.function == function and len(answer.pdu) == 2 + count and answer.pdu[1] == count % 256


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
        answers.append(Adu(data[position : position + extent]))
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
    function = view[HEADER]
    if function & 0x80:
        return HEADER + 2
    if function in READ_BITS + READ_REGISTERS and len(view) > HEADER + 1:
        return HEADER + 2 + view[HEADER + 1]
    return None
