"""Foreign Modbus clients on a line that keeps its parity, which no pty does: two 16550A joined by a wire.

pymodbus sets its port twice at once when it opens it. A pty drops the parity bit, and glibc answers `EINVAL`
(docs/links.md); here the driver keeps it, so that what is refused on a pty is shown to be the pty's doing.
"""

from __future__ import annotations

import os
import termios
from functools import partial
from typing import Any

import pytest

from fieldrig import modbus
from tests.hardware.test_serial_drivers import eventually, pytestmark  # noqa: F401  # skips this file, too

DEVICE, CLIENT = "/dev/ttyS4", "/dev/ttyS5"
TIMES = 10
ANSWER = 1 + 1 + 1 + 2 * 3 + 2
"""Unit, function, byte count, three registers, CRC (MODBUS over serial line V1.02, 2.3; application protocol 6.3)."""


def waits(port: Any, length: int) -> bool:
    """Whether so many bytes are there that nobody has read."""
    return bool(port.in_waiting == length)


def test_pymodbus_opens_and_closes_a_line_at_8e1_again_and_again_and_reads_no_stale_byte() -> None:
    """Each time it leaves an answer unread behind: whoever reads that next finds the registers of the time before."""
    pymodbus = pytest.importorskip("pymodbus.client")
    with modbus.Device(f"rtu://{DEVICE}?line=19200+8E1", holding={0: [0] * 3}) as device:
        for time in range(1, TIMES + 1):
            device.set("holding", 0, [time, 0x5555, 0xFF00 | time])
            client = pymodbus.ModbusSerialClient(CLIENT, baudrate=19200, parity="E", timeout=60, retries=0)
            assert client.connect(), f"not opened the {time}. time"
            try:
                port = client.socket
                assert termios.tcgetattr(port.fd)[2] & (termios.PARENB | termios.PARODD) == termios.PARENB
                assert port.in_waiting == 0
                answer = client.read_holding_registers(0, count=3)
                assert not answer.isError(), answer
                assert answer.registers == [time, 0x5555, 0xFF00 | time]
                written = client.write_register(1, time)
                assert not written.isError(), written
                assert device.get("holding", 1) == (time,)
                os.write(port.fd, bytes.fromhex("010300000003 05cb"))
                assert eventually(partial(waits, port, ANSWER)), "the answer that nobody reads"
            finally:
                client.close()
