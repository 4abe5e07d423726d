"""One Python-made server in a process of its own: `python -m tests.bench.peers.server NAME`.

Prints its port and serves until killed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable


def pymodbus() -> None:
    """pymodbus, with its plain simulated device."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    async def serve() -> None:
        device = SimDevice(1, SimData(0, values=[0] * 100, datatype=DataType.REGISTERS))
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        assert server.transport is not None
        print(server.transport.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


SERVERS: dict[str, Callable[[], None]] = {"pymodbus": pymodbus}


if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
