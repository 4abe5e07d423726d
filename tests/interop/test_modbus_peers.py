"""Our Modbus client and the stock one against a pymodbus server, and a pymodbus client against our servers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import modbus
from fieldrig.errors import ExceptionAnswer, PortError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pymodbus_url() -> Iterator[str]:
    """A pymodbus server in its own process."""
    pytest.importorskip("pymodbus")
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldrig.demo.foreign_server"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        yield f"tcp://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def test_our_client_reads_and_writes_a_pymodbus_server(pymodbus_url: str) -> None:
    with modbus.Client(pymodbus_url, unit=1) as client:
        assert client.write_registers(10, [1, 2, 0xFFFF]).values == ()
        assert client.write_register(13, 4).values == ()
        answer = client.read_holding(10, 4)
        assert answer.values == (1, 2, 0xFFFF, 4)
        assert answer.request[7:] == bytes.fromhex("03 000a 0004")
        assert answer.response[7:] == bytes.fromhex("03 08 0001 0002 ffff 0004")
        assert answer.latency.earliest <= answer.latency.latest < 5
        assert client.read_write_registers(20, 2, 30, [5, 6]).values == (20, 21)  # as the server has them
        assert client.read_holding(30, 2).values == (5, 6)
        client.mask_write(30, and_mask=0xFFF0, or_mask=0xFF0A)
        assert client.read_holding(30).values == (10,)


def test_an_exception_answer_of_pymodbus_is_the_devices_fault(pymodbus_url: str) -> None:
    with modbus.Client(pymodbus_url) as client:
        with pytest.raises(ExceptionAnswer, match="DUT: ") as caught:
            client.read_holding(5000, 1)
        assert (caught.value.code, caught.value.function) == (2, 3)
        assert client.read_holding(0, 1).values == (0,)


def test_a_pymodbus_client_reads_our_device() -> None:
    pymodbus = pytest.importorskip("pymodbus.client")
    with modbus.Device(unit=1, holding={100: [11, 22, 33]}, coils={0: [True, False, True]}) as device:
        port = int(device.url.rpartition(":")[2])

        async def talk() -> tuple[list[int], list[bool], bool]:
            client = pymodbus.AsyncModbusTcpClient("127.0.0.1", port=port)
            assert await client.connect()
            registers = await client.read_holding_registers(100, count=3, device_id=1)
            coils = await client.read_coils(0, count=3, device_id=1)
            outside = await client.read_holding_registers(103, count=1, device_id=1)
            await client.write_register(101, 99, device_id=1)
            client.close()
            return registers.registers, coils.bits[:3], outside.isError()

        assert asyncio.run(talk()) == ([11, 22, 33], [True, False, True], True)
        with modbus.Client(device.url) as client:
            assert client.read_holding(101).values == (99,)


def test_the_stock_client_reads_and_writes_a_pymodbus_server(pymodbus_url: str) -> None:
    with modbus.StockClient(pymodbus_url, unit=1) as client:
        client.write_registers(10, [1, 2, 0xFFFF])
        client.write_register(13, 4)
        assert client.read_holding(10, 4).values == (1, 2, 0xFFFF, 4)
        assert client.read_write_registers(20, 2, 30, [5, 6]).values == (20, 21)  # as the server has them
        client.mask_write(30, and_mask=0xFFF0, or_mask=0xFF0A)
        assert client.read_holding(30, 2).values == (10, 6)
        with pytest.raises(ExceptionAnswer) as refused:
            client.read_holding(5000, 1)
        assert (refused.value.code, refused.value.function) == (2, 3)


def test_a_pymodbus_client_reads_and_writes_the_stock_server() -> None:
    pymodbus = pytest.importorskip("pymodbus.client")
    with modbus.StockServer(holding={100: [11, 22, 33]}, coils={0: [1, 0, 1]}) as server:
        with pymodbus.ModbusTcpClient("127.0.0.1", port=int(server.url.rpartition(":")[2])) as client:
            assert client.read_holding_registers(100, count=3, device_id=1).registers == [11, 22, 33]
            assert client.read_coils(0, count=3, device_id=1).bits[:3] == [True, False, True]
            assert client.read_holding_registers(103, count=1, device_id=1).exception_code == 2
            assert not client.write_registers(101, [98, 99], device_id=1).isError()
            assert not client.write_coil(1, True, device_id=1).isError()
        assert (server.get("holding", 100, 3), server.get("coils", 1)) == ((11, 98, 99), (1,))


def test_nobody_there_is_the_benchs_fault() -> None:
    with pytest.raises(PortError, match=r"BENCH: .*127\.0\.0\.1:1\b"):
        modbus.Client("tcp://127.0.0.1:1")
