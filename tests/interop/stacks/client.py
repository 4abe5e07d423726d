"""One conversation, held by the client of a foreign stack: `python client.py STACK TRANSPORT ADDRESS`; prints JSON.

It reads holding registers 100 to 102, writes 99 to register 101, 7 and 8 to 102 and 103, reads 100 to 103, sets
coil 1, reads coils 0 to 2, and asks for register 5000, which is not there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Outcome = dict[str, Any]
LINE = {"baudrate": 19200, "parity": "N", "stopbits": 1}


def with_pymodbus(transport: str, address: str) -> Outcome:
    from pymodbus import FramerType
    from pymodbus.client import ModbusSerialClient, ModbusTcpClient, ModbusUdpClient

    if transport in ("tcp", "udp", "rtu+tcp", "ascii+tcp"):
        host, port = address.rsplit(":", 1)
        framer = {"rtu+tcp": FramerType.RTU, "ascii+tcp": FramerType.ASCII}.get(transport, FramerType.SOCKET)
        kind = ModbusUdpClient if transport == "udp" else ModbusTcpClient
        client: Any = kind(host, port=int(port), framer=framer, timeout=5, retries=0)
    else:
        framer = FramerType.ASCII if transport == "ascii" else FramerType.RTU
        client = ModbusSerialClient(address, framer=framer, timeout=5, retries=0, **LINE)  # type: ignore[arg-type]
    assert client.connect()
    first = client.read_holding_registers(100, count=3, device_id=1).registers
    client.write_register(101, 99, device_id=1)
    client.write_registers(102, [7, 8], device_id=1)
    then = client.read_holding_registers(100, count=4, device_id=1).registers
    client.write_coil(1, True, device_id=1)
    coils = client.read_coils(0, count=3, device_id=1).bits[:3]
    refused = client.read_holding_registers(5000, count=1, device_id=1).exception_code
    client.close()
    return {"first": first, "then": then, "coils": coils, "exception": refused}


def with_pymodbustcp(_: str, address: str) -> Outcome:
    from pyModbusTCP.client import ModbusClient

    host, port = address.rsplit(":", 1)
    client = ModbusClient(host=host, port=int(port), unit_id=1, timeout=5, auto_open=True)
    first = client.read_holding_registers(100, 3)
    client.write_single_register(101, 99)
    client.write_multiple_registers(102, [7, 8])
    then = client.read_holding_registers(100, 4)
    client.write_single_coil(1, True)
    coils = client.read_coils(0, 3)
    client.read_holding_registers(5000, 1)
    refused = client.last_except
    client.close()
    return {"first": first, "then": then, "coils": coils, "exception": refused}


def with_modbus_tk(transport: str, address: str) -> Outcome:
    import modbus_tk.defines as code
    import serial
    from modbus_tk.exceptions import ModbusError
    from modbus_tk.modbus_rtu import RtuMaster
    from modbus_tk.modbus_tcp import TcpMaster

    if transport == "tcp":
        host, port = address.rsplit(":", 1)
        master = TcpMaster(host, int(port), timeout_in_sec=5)
    else:
        master = RtuMaster(serial.Serial(address, **LINE))
        master.set_timeout(5)
    master.open()
    first = master.execute(1, code.READ_HOLDING_REGISTERS, 100, 3)
    master.execute(1, code.WRITE_SINGLE_REGISTER, 101, output_value=99)
    master.execute(1, code.WRITE_MULTIPLE_REGISTERS, 102, output_value=[7, 8])
    then = master.execute(1, code.READ_HOLDING_REGISTERS, 100, 4)
    master.execute(1, code.WRITE_SINGLE_COIL, 1, output_value=1)
    coils = [bool(bit) for bit in master.execute(1, code.READ_COILS, 0, 3)]
    refused = None
    try:
        master.execute(1, code.READ_HOLDING_REGISTERS, 5000, 1)
    except ModbusError as error:
        refused = error.get_exception_code()
    master.close()
    return {"first": list(first), "then": list(then), "coils": coils, "exception": refused}


def with_umodbus(transport: str, address: str) -> Outcome:
    import socket

    import serial
    from umodbus.client import tcp
    from umodbus.client.serial import rtu
    from umodbus.exceptions import IllegalDataAddressError

    if transport == "tcp":
        host, port = address.rsplit(":", 1)
        frames, link = tcp, socket.create_connection((host, int(port)), timeout=5)
    else:
        frames, link = rtu, serial.Serial(address, timeout=5, **LINE)

    def ask(message: bytes) -> Any:
        return frames.send_message(message, link)

    first = ask(frames.read_holding_registers(1, 100, 3))
    ask(frames.write_single_register(1, 101, 99))
    ask(frames.write_multiple_registers(1, 102, [7, 8]))
    then = ask(frames.read_holding_registers(1, 100, 4))
    ask(frames.write_single_coil(1, 1, 1))
    coils = [bool(bit) for bit in ask(frames.read_coils(1, 0, 3))]
    refused = None
    try:
        ask(frames.read_holding_registers(1, 5000, 1))
    except IllegalDataAddressError as error:
        refused = error.error_code
    link.close()
    return {"first": first, "then": then, "coils": coils, "exception": refused}


def with_minimalmodbus(transport: str, address: str) -> Outcome:
    import minimalmodbus

    mode = minimalmodbus.MODE_ASCII if transport == "ascii" else minimalmodbus.MODE_RTU
    device = minimalmodbus.Instrument(address, 1, mode=mode)
    device.serial.timeout = 5
    device.serial.baudrate = LINE["baudrate"]
    first = device.read_registers(100, 3)
    device.write_register(101, 99, functioncode=6)
    device.write_registers(102, [7, 8])
    then = device.read_registers(100, 4)
    device.write_bit(1, 1)
    coils = [bool(bit) for bit in device.read_bits(0, 3, functioncode=1)]
    refused = None
    try:
        device.read_register(5000)
    except minimalmodbus.IllegalRequestError as error:
        refused = 2 if "address" in str(error) else str(error)
    device.serial.close()
    return {"first": first, "then": then, "coils": coils, "exception": refused}


STACKS: dict[str, Callable[[str, str], Outcome]] = {
    "pymodbus": with_pymodbus,
    "pyModbusTCP": with_pymodbustcp,
    "modbus_tk": with_modbus_tk,
    "umodbus": with_umodbus,
    "minimalmodbus": with_minimalmodbus,
}


if __name__ == "__main__":
    stack, transport, address = sys.argv[1:]
    print(json.dumps(STACKS[stack](transport, address)))
