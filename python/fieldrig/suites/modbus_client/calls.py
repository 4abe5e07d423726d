"""The calls that a driver can be asked for, with arguments that every client that has the call accepts."""

from __future__ import annotations

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
