"""One Python client in a process of its own: `python -m tests.bench.peers.client NAME PORT`.

For each line `COUNT` on stdin it makes COUNT reads of ten holding registers and prints one JSON line, as
`raw_client.c` does.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from time import perf_counter_ns

Read = Callable[[], None]
QUANTITY = 10


def raw(port: int) -> Read:
    """The anchor."""
    from tests.bench.anchors.raw_client import reader

    return reader(port)


def pymodbus(port: int) -> Read:
    """pymodbus, synchronous client."""
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient("127.0.0.1", port=port)
    assert client.connect()

    def read() -> None:
        answer = client.read_holding_registers(0, count=QUANTITY, device_id=1)
        assert len(answer.registers) == QUANTITY

    return read


def py_modbus_tcp(port: int) -> Read:
    """pyModbusTCP."""
    from pyModbusTCP.client import ModbusClient

    client = ModbusClient(host="127.0.0.1", port=port, unit_id=1, auto_open=True)

    def read() -> None:
        registers = client.read_holding_registers(0, QUANTITY)
        assert registers is not None and len(registers) == QUANTITY

    return read


def fieldrig(trace: str) -> Callable[[int], Read]:
    """Our client, with a trace level."""

    def connect(port: int) -> Read:
        from fieldrig import Rig, modbus

        rig = Rig(folder=tempfile.mkdtemp(prefix="fieldrig-bench-"), trace=trace, name="bench")
        client = modbus.Client(f"tcp://127.0.0.1:{port}", unit=1, rig=rig)

        def read() -> None:
            answer = client.read_holding(0, QUANTITY)
            assert len(answer.values) == QUANTITY

        return read

    return connect


CLIENTS: dict[str, Callable[[int], Read]] = {
    "raw": raw,
    "fieldrig-full": fieldrig("full"),
    "fieldrig-counts": fieldrig("counts"),
    "pymodbus": pymodbus,
    "pyModbusTCP": py_modbus_tcp,
}


def measure(read: Read, count: int) -> dict[str, int]:
    """Makes `count` reads; how long they took."""
    times = []
    begin = before = perf_counter_ns()
    for _ in range(count):
        read()
        now = perf_counter_ns()
        times.append(now - before)
        before = now
    return {"operations": count, "elapsed_ns": before - begin, "p50_ns": int(statistics.median(times))}


def main() -> None:
    name, port = sys.argv[1:]
    read = CLIENTS[name](int(port))
    for line in sys.stdin:
        print(json.dumps(measure(read, int(line))), flush=True)


if __name__ == "__main__":
    main()
