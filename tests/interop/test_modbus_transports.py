"""Foreign programs on every transport, both ways: pySerial's RFC 2217, framers of pymodbus, minimalmodbus, mbpoll."""

from __future__ import annotations

import asyncio
import re
import select
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import PortError
from fieldrig.stream import Stream
from tests.needs import program

VALUES = [7, 0xFFFF, 0x0D0A]


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    found = re.search(r"//([\d.]+):(\d+)", url)
    assert found is not None
    return found[1], int(found[2])


def open_port(path: str) -> Any:
    """A port of pySerial. A pty has no modem lines, and takes neither parity nor 7 bits: this one does as if it did."""
    serial = pytest.importorskip("serial")
    if not path.startswith("/dev/pts"):
        return serial.serial_for_url(path, timeout=0)

    class Pty(serial.Serial):  # type: ignore[misc, name-defined]
        cts = dsr = cd = True
        ri = False

        def _reconfigure_port(self, force_update: bool = False) -> None:
            kept = self._bytesize, self._parity
            self._bytesize, self._parity = 8, "N"
            super()._reconfigure_port(force_update)
            self._bytesize, self._parity = kept

    return Pty(path, timeout=0)


@contextmanager
def serial_server(path: str) -> Iterator[str]:
    """pySerial's RFC 2217 server in front of a serial port, for one connection."""
    rfc2217 = pytest.importorskip("serial.rfc2217")
    with socket.create_server(("127.0.0.1", 0)) as listener, open_port(path) as port:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                manager = rfc2217.PortManager(port, SimpleNamespace(write=connection.sendall))
                while True:
                    ready, _, _ = select.select([connection], [], [], 0.005)
                    if ready:
                        data = connection.recv(1024)
                        if not data:
                            return
                        port.write(b"".join(manager.filter(data)))
                    if waiting := port.read(1024):
                        connection.sendall(b"".join(manager.escape(waiting)))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "{}:{}".format(*listener.getsockname())
        finally:
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:set.*is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("framing", "bits"), [("rtu", "8E1"), ("ascii", "7E1")])
def test_a_client_of_pyserial_opens_our_serial_server(framing: str, bits: str) -> None:
    serial = pytest.importorskip("serial")
    with modbus.Device(f"{framing}+rfc2217://127.0.0.1:0?line=9600+{bits}", holding={0: VALUES}) as device:
        host, number = address(device.url)
        port = serial.serial_for_url(
            f"rfc2217://{host}:{number}", baudrate=9600, bytesize=int(bits[0]), parity="E", timeout=20
        )
        with port:
            if framing == "rtu":
                port.write(modbus.adu_rtu(1, b"\x03\0\0\0\x03"))
                expected = modbus.adu_rtu(1, b"\x03\x06\0\x07\xff\xff\x0d\x0a")
            else:
                port.write(b":010300000003F9\r\n")
                expected = b":0103060007FFFF0D0ADA\r\n"
                assert sum(bytes.fromhex(expected[1:-2].decode())) % 256 == 0
            assert port.read(len(expected)) == expected
            # The lines of the device as its client sees them: everything is ready.
            assert port.cts and port.dsr
            port.rts = False
            port.send_break(0.01)
            port.write(modbus.adu_rtu(1, b"\x03\0\0\0\x03") if framing == "rtu" else b":010300000003F9\r\n")
            assert port.read(len(expected)) == expected


@pytest.mark.parametrize(("framing", "line"), [("rtu", "19200+8E1"), ("ascii", "9600+7E1")])
def test_our_client_reads_a_device_behind_the_serial_server_of_pyserial(framing: str, line: str) -> None:
    prefix = "ascii+" if framing == "ascii" else ""
    with Rig() as rig, modbus.Device(f"{prefix}pty://?line={line}", holding={0: VALUES}, rig=rig) as device:
        path = device.url.split("://")[1].split("?")[0]
        with serial_server(path) as place:
            with modbus.Client(f"{framing}+rfc2217://{place}?line={line}", timeout="20s", rig=rig) as client:
                assert client.read_holding(0, 3).values == tuple(VALUES)
                client.write_register(1, 0xFF)
                assert client.read_holding(1).values == (0xFF,)


def test_every_byte_goes_through_the_serial_server_of_pyserial() -> None:
    data = bytes(range(256)) + b"\xff\xff\r\n\0"
    with serial_server("loop://") as place, Stream(f"rfc2217://{place}?line=57600+8O2") as stream:
        stream.send(data)
        assert stream.receive(len(data), within="20s").data == data


def test_what_a_plain_port_is_not_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"\xff\xfe\x2c")  # IAC DONT COM-PORT-OPTION
                while connection.recv(1024):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(PortError, match="does not do COM-PORT-OPTION"):
            modbus.Client("rtu+rfc2217://{}:{}".format(*listener.getsockname()))
        thread.join(20)


# ---- pymodbus --------------------------------------------------------------------------------------------------------


