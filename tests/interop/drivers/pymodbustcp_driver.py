"""Drives pyModbusTCP."""

from __future__ import annotations

from typing import Any

from pyModbusTCP import constants
from pyModbusTCP.client import ModbusClient
from serving import Driver, Failure, address, serve

KINDS = {
    constants.MB_RESOLVE_ERR: "refused",
    constants.MB_CONNECT_ERR: "refused",
    constants.MB_SEND_ERR: "lost",
    constants.MB_RECV_ERR: "lost",
    constants.MB_TIMEOUT_ERR: "timeout",
    constants.MB_FRAME_ERR: "malformed",
    constants.MB_CRC_ERR: "malformed",
    constants.MB_SOCK_CLOSE_ERR: "lost",
}
"""What its error codes mean; MB_RECV_ERR is also given for an MBAP header that it rejects."""


class PyModbusTcp(Driver):
    name = "pyModbusTCP"

    def __init__(self) -> None:
        self._client: Any = None

    def open(self, url: str, unit: int, timeout: float, **_: Any) -> dict[str, Any]:
        host, port = address(url)
        self._client = ModbusClient(host=host, port=port, unit_id=unit, timeout=timeout, auto_open=True)
        return {}

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def failure(self, error: Exception) -> Failure:
        return Failure("refused" if isinstance(error, (ValueError, TypeError)) else "other")

    def _call(self, unit: int, name: str, *arguments: Any) -> Any:
        self._client.unit_id = unit
        result = getattr(self._client, name)(*arguments)
        if result is None or result is False:
            if self._client.last_error == constants.MB_EXCEPT_ERR:
                raise Failure("exception", self._client.last_except_as_txt, self._client.last_except)
            kind = KINDS.get(self._client.last_error, "other")
            raise Failure(kind, self._client.last_error_as_txt or "the call gave None")
        return result

    def read_coils(self, address: int, count: int, unit: int) -> Any:
        return self._call(unit, "read_coils", address, count)

    def read_discrete_inputs(self, address: int, count: int, unit: int) -> Any:
        return self._call(unit, "read_discrete_inputs", address, count)

    def read_holding(self, address: int, count: int, unit: int) -> Any:
        return self._call(unit, "read_holding_registers", address, count)

    def read_input(self, address: int, count: int, unit: int) -> Any:
        return self._call(unit, "read_input_registers", address, count)

    def write_coil(self, address: int, value: bool, unit: int) -> None:
        self._call(unit, "write_single_coil", address, value)

    def write_register(self, address: int, value: int, unit: int) -> None:
        self._call(unit, "write_single_register", address, value)

    def write_coils(self, address: int, values: list[bool], unit: int) -> None:
        self._call(unit, "write_multiple_coils", address, values)

    def write_registers(self, address: int, values: list[int], unit: int) -> None:
        self._call(unit, "write_multiple_registers", address, values)

    def read_write_registers(
        self, read_address: int, count: int, write_address: int, values: list[int], unit: int
    ) -> Any:
        return self._call(unit, "write_read_multiple_registers", write_address, values, read_address, count)

    def read_device_id(self, code: int, object: int, unit: int) -> Any:
        answer = self._call(unit, "read_device_identification", code, object)
        return {str(number): bytes(value).hex() for number, value in answer.objects_by_id.items()}


if __name__ == "__main__":
    serve(PyModbusTcp())
