"""Drives uModbus: TCP and RTU. Its client is functions that use a socket or a port of the caller."""

from __future__ import annotations

import socket
import struct
from typing import Any

import serial
from serving import Driver, Failure, address, line, serve
from umodbus.client import tcp
from umodbus.client.serial import redundancy_check, rtu
from umodbus.exceptions import ModbusError


class UModbus(Driver):
    name = "uModbus"

    def __init__(self) -> None:
        self._port: Any = None
        self._how: Any = tcp

    def open(self, url: str, unit: int, timeout: float, **_: Any) -> dict[str, Any]:
        self._how = tcp if url.startswith("tcp:") else rtu
        if self._how is tcp:
            self._port = socket.create_connection(address(url), timeout)
            return {}
        path, speed, size, parity, stop = line(url)
        self._port = serial.Serial(path, speed, bytesize=size, parity=parity, stopbits=stop, timeout=timeout)
        return {}

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, ModbusError):
            return Failure("exception", code=error.error_code)
        if isinstance(error, TimeoutError):
            return Failure("timeout")
        if isinstance(error, OSError):
            return Failure("lost")
        if isinstance(error, redundancy_check.CRCError):
            return Failure("malformed")
        if type(error) is ValueError and not error.args:
            return Failure("lost" if self._how is tcp else "timeout")  # how it says that nothing more came
        if isinstance(error, struct.error) and "unpack" not in str(error):
            return Failure("refused")
        return Failure("other")

    def _send(self, request: bytes) -> Any:
        return self._how.send_message(request, self._port)

    def read_coils(self, address: int, count: int, unit: int) -> Any:
        return self._send(self._how.read_coils(unit, address, count))

    def read_discrete_inputs(self, address: int, count: int, unit: int) -> Any:
        return self._send(self._how.read_discrete_inputs(unit, address, count))

    def read_holding(self, address: int, count: int, unit: int) -> Any:
        return self._send(self._how.read_holding_registers(unit, address, count))

    def read_input(self, address: int, count: int, unit: int) -> Any:
        return self._send(self._how.read_input_registers(unit, address, count))

    def write_coil(self, address: int, value: bool, unit: int) -> None:
        self._send(self._how.write_single_coil(unit, address, int(value)))

    def write_register(self, address: int, value: int, unit: int) -> None:
        self._send(self._how.write_single_register(unit, address, value))

    def write_coils(self, address: int, values: list[bool], unit: int) -> None:
        self._send(self._how.write_multiple_coils(unit, address, [int(value) for value in values]))

    def write_registers(self, address: int, values: list[int], unit: int) -> None:
        self._send(self._how.write_multiple_registers(unit, address, values))


if __name__ == "__main__":
    serve(UModbus())
