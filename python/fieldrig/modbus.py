"""Modbus: client, emulated device, monitor, and ADUs as bytes. TCP and RTU.

::

    from fieldrig import modbus

    with modbus.Device(holding={0: [230, 231]}, input={0: [7]}) as meter, modbus.Client(meter.url) as client:
        answer = client.read_holding(0, 2)
        assert answer.values == (230, 231)
        print(answer.latency, answer.request.hex(" "), answer.response.hex(" "))

The classes are those of the native core; their signatures and docstrings stand in `fieldrig/_core/modbus.pyi`.

URLs: `tcp://host:port`, `rtu:///dev/ttyUSB0?line=9600+8E1` (a serial port or pty), `rtu+tcp://host:port` (RTU frames
through a serial server). Device only: `tcp://127.0.0.1:0` (a free port), `pty://?line=9600+8E1` (a new pty).
"""

from __future__ import annotations

from fieldrig._core.modbus import (
    GATEWAY_HABITS,
    HABITS,
    Answer,
    Client,
    Device,
    Gateway,
    Monitor,
    Observation,
    Reading,
    adu_rtu,
    adu_tcp,
    crc16,
    describe_points,
    dissect_ascii,
    dissect_rtu,
    dissect_tcp,
)

__all__ = [
    "GATEWAY_HABITS",
    "HABITS",
    "Answer",
    "Client",
    "Device",
    "Gateway",
    "Monitor",
    "Observation",
    "Reading",
    "adu_rtu",
    "adu_tcp",
    "crc16",
    "describe_points",
    "dissect_ascii",
    "dissect_rtu",
    "dissect_tcp",
]
