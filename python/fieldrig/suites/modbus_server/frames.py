"""PDUs, built and taken apart by hand; and an answer as rows see it, whatever carried it.

The suite does not use the codec it ships with: our own device must not pass because it shares a mistake with its judge.
`carriers` has the frames around a PDU.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LONGEST_PDU = 253
READ_BITS = (1, 2)
READ_REGISTERS = (3, 4)


@dataclass(frozen=True)
class Adu:
    """An answer as it came, right or wrong, cut out and taken apart by its carrier."""

    raw: bytes
    """All its bytes."""
    unit: int
    pdu: bytes
    """Never empty."""
    transaction: int = 0
    """0 where the carrier has none; likewise the next two."""
    protocol: int = 0
    length: int = 0
    """What the length field says."""
    problem: str | None = None
    """What is wrong with it as a frame; an answer with a problem is no answer to anybody."""

    @property
    def function(self) -> int:
        return self.pdu[0]

    @property
    def exception(self) -> int | None:
        """The exception code, if bit 7 of the function code is set and a code follows."""
        return self.pdu[1] if self.function & 0x80 and len(self.pdu) > 1 else None

    def says(self) -> str:
        """The answer in a few words."""
        if self.problem is not None:
            return f"no frame: {self.problem}"
        if self.function & 0x80:
            code = "no code" if self.exception is None else f"exception {self.exception:02X}"
            return f"{code} (PDU {self.pdu[:4].hex(' ').upper()})"
        return f"a normal answer of {len(self.pdu)} PDU bytes ({self.pdu[:6].hex(' ').upper()})"


def read_pdu(function: int, address: int, quantity: int) -> bytes:
    """A read request of one of the functions 01 to 04."""
    return struct.pack(">BHH", function, address, quantity)


def data_bytes(function: int, quantity: int) -> int:
    """How many data bytes the normal answer to a read has."""
    return 2 * quantity if function in READ_REGISTERS else (quantity + 7) // 8


def is_normal(answer: Adu, function: int, quantity: int) -> bool:
    """It is the normal answer to a read of `quantity` items. Header and unit are not looked at."""
    count = data_bytes(function, quantity)
    pdu = answer.pdu
    return answer.function == function and len(pdu) == 2 + count and pdu[1] == count % 256


def answer_length(pdu: bytes) -> int | None:
    """How long an answer is whose PDU begins with these bytes; `None` if they do not tell, or not yet."""
    if not pdu:
        return None
    function = pdu[0]
    if function & 0x80:
        return 2
    fixed = {5: 5, 6: 5, 7: 2, 11: 5, 15: 5, 16: 5, 22: 7}
    if function in fixed:
        return fixed[function]
    if function in (1, 2, 3, 4, 12, 17, 20, 21, 23) and len(pdu) > 1:
        return 2 + pdu[1]
    if function == 24 and len(pdu) > 2:
        return 3 + int.from_bytes(pdu[1:3], "big")
    return None
