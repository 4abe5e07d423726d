"""A pymodbus TCP server: unit 1, 300 registers and coils from address 0. Prints its port, ends when stdin closes."""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

from pymodbus import ModbusDeviceIdentification  # noqa: E402
from pymodbus.datastore import (  # noqa: E402
    ModbusDeviceContext,
    ModbusSequentialDataBlock,
    ModbusServerContext,
)
from pymodbus.server import ModbusTcpServer  # noqa: E402

SIZE = 300


async def main() -> None:
    # The first address of a block is that of the data model: it counts from 1, PDU addresses count from 0.
    registers = ModbusSequentialDataBlock(1, [address * 257 % 65536 for address in range(SIZE)])
    bits = ModbusSequentialDataBlock(1, [bool(address % 3 == 0) for address in range(SIZE * 8)])
    device = ModbusDeviceContext(di=bits, co=bits, hr=registers, ir=registers)
    identity = ModbusDeviceIdentification(info={0: "pymodbus", 1: "server", 2: "1.0", 4: "interop"})
    server = ModbusTcpServer(
        ModbusServerContext(devices={1: device}, single=False), address=("127.0.0.1", 0), identity=identity
    )
    await server.listen()
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main())
