"""Drives the synchronous clients of pymodbus. It says that threads must not share them."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from pymodbus import FramerType, ModbusException
from pymodbus.client import ModbusSerialClient, ModbusTcpClient, ModbusTlsClient
from pymodbus.exceptions import ConnectionException, ModbusIOException, ParameterException
from serving import Driver, Failure, address, line, serve


class Pymodbus(Driver):
    name = "pymodbus"

    def __init__(self) -> None:
        self._client: Any = None

    def open(
        self,
        url: str,
        unit: int,
        timeout: float,
        retries: int,
        echo: bool = False,
        first_transaction: int = 0,
        ca: str = "",
        cert: str = "",
        key: str = "",
        **_: Any,
    ) -> dict[str, Any]:
        if url.startswith("tls:"):
            host, port = address(url)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # this client has no way to say which name the server must have
            context.load_verify_locations(ca)
            context.load_cert_chain(cert, key)
            self._client = ModbusTlsClient(host, port=port, sslctx=context, timeout=timeout, retries=retries)
        elif url.startswith("tcp:"):
            host, port = address(url)
            self._client = ModbusTcpClient(host, port=port, timeout=timeout, retries=retries)
        else:
            path, speed, size, parity, stop = line(url)
            self._client = ModbusSerialClient(
                path,
                framer=FramerType.ASCII if url.startswith("ascii:") else FramerType.RTU,
                baudrate=speed,
                bytesize=size,
                parity=parity,
                stopbits=stop,
                timeout=timeout,
                retries=retries,
                handle_local_echo=echo,
            )
        if not self._client.connect():
            raise Failure("refused", "connect() gave False")
        if first_transaction:
            self._client.transaction.next_tid = min(first_transaction, 64998) - 1  # it goes up to 65000
        return {}

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def failure(self, error: Exception) -> Failure:
        text = str(error)
        if isinstance(error, ConnectionException):
            return Failure("lost")
        if isinstance(error, ModbusIOException):
            return Failure("timeout" if "No response" in text else "malformed")
        if isinstance(error, ParameterException):
            return Failure("refused")
        if isinstance(error, ModbusException):
            return Failure("malformed")
        if isinstance(error, OSError):
            return Failure("lost")
        if isinstance(error, (ValueError, TypeError)):
            return Failure("refused")
        return Failure("other")

    def _answer(self, answer: Any) -> Any:
        if answer is None:
            return None  # none was expected
        if answer.isError():
            raise Failure("exception", answer, answer.exception_code)
        return answer

    def read_coils(self, address: int, count: int, unit: int) -> Any:
        return self._answer(self._client.read_coils(address, count=count, device_id=unit)).bits[:count]

    def read_discrete_inputs(self, address: int, count: int, unit: int) -> Any:
        return self._answer(self._client.read_discrete_inputs(address, count=count, device_id=unit)).bits[:count]

    def read_holding(self, address: int, count: int, unit: int) -> Any:
        return self._answer(self._client.read_holding_registers(address, count=count, device_id=unit)).registers

    def read_input(self, address: int, count: int, unit: int) -> Any:
        return self._answer(self._client.read_input_registers(address, count=count, device_id=unit)).registers

    def write_coil(self, address: int, value: bool, unit: int) -> None:
        self._answer(self._client.write_coil(address, value, device_id=unit, no_response_expected=self._quiet(unit)))

    def write_register(self, address: int, value: int, unit: int) -> None:
        self._answer(
            self._client.write_register(address, value, device_id=unit, no_response_expected=self._quiet(unit))
        )

    def write_coils(self, address: int, values: list[bool], unit: int) -> None:
        self._answer(self._client.write_coils(address, values, device_id=unit))

    def write_registers(self, address: int, values: list[int], unit: int) -> None:
        self._answer(self._client.write_registers(address, values, device_id=unit))

    def mask_write(self, address: int, and_mask: int, or_mask: int, unit: int) -> None:
        self._answer(
            self._client.mask_write_register(address=address, and_mask=and_mask, or_mask=or_mask, device_id=unit)
        )

    def read_write_registers(
        self, read_address: int, count: int, write_address: int, values: list[int], unit: int
    ) -> Any:
        return self._answer(
            self._client.readwrite_registers(
                read_address=read_address, read_count=count, write_address=write_address, values=values, device_id=unit
            )
        ).registers

    def read_fifo(self, address: int, unit: int) -> Any:
        return self._answer(self._client.read_fifo_queue(address=address, device_id=unit)).values

    def read_device_id(self, code: int, object: int, unit: int) -> Any:
        answer = self._answer(self._client.read_device_information(read_code=code, object_id=object, device_id=unit))
        return {str(number): bytes(value).hex() for number, value in answer.information.items()}

    def _quiet(self, unit: int) -> bool:
        """Its way to broadcast: unit 0, and the caller says that no answer is expected."""
        return unit == 0 and isinstance(self._client, ModbusSerialClient)


if __name__ == "__main__":
    logging.disable()
    serve(Pymodbus())
