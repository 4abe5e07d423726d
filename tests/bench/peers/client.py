"""Python clients of the benchmark: `python -m tests.bench.peers.client NAME PLACE`, a port number or the path of a pty.

For each line `COUNT` on standard input it makes at least COUNT reads of ten holding registers of unit 1 and prints one
JSON line, as `raw_client.c` does.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldrig import modbus

Read = Callable[[], None]
QUANTITY = 10
BATCH = 160
"""Reads in one call of a batch."""
IN_FLIGHT = 16
LINE = 115200


def raw(place: str) -> Read:
    """The anchor."""
    from tests.bench.anchors.raw_client import reader

    return reader(int(place))


def raw_batch(place: str) -> Read:
    """The anchor, as many at once as the batches have in flight, as often as a batch needs."""
    from tests.bench.anchors.raw_client import pipeline

    several = pipeline(int(place), IN_FLIGHT)

    def read() -> None:
        for _ in range(BATCH // IN_FLIGHT):
            several()

    return read


def raw_rtu(place: str) -> Read:
    """The anchor on a pty."""
    from tests.bench.anchors.raw_rtu_client import reader

    return reader(place)


def pymodbus(place: str) -> Read:
    """pymodbus, synchronous client."""
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient("127.0.0.1", port=int(place))
    assert client.connect()

    def read() -> None:
        answer = client.read_holding_registers(0, count=QUANTITY, device_id=1)
        assert len(answer.registers) == QUANTITY

    return read


def pymodbus_rtu(place: str) -> Read:
    """pymodbus, synchronous client, on a line."""
    from pymodbus.client import ModbusSerialClient

    client = ModbusSerialClient(place, baudrate=LINE, parity="N")
    assert client.connect()

    def read() -> None:
        answer = client.read_holding_registers(0, count=QUANTITY, device_id=1)
        assert len(answer.registers) == QUANTITY

    return read


def pymodbus_batch(place: str) -> Read:
    """pymodbus, asynchronous client: a batch is awaited as a whole; it has one request in flight all the same."""
    import asyncio

    from pymodbus.client import AsyncModbusTcpClient

    loop = asyncio.new_event_loop()

    async def connected() -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient("127.0.0.1", port=int(place))
        assert await client.connect()
        return client

    client = loop.run_until_complete(connected())

    async def batch() -> None:
        reads = [client.read_holding_registers(0, count=QUANTITY, device_id=1) for _ in range(BATCH)]
        for answer in await asyncio.gather(*reads):
            assert len(answer.registers) == QUANTITY

    return lambda: loop.run_until_complete(batch())


def py_modbus_tcp(place: str) -> Read:
    """pyModbusTCP."""
    from pyModbusTCP.client import ModbusClient

    client = ModbusClient(host="127.0.0.1", port=int(place), unit_id=1, auto_open=True)

    def read() -> None:
        registers = client.read_holding_registers(0, QUANTITY)
        assert registers is not None and len(registers) == QUANTITY

    return read


def minimalmodbus_rtu(place: str) -> Read:
    """minimalmodbus, on a line."""
    import minimalmodbus

    instrument = minimalmodbus.Instrument(place, 1)
    instrument.serial.baudrate = LINE
    instrument.serial.timeout = 2

    def read() -> None:
        assert len(instrument.read_registers(0, QUANTITY)) == QUANTITY

    return read


def connected(url: str, trace: str) -> modbus.Client:
    """Our client, with a trace level."""
    from fieldrig import Rig, modbus

    rig = Rig(folder=tempfile.mkdtemp(prefix="fieldrig-bench-"), trace=trace, name="bench")  # type: ignore[arg-type]
    return modbus.Client(url, unit=1, timeout="10s", rig=rig)


def fieldrig(trace: str) -> Callable[[str], Read]:
    """Our client: one read after the other."""

    def connect(place: str) -> Read:
        client = connected(f"tcp://127.0.0.1:{place}", trace)

        def read() -> None:
            answer = client.read_holding(0, QUANTITY)
            assert len(answer.values) == QUANTITY

        return read

    return connect


def fieldrig_batch(trace: str) -> Callable[[str], Read]:
    """Our client: a list of blocks in one call."""

    def connect(place: str) -> Read:
        client = connected(f"tcp://127.0.0.1:{place}", trace)
        blocks = [("holding", 0, QUANTITY)] * BATCH

        def read() -> None:
            answers = client.read_many(blocks, in_flight=IN_FLIGHT)
            assert len(answers) == BATCH and answers.failed == ()

        return read

    return connect


def fieldrig_rtu(keep_silence: bool) -> Callable[[str], Read]:
    """Our client on a line, with t3.5 of silence before each request as the standard wants it, or without."""

    def connect(place: str) -> Read:
        client = connected(f"rtu://{place}?line={LINE}+8N1", "full")
        asking = client if keep_silence else client.asking(gap_before="1ns")

        def read() -> None:
            answer = asking.read_holding(0, QUANTITY)
            assert len(answer.values) == QUANTITY

        return read

    return connect


CLIENTS: dict[str, Callable[[str], Read]] = {
    "raw": raw,
    "raw-rtu": raw_rtu,
    "fieldrig-full": fieldrig("full"),
    "fieldrig-counts": fieldrig("counts"),
    "fieldrig-rtu": fieldrig_rtu(keep_silence=True),
    "fieldrig-rtu-at-once": fieldrig_rtu(keep_silence=False),
    "pymodbus": pymodbus,
    "pymodbus-rtu": pymodbus_rtu,
    "pyModbusTCP": py_modbus_tcp,
    "minimalmodbus-rtu": minimalmodbus_rtu,
}
BATCHES: dict[str, Callable[[str], Read]] = {
    "raw-batch": raw_batch,
    "fieldrig-batch-full": fieldrig_batch("full"),
    "fieldrig-batch-counts": fieldrig_batch("counts"),
    "pymodbus-batch": pymodbus_batch,
}


def measure(read: Read, count: int, batch: int) -> dict[str, int]:
    """Makes `count` reads, so many with each call; how long they took."""
    times = []
    begin = before = perf_counter_ns()
    for _ in range(-(-count // batch)):
        read()
        now = perf_counter_ns()
        times.append(now - before)
        before = now
    return {"operations": len(times) * batch, "elapsed_ns": before - begin, "p50_ns": int(statistics.median(times))}


def main() -> None:
    name, place = sys.argv[1:]
    read, batch = (BATCHES[name](place), BATCH) if name in BATCHES else (CLIENTS[name](place), 1)
    for line in sys.stdin:
        print(json.dumps(measure(read, int(line), batch)), flush=True)


if __name__ == "__main__":
    main()
