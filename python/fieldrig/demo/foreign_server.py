"""A Modbus/TCP server in which there is nothing of ours: pymodbus, with its simulated device.

Run as a process of its own: ``python -m fieldrig.demo.foreign_server``. It prints its port and serves until it is
ended. It is importable without pymodbus; only running it needs the extra ``fieldrig[demo]``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast


async def serve() -> None:
    """Serves unit 1 with a hundred holding registers on a free loopback port."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    device = SimDevice(1, SimData(0, values=list(range(100)), datatype=DataType.REGISTERS))
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    listening = cast("asyncio.Server", server.transport)
    sys.stdout.write(f"{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