def pymodbus_client(url: str) -> Any:
    """A client of pymodbus for our URL."""
    client = pytest.importorskip("pymodbus.client")
    framer = pytest.importorskip("pymodbus").FramerType
    if url.startswith("udp://"):
        host, port = address(url)
        return client.AsyncModbusUdpClient(host, port=port)
    if "+tcp://" in url:
        host, port = address(url)
        kind = framer.ASCII if url.startswith("ascii") else framer.RTU
        return client.AsyncModbusTcpClient(host, port=port, framer=kind)
    # A pty has neither parity nor 7 bits: asking for nothing else is an error of the C library.
    path = url.split("://")[1].split("?")[0]
    ascii_line = url.startswith("ascii")
    return client.AsyncModbusSerialClient(
        path,
        framer=framer.ASCII if ascii_line else framer.RTU,
        baudrate=9600,
        bytesize=8,
        parity="N",
    )


@pytest.mark.parametrize(
    "url",
    [
        "udp://127.0.0.1:0",
        "rtu+tcp://127.0.0.1:0",
        "ascii+tcp://127.0.0.1:0",
        "pty://?line=9600+8E1",
        "ascii+pty://?line=9600+7E1",
    ],
)
def test_a_pymodbus_client_reads_our_device(url: str) -> None:
    pytest.importorskip("pymodbus")
    with modbus.Device(url, holding={0: VALUES}) as device:

        async def talk() -> tuple[list[int], bool]:
            client = pymodbus_client(device.url)
            assert await client.connect()
            registers = await client.read_holding_registers(0, count=3, device_id=1)
            outside = await client.read_holding_registers(3, count=1, device_id=1)
            await client.write_register(1, 99, device_id=1)
            client.close()
            return registers.registers, outside.isError()

        assert asyncio.run(talk()) == (VALUES, True)
        assert device.get("holding", 1) == (99,)


def pymodbus_server(url: str, ready: Callable[[str], None], stop: threading.Event) -> None:
    """A server of pymodbus for our URL, until it is stopped."""
    framer = pytest.importorskip("pymodbus").FramerType
    server_module = pytest.importorskip("pymodbus.server")
    simulator = pytest.importorskip("pymodbus.simulator")

    async def serve() -> None:
        registers = simulator.SimData(0, values=[7, 8, 9], datatype=simulator.DataType.REGISTERS)
        device = simulator.SimDevice(1, registers)
        if url.startswith("udp"):
            server = server_module.ModbusUdpServer(device, address=("127.0.0.1", 0))
        else:
            kind = framer.ASCII if url.startswith("ascii") else framer.RTU
            server = server_module.ModbusTcpServer(device, framer=kind, address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        transport = server.transport
        name = transport.get_extra_info("sockname") if url.startswith("udp") else transport.sockets[0].getsockname()
        ready(url + "{}:{}".format(*name[:2]))
        while not stop.is_set():
            await asyncio.sleep(0.01)
        await server.shutdown()

    asyncio.run(serve())


@pytest.mark.parametrize("url", ["udp://", "rtu+tcp://", "ascii+tcp://"])
def test_our_client_reads_a_pymodbus_server(url: str) -> None:
    pytest.importorskip("pymodbus")
    found: list[str] = []
    listening, stop = threading.Event(), threading.Event()

    def ready(where: str) -> None:
        found.append(where)
        listening.set()

    thread = threading.Thread(target=pymodbus_server, args=(url, ready, stop))
    thread.start()
    try:
        assert listening.wait(20)
        with modbus.Client(found[0], timeout="20s") as client:
            assert client.read_holding(0, 3).values == (7, 8, 9)
            client.write_registers(0, [1, 2])
            assert client.read_holding(0, 3).values == (1, 2, 9)
    finally:
        stop.set()
        thread.join(20)


# ---- minimalmodbus and mbpoll ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "mode"), [("pty://?line=9600+8N1", "rtu"), ("ascii+pty://?line=9600+7E1", "ascii")])
def test_minimalmodbus_reads_our_device_on_a_pty(url: str, mode: str) -> None:
    minimalmodbus = pytest.importorskip("minimalmodbus")
    with modbus.Device(url, holding={0: VALUES}) as device:
        path = device.url.split("://")[1].split("?")[0]
        instrument = minimalmodbus.Instrument(path, 1, mode=mode)
        instrument.serial.baudrate = 9600
        instrument.serial.timeout = 20
        assert instrument.read_registers(0, 3) == VALUES
        instrument.write_register(1, 99)
        assert device.get("holding", 1) == (99,)
        instrument.serial.timeout = 3  # it waits this long for the rest of an answer: an exception is shorter
        with pytest.raises(minimalmodbus.IllegalRequestError):
            instrument.read_register(3)
        instrument.serial.close()


def test_mbpoll_reads_our_device_on_a_pty() -> None:
    mbpoll = program("mbpoll")
    with modbus.Device("rtu+pty://?line=9600+8E1", holding={0: VALUES}) as device:
        path = device.url.split("://")[1].split("?")[0]
        command = [
            mbpoll,
            "-m",
            "rtu",
            "-b",
            "9600",
            "-P",
            "even",
            "-a",
            "1",
            "-r",
            "1",
            "-c",
            "3",
            "-1",
            "-t",
            "4",
            path,
        ]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert re.search(r"\[1\]:\s+7\b", shown.stdout) and "65535" in shown.stdout
        assert Path(path).exists()
