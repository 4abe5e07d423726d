"""A pymodbus server: `pymodbus_server.py [TRANSPORT [PATH]]`, `tcp` if nothing is said. Unit 1, 300 registers and 2400
coils from address 0. Prints its port, on a serial line "ready"; ends when stdin closes."""

import asyncio
import sys
import warnings

warnings.simplefilter("ignore")

from pymodbus import FramerType, ModbusDeviceIdentification  # noqa: E402
from pymodbus.datastore import (  # noqa: E402
    ModbusDeviceContext,
    ModbusSequentialDataBlock,
    ModbusServerContext,
)
from pymodbus.server import ModbusSerialServer, ModbusTcpServer  # noqa: E402

SIZE = 300
FRAMERS = {
    "tcp": FramerType.SOCKET,
    "rtu": FramerType.RTU,
    "ascii": FramerType.ASCII,
    "rtu+tcp": FramerType.RTU,
    "ascii+tcp": FramerType.ASCII,
}


def context() -> ModbusServerContext:
    # The first address of a block is that of the data model: it counts from 1, PDU addresses count from 0.
    registers = ModbusSequentialDataBlock(1, [address * 257 % 65536 for address in range(SIZE)])
    bits = ModbusSequentialDataBlock(1, [bool(address % 3 == 0) for address in range(SIZE * 8)])
    device = ModbusDeviceContext(di=bits, co=bits, hr=registers, ir=registers)
    return ModbusServerContext(devices={1: device}, single=False)


async def main(transport: str = "tcp", path: str = "") -> None:
    identity = ModbusDeviceIdentification(info={0: "pymodbus", 1: "server", 2: "1.0", 4: "interop"})
    settings = {"framer": FRAMERS[transport], "identity": identity}
    if path:
        # On a bus: nothing for other units, and unit 0 is everybody.
        settings |= {"ignore_missing_devices": True, "broadcast_enable": True}
        server = ModbusSerialServer(context(), port=path, baudrate=19200, **settings)
        await server.listen()
        print("ready", flush=True)
    else:
        server = ModbusTcpServer(context(), address=("127.0.0.1", 0), **settings)
        await server.listen()
        print(server.transport.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.shutdown()


asyncio.run(main(*sys.argv[1:]))
