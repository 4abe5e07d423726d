"""Modbus: client, emulated device, monitor, stock counterparts, and ADUs as bytes. TCP, TLS, UDP, RTU and ASCII.

::

    from fieldrig import modbus

    with modbus.Device(holding={0: [230, 231]}, input={0: [7]}) as meter, modbus.Client(meter.url) as client:
        answer = client.read_holding(0, 2)
        assert answer.values == (230, 231)
        print(answer.latency, answer.request.hex(" "), answer.response.hex(" "))

The classes are those of the native core; their signatures and docstrings stand in `fieldrig/_core/modbus.pyi`.

URLs: `tcp://host:port`, `tls://..`, `udp://..`, `rtu:///dev/ttyUSB0?baud=19200&parity=even` (a serial port or pty),
`ascii://..`, `rtu+tcp://host:port` (frames inside a TCP connection), `rtu+rfc2217://host:port?line=9600+8E1` (a serial
server); `ascii+` goes where `rtu+` goes. In the memory of a rig: `memory://name`, `wire://name`, `ascii+wire://name`.
Device only: `tcp://127.0.0.1:0` (a free port), `pty://?line=9600+8E1` (a new pty). docs/modbus.md has the table.
"""

from __future__ import annotations

from fieldrig._core.modbus import (
    GATEWAY_HABITS,
    HABITS,
    Answer,
    Answers,
    Attempt,
    Client,
    ClientRemark,
    Device,
    Gateway,
    Monitor,
    Observation,
    Reading,
    Request,
    Rule,
    adu_rtu,
    adu_tcp,
    crc16,
    describe_points,
    dissect_ascii,
    dissect_rtu,
    dissect_tcp,
)
from fieldrig._core.modbus_stock import StockClient, StockDialogue, StockServer
from fieldrig.handling import NO_ANSWER, Refuse, Reply

__all__ = [
    "GATEWAY_HABITS",
    "HABITS",
    "NO_ANSWER",
    "Answer",
    "Answers",
    "Attempt",
    "Client",
    "ClientRemark",
    "Device",
    "Gateway",
    "Monitor",
    "Observation",
    "Reading",
    "Refuse",
    "Reply",
    "Request",
    "Rule",
    "StockClient",
    "StockDialogue",
    "StockServer",
    "adu_rtu",
    "adu_tcp",
    "crc16",
    "describe_points",
    "dissect_ascii",
    "dissect_rtu",
    "dissect_tcp",
]
