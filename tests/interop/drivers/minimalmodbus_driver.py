"""Drives minimalmodbus: RTU and ASCII."""

from __future__ import annotations

import re
from typing import Any

import minimalmodbus
import serial
from serving import Driver, Failure, line, serve

CODES = {
    "illegal function": 1,
    "illegal data address": 2,
    "illegal data value": 3,
    "device failure": 4,
    "device busy": 6,
    "negative acknowledge": 7,
    "memory parity error": 8,
    "gateway path unavailable": 10,
    "gateway target device failed to respond": 11,
}
"""It reports exceptions in words."""


class MinimalModbus(Driver):
    name = "minimalmodbus"

    def __init__(self) -> None:
        self._client: Any = None

    def open(self, url: str, unit: int, timeout: float, echo: bool = False, **_: Any) -> dict[str, Any]:
        path, speed, size, parity, stop = line(url)
        mode = minimalmodbus.MODE_ASCII if url.startswith("ascii:") else minimalmodbus.MODE_RTU
        self._client = minimalmodbus.Instrument(path, unit, mode)
        port = self._client.serial
        port.baudrate, port.bytesize, port.parity, port.stopbits, port.timeout = speed, size, parity, stop, timeout
        self._client.handle_local_echo = echo
        return {}

    def close(self) -> None:
        if self._client is not None:
            self._client.serial.close()
            self._client = None

    def failure(self, error: Exception) -> Failure:
        if isinstance(error, minimalmodbus.NoResponseError):
            return Failure("timeout")
        if isinstance(error, minimalmodbus.SlaveReportedException):
            text = str(error).removeprefix("Slave reported ")
            number = re.fullmatch(r"error code (\d+)", text)
            code = int(number[1]) if number else CODES.get(text)
            return Failure("exception" if code is not None else "other", code=code)
        if isinstance(error, (minimalmodbus.ModbusException, minimalmodbus.LocalEchoError)):
            return Failure("malformed")
        if isinstance(error, (ValueError, TypeError)):
            return Failure("refused")
        if isinstance(error, (serial.SerialException, OSError)):
            return Failure("lost")
        return Failure("other")

    def _of(self, unit: int) -> Any:
        self._client.address = unit
        return self._client

    def read_coils(self, address: int, count: int, unit: int) -> Any:
        return self._of(unit).read_bits(address, count, functioncode=1)

    def read_discrete_inputs(self, address: int, count: int, unit: int) -> Any:
        return self._of(unit).read_bits(address, count, functioncode=2)

    def read_holding(self, address: int, count: int, unit: int) -> Any:
        return self._of(unit).read_registers(address, count, functioncode=3)

    def read_input(self, address: int, count: int, unit: int) -> Any:
        return self._of(unit).read_registers(address, count, functioncode=4)

    def write_coil(self, address: int, value: bool, unit: int) -> None:
        self._of(unit).write_bit(address, int(value), functioncode=5)

    def write_register(self, address: int, value: int, unit: int) -> None:
        self._of(unit).write_register(address, value, functioncode=6)

    def write_coils(self, address: int, values: list[bool], unit: int) -> None:
        self._of(unit).write_bits(address, [int(value) for value in values])

    def write_registers(self, address: int, values: list[int], unit: int) -> None:
        self._of(unit).write_registers(address, values)


if __name__ == "__main__":
    serve(MinimalModbus())
