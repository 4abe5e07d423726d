"""The personality of grumpy.toml, in Python."""

from fieldrig import Rig, modbus

PERSONALITY = [
    {"when": {"address": "90-99"}, "exception": "illegal_address"},
    {"when": {"address": 80}, "busy": 2},
    {"when": {"quantity": "10-125"}, "short": "3 registers"},
    {"name": "slow", "when": {"address": 20}, "delay": "250ms"},
    {"when": {"address": 30}, "transaction": "+1"},
    {"when": {"address": 40}, "pace": "2ms"},
    {"when": {"table": "holding", "address": 50}, "value": {"ramp": [0, 1000], "over": "10s"}},
]


def grumpy(url: str, rig: Rig) -> modbus.Device:
    """The device, running."""
    return modbus.Device(url, holding={0: [7] * 100}, rules=PERSONALITY, seed=7, rig=rig)
