"""What the right answers of our server say: a fixed memory, so that every value tells where it was read.

Nothing that is written is kept: rows must not depend on what happened before them.
"""

from __future__ import annotations

import struct

from .frames import Request


def register(function: int, address: int) -> int:
    """The register at an address: another one for each address and for each of the functions 03 and 04."""
    return (0x3000 if function == 3 else 0x4000) + (address * 7 + 1) % 0x1000


def bit(function: int, address: int) -> bool:
    """The coil (01) or discrete input (02) at an address."""
    return (address * address + address // 3 + function) % 5 < 2


def registers(function: int, address: int, count: int) -> tuple[int, ...]:
    return tuple(register(function, (address + index) % 0x10000) for index in range(count))


def bits(function: int, address: int, count: int) -> tuple[bool, ...]:
    return tuple(bit(function, (address + index) % 0x10000) for index in range(count))


def registers_pdu(function: int, values: tuple[int, ...]) -> bytes:
    """The answer to a read of registers."""
    return struct.pack(f">BB{len(values)}H", function, 2 * len(values) & 0xFF, *values)


def bits_pdu(function: int, values: tuple[bool, ...]) -> bytes:
    """The answer to a read of bits."""
    packed = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        packed[index // 8] |= value << index % 8
    return bytes([function, len(packed)]) + bytes(packed)


def fifo_pdu(values: tuple[int, ...]) -> bytes:
    """The answer to 24 Read FIFO Queue (AP 6.18)."""
    return struct.pack(f">BHH{len(values)}H", 24, 2 + 2 * len(values), len(values), *values)


FIFO = (0x2401, 0x2402, 0x2403)
IDENTIFICATION = {0: b"Maker", 1: b"Code", 2: b"1.0"}


def identification_pdu(code: int, objects: dict[int, bytes], following: int | None = None) -> bytes:
    """The answer to 43/14 (AP 6.21); `following`: the object that more follows with."""
    more = b"\x00\x00" if following is None else bytes([0xFF, following])
    body = b"".join(bytes([number, len(value)]) + value for number, value in objects.items())
    return bytes([43, 14, code, 0x01]) + more + bytes([len(objects)]) + body


def good(request: Request) -> bytes:
    """The PDU of the right answer; a function that we do not know gets exception 01."""
    pdu, function = request.pdu, request.function
    if function in (1, 2):
        return bits_pdu(function, bits(function, request.address, request.quantity))
    if function in (3, 4):
        return registers_pdu(function, registers(function, request.address, request.quantity))
    if function in (5, 6, 15, 16):
        return pdu[:5]
    if function == 22:
        return pdu
    if function == 23:
        return registers_pdu(23, registers(3, request.address, request.quantity))
    if function == 24:
        return fifo_pdu(FIFO)
    if function == 43 and len(pdu) == 4:
        return identification_pdu(pdu[2], IDENTIFICATION)
    return bytes([function | 0x80, 1])
