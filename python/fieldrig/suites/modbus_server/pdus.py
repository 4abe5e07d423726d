"""Request PDUs built by hand, and what stands in answers to them.

As in `frames.py`, nothing of the codec that the suite ships with is used. Every builder takes the fields apart that a
correct client would derive (byte counts), so that a row can state them wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

ON, OFF = 0xFF00, 0x0000
"""The two values that function 05 knows (AP 6.5)."""


def write_coil(address: int, value: int) -> bytes:
    """05 (0x05) Write Single Coil."""
    return struct.pack(">BHH", 5, address, value)


def write_register(address: int, value: int) -> bytes:
    """06 (0x06) Write Single Register."""
    return struct.pack(">BHH", 6, address, value)


def write_coils(address: int, data: bytes, *, quantity: int, count: int | None = None) -> bytes:
    """15 (0x0F) Write Multiple Coils; `count` other than `None` is the byte count it states."""
    stated = len(data) if count is None else count
    return struct.pack(">BHHB", 15, address, quantity, stated) + data


def write_registers(
    address: int, values: Sequence[int] | bytes, *, quantity: int | None = None, count: int | None = None
) -> bytes:
    """16 (0x10) Write Multiple Registers; `quantity` and `count` other than `None` are what it states."""
    data = values if isinstance(values, bytes) else words(values)
    stated = len(data) // 2 if quantity is None else quantity
    return struct.pack(">BHHB", 16, address, stated, len(data) if count is None else count) + data


def mask_write(address: int, and_mask: int, or_mask: int) -> bytes:
    """22 (0x16) Mask Write Register."""
    return struct.pack(">BHHH", 22, address, and_mask, or_mask)


def read_write(
    read: tuple[int, int],
    address: int,
    values: Sequence[int],
    *,
    quantity: int | None = None,
    count: int | None = None,
) -> bytes:
    """23 (0x17) Read/Write Multiple Registers: `read` is address and quantity of what is read."""
    data = words(values)
    stated = len(values) if quantity is None else quantity
    return struct.pack(">BHHHHB", 23, *read, address, stated, len(data) if count is None else count) + data


def read_records(groups: Sequence[tuple[int, int, int]], *, count: int | None = None, reference: int = 6) -> bytes:
    """20 (0x14) Read File Record: file, first record and number of records of each group; `count` other than `None` is
    the byte count it states."""
    data = b"".join(struct.pack(">BHHH", reference, *group) for group in groups)
    return bytes([20, len(data) if count is None else count]) + data


def write_records(
    groups: Sequence[tuple[int, int, Sequence[int]]], *, count: int | None = None, reference: int = 6
) -> bytes:
    """21 (0x15) Write File Record: file, first record and values of each group."""
    data = b"".join(
        struct.pack(">BHHH", reference, number, first, len(values)) + words(values) for number, first, values in groups
    )
    return bytes([21, len(data) if count is None else count]) + data


def words(values: Sequence[int]) -> bytes:
    """Registers as they go over the wire."""
    return struct.pack(f">{len(values)}H", *values)


def registers(data: bytes) -> list[int]:
    """Data bytes as registers."""
    return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))


def packed(bits: Sequence[int]) -> bytes:
    """Bits as they go over the wire: the first is bit 0 of the first byte (AP 6.1)."""
    data = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        data[index // 8] |= (1 if bit else 0) << (index % 8)
    return bytes(data)


def bits(data: bytes, quantity: int) -> list[int]:
    """The first bits of data bytes."""
    return [data[index // 8] >> (index % 8) & 1 for index in range(quantity)]
