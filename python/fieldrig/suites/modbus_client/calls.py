"""The calls that a driver can be asked for, with arguments that every client that has the call accepts.

`asked` is what a client has to send for one of them, made by hand.
"""

from __future__ import annotations

import struct
from typing import Any

EVERY_CALL: dict[str, dict[str, Any]] = {
    "read_coils": {"address": 3, "count": 19},
    "read_discrete_inputs": {"address": 0, "count": 2000},
    "read_holding": {"address": 0, "count": 125},
    "read_input": {"address": 100, "count": 1},
    "write_coil": {"address": 5, "value": True},
    "write_register": {"address": 6, "value": 0x1234},
    "write_coils": {"address": 7, "values": [True, False, True] * 656},
    "write_registers": {"address": 8, "values": list(range(123))},
    "mask_write": {"address": 9, "and_mask": 0x00F2, "or_mask": 0x0025},
    "read_write_registers": {"read_address": 3, "count": 6, "write_address": 14, "values": [255] * 121},
    "read_fifo": {"address": 24},
    "read_device_id": {"code": 1, "object": 0},
}

READS = {"read_coils": 1, "read_discrete_inputs": 2, "read_holding": 3, "read_input": 4}
"""Calls with address and count, and their functions."""


def asked(call: str, **arguments: Any) -> bytes | None:
    """The PDU of the request (AP 6); `None` where the client may choose how to ask (the identification)."""
    address, values = arguments.get("address", 0), arguments.get("values", ())
    if call in READS:
        return struct.pack(">BHH", READS[call], address, arguments["count"])
    if call == "write_coil":
        return struct.pack(">BHH", 5, address, 0xFF00 if arguments["value"] else 0)
    if call == "write_register":
        return struct.pack(">BHH", 6, address, arguments["value"])
    if call == "write_coils":
        packed = sum(bool(value) << index for index, value in enumerate(values))
        size = (len(values) + 7) // 8
        return struct.pack(">BHHB", 15, address, len(values), size) + packed.to_bytes(size, "little")
    if call == "write_registers":
        return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)
    if call == "mask_write":
        return struct.pack(">BHHH", 22, address, arguments["and_mask"], arguments["or_mask"])
    if call == "read_write_registers":
        head = (arguments["read_address"], arguments["count"], arguments["write_address"], len(values))
        return struct.pack(f">BHHHHB{len(values)}H", 23, *head, 2 * len(values), *values)
    return struct.pack(">BH", 24, address) if call == "read_fifo" else None
