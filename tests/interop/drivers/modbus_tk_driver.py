"""Drives modbus_tk: TCP and RTU. A lock of its own makes it safe for threads."""

from __future__ import annotations

import re
import struct
from typing import Any

import serial
from modbus_tk import defines, modbus_rtu, modbus_tcp
from modbus_tk.exceptions import ModbusError, ModbusInvalidRequestError, ModbusInvalidResponseError
from serving import Driver, Failure, address, line, serve


class ModbusTk(Driver):
    name = "modbus_tk"
    thread_safe = True

    def __init__(self) -> None:
        self._client: Any = None
        self._tcp = True

    def open(self, url: str, unit: int, timeout: float, **_: Any) -> dict[str, Any]:
        self._tcp = url.startswith("tcp:")
        if self._tcp:
            host, port = address(url)
            self._client = modbus_tcp.TcpMaster(host, port, timeout_in_sec=timeout)
            return {}
        path, speed, size, parity, stop = line(url)
        port_ = serial.Serial(path, speed, bytesize=size, parity=parity, stopbits=stop)
        self._client = modbus_rtu.RtuMaster(port_)
        self._client.set_timeout(timeout)
        return {}

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, ModbusError):
            return Failure("exception", code=error.get_exception_code())
        if isinstance(error, ModbusInvalidResponseError) and re.search(r"\b0( bytes)?\.? *$", str(error)):
            return Failure("lost" if self._tcp else "timeout")  # how it says that nothing came
        if isinstance(error, ModbusInvalidRequestError):
            return Failure("refused")
        if isinstance(error, (ModbusInvalidResponseError, modbus_tcp.ModbusInvalidMbapError)):
            return Failure("malformed")
        if isinstance(error, TimeoutError):
            return Failure("timeout")
        if isinstance(error, ConnectionRefusedError):
            return Failure("refused")
        if isinstance(error, OSError):
            return Failure("lost")
        if isinstance(error, (struct.error, IndexError)):
            return Failure("malformed" if "unpack" in str(error) or isinstance(error, IndexError) else "refused")
        return Failure("other")

    def read_coils(self, address: int, count: int, unit: int) -> Any:
        return self._client.execute(unit, defines.READ_COILS, address, count)

    def read_discrete_inputs(self, address: int, count: int, unit: int) -> Any:
        return self._client.execute(unit, defines.READ_DISCRETE_INPUTS, address, count)

    def read_holding(self, address: int, count: int, unit: int) -> Any:
        return self._client.execute(unit, defines.READ_HOLDING_REGISTERS, address, count)

    def read_input(self, address: int, count: int, unit: int) -> Any:
        return self._client.execute(unit, defines.READ_INPUT_REGISTERS, address, count)

    def write_coil(self, address: int, value: bool, unit: int) -> None:
        self._client.execute(unit, defines.WRITE_SINGLE_COIL, address, output_value=int(value))

    def write_register(self, address: int, value: int, unit: int) -> None:
        self._client.execute(unit, defines.WRITE_SINGLE_REGISTER, address, output_value=value)

    def write_coils(self, address: int, values: list[bool], unit: int) -> None:
        self._client.execute(unit, defines.WRITE_MULTIPLE_COILS, address, output_value=[int(value) for value in values])

    def write_registers(self, address: int, values: list[int], unit: int) -> None:
        self._client.execute(unit, defines.WRITE_MULTIPLE_REGISTERS, address, output_value=values)

    def mask_write(self, address: int, and_mask: int, or_mask: int, unit: int) -> None:
        self._client.execute(unit, defines.MASK_WRITE_REGISTER, address, and_mask=and_mask, or_mask=or_mask)

    def read_write_registers(
        self, read_address: int, count: int, write_address: int, values: list[int], unit: int
    ) -> Any:
        return self._client.execute(
            unit,
            defines.READ_WRITE_MULTIPLE_REGISTERS,
            read_address,
            count,
            output_value=values,
            write_starting_address_fc23=write_address,
        )


if __name__ == "__main__":
    serve(ModbusTk())
