"""The server of a foreign stack: `python server.py STACK TRANSPORT [PORT]`. Unit 1, 300 registers and 300 coils from 0.

Register n holds n * 257 modulo 65536, every third coil is set. Prints its TCP or UDP port, or "ready" on a serial port;
ends when its standard input closes.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

SIZE = 300
REGISTERS = [address * 257 % 65536 for address in range(SIZE)]
COILS = [address % 3 == 0 for address in range(SIZE)]
LINE = {"baudrate": 19200, "parity": "N", "stopbits": 1}


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago, for servers that cannot be asked which one they got."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(said: object) -> None:
    print(said, flush=True)
    sys.stdin.read()


def with_pymodbus(transport: str, path: str) -> None:
    from pymodbus import FramerType
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusSerialServer, ModbusTcpServer, ModbusUdpServer

    async def main() -> None:
        registers, bits = ModbusSequentialDataBlock(1, REGISTERS), ModbusSequentialDataBlock(1, COILS)
        device = ModbusDeviceContext(di=bits, co=bits, hr=registers, ir=registers)
        context = ModbusServerContext(devices={1: device}, single=False)
        framer = (
            FramerType.ASCII if "ascii" in transport else FramerType.RTU if "rtu" in transport else FramerType.SOCKET
        )
        said: object = "ready"
        if transport in ("rtu", "ascii"):
            server: Any = ModbusSerialServer(context, framer=framer, port=path, timeout=1, **LINE)  # type: ignore[arg-type]
            await server.listen()
        elif transport == "udp":
            said = free_port(socket.SOCK_DGRAM)
            server = ModbusUdpServer(context, address=("127.0.0.1", said))
            await server.listen()
        else:
            server = ModbusTcpServer(context, framer=framer, address=("127.0.0.1", 0))
            await server.listen()
            said = server.transport.sockets[0].getsockname()[1]
        await asyncio.get_running_loop().run_in_executor(None, serve, said)
        await server.shutdown()

    asyncio.run(main())


def with_pymodbustcp(_: str, __: str) -> None:
    from pyModbusTCP.server import DataBank, ModbusServer

    bank = DataBank(coils_size=SIZE, d_inputs_size=SIZE, h_regs_size=SIZE, i_regs_size=SIZE)
    bank.set_holding_registers(0, REGISTERS)
    bank.set_coils(0, COILS)
    server = ModbusServer(host="127.0.0.1", port=free_port(), no_block=True, data_bank=bank)
    server.start()
    serve(server.port)
    server.stop()


def with_modbus_tk(transport: str, path: str) -> None:
    import modbus_tk.defines as code
    import serial
    from modbus_tk.modbus_rtu import RtuServer
    from modbus_tk.modbus_tcp import TcpServer

    said: object = "ready"
    if transport == "tcp":
        said = free_port()
        server = TcpServer(said, "127.0.0.1")
    else:
        server = RtuServer(serial.Serial(path, **LINE))
    slave = server.add_slave(1)
    slave.add_block("registers", code.HOLDING_REGISTERS, 0, SIZE)
    slave.set_values("registers", 0, REGISTERS)
    slave.add_block("coils", code.COILS, 0, SIZE)
    slave.set_values("coils", 0, [int(coil) for coil in COILS])
    server.start()
    if transport == "tcp":
        await_listening(int(str(said)))
    serve(said)
    server.stop()


def await_listening(port: int) -> None:
    """Returns when somebody listens there; a library that binds in its own thread does not say when."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise SystemExit("nobody listens")


def with_umodbus(transport: str, path: str) -> None:
    from socketserver import ThreadingTCPServer

    import serial
    from umodbus.server.serial import get_server as serial_server
    from umodbus.server.serial.rtu import RTUServer
    from umodbus.server.tcp import RequestHandler
    from umodbus.server.tcp import get_server as tcp_server

    if transport == "tcp":
        server = tcp_server(ThreadingTCPServer, ("127.0.0.1", 0), RequestHandler)
        server.daemon_threads = True
    else:
        server = serial_server(RTUServer, serial.Serial(path, **LINE))
    registers, coils = list(REGISTERS), [int(coil) for coil in COILS]

    @server.route(slave_ids=[1], function_codes=[3, 4], addresses=list(range(SIZE)))
    def read_register(slave_id: int, function_code: int, address: int) -> int:
        return registers[address]

    @server.route(slave_ids=[1], function_codes=[6, 16], addresses=list(range(SIZE)))
    def write_register(slave_id: int, function_code: int, address: int, value: int) -> None:
        registers[address] = value

    @server.route(slave_ids=[1], function_codes=[1, 2], addresses=list(range(SIZE)))
    def read_coil(slave_id: int, function_code: int, address: int) -> int:
        return coils[address]

    @server.route(slave_ids=[1], function_codes=[5, 15], addresses=list(range(SIZE)))
    def write_coil(slave_id: int, function_code: int, address: int, value: int) -> None:
        coils[address] = value

    threading.Thread(target=server.serve_forever, daemon=True).start()
    serve(server.server_address[1] if transport == "tcp" else "ready")


STACKS: dict[str, Callable[[str, str], None]] = {
    "pymodbus": with_pymodbus,
    "pyModbusTCP": with_pymodbustcp,
    "modbus_tk": with_modbus_tk,
    "umodbus": with_umodbus,
}


if __name__ == "__main__":
    stack, transport, *rest = sys.argv[1:]
    STACKS[stack](transport, rest[0] if rest else "")
