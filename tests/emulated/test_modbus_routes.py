"""One body, every route: the client against the emulated device, on every transport and on both clocks."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Literal

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import BenchError, NoAnswer, UsageError

#: Routes of the real world.
REAL = [
    "tcp://127.0.0.1:0",
    "udp://127.0.0.1:0",
    "rtu+tcp://127.0.0.1:0",
    "ascii+tcp://127.0.0.1:0",
    "pty://?line=115200+8E1",
    "ascii+pty://?line=115200+7E1",
    "rtu+unix://FOLDER/rtu",
    "ascii+unix://FOLDER/ascii",
]
#: Routes in memory, which there are in virtual time, too. The wires have a speed: their frames are exact.
MEMORY = ["memory://meter", "rtu+memory://meter", "ascii+memory://meter", "wire://bus", "ascii+wire://bus"]
TABLES = {"holding": {0: [1, 2, 3]}, "input": {5: [9]}, "coils": {0: [1, 0, 1]}, "discrete": {7: [1]}}
ROUTES = [
    *(pytest.param("real", url, id=url) for url in REAL),
    *(pytest.param(clock, url, id=f"{clock}-{url}") for clock in ("real", "virtual") for url in MEMORY),
]


@pytest.mark.parametrize(("clock", "url"), ROUTES)
def test_every_function_on_every_route(clock: Literal["real", "virtual"], url: str, tmp_path: Path) -> None:
    with Rig(trace="counts", clock=clock) as rig:
        rig.add_wire("bus", line="115200 8N1")
        with (
            modbus.Device(url.replace("FOLDER", str(tmp_path)), unit=3, rig=rig, **TABLES) as device,  # type: ignore[arg-type]
            modbus.Client(device.url, unit=3, timeout="5s", rig=rig) as client,
        ):
            assert client.read_holding(0, 3).values == (1, 2, 3)
            assert client.read_input(5).values == (9,)
            assert client.read_coils(0, 3).values == (True, False, True)
            assert client.read_discrete_inputs(7).values == (True,)
            client.write_coil(1, True)
            client.write_register(0, 10)
            client.write_coils(0, [False, True])
            client.write_registers(1, [20, 30])
            client.mask_write(0, and_mask=0x00F0, or_mask=0x0005)
            assert client.read_write_registers(0, 2, 2, [31]).values == (0x0005, 20)
            assert device.get("holding", 0, 3) == (0x0005, 20, 31)
            assert device.get("coils", 0, 3) == (0, 1, 1)
            answer = client.raw_pdu(b"\x03\x00\x02\x00\x01")
            assert answer.pdu == b"\x03\x02\x00\x1f"
            assert 0 <= answer.latency.latest < 5


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/dev/ttyUSB0", "write rtu:///dev/ttyUSB0?line=19200+8E1"),
        ("10.0.0.5:502", "write tcp://10.0.0.5:502"),
        ("modbus://h:502", "there is no scheme `modbus`"),
        ("tcp://h", "the port number is missing"),
        ("rtu://10.0.0.5:4001", "write rtu+tcp://10.0.0.5:4001"),
        ("rtu:///dev/ttyUSB0?parity=on", "`parity=on` is not none, even, odd, mark or space"),
        ("rtu:///dev/ttyUSB0?speed=9600", "unknown key `speed`"),
        ("ascii:///dev/ttyUSB0?case=lower", "it must be one of"),
        ("rtu+udp://h:1", "there is no scheme `rtu+udp`"),
    ],
)
def test_a_wrong_url_is_told_with_what_to_write_instead(url: str, text: str) -> None:
    for make in (modbus.Client, modbus.Device):
        with pytest.raises(UsageError) as found:
            make(url)
        assert text in str(found.value)


def test_a_datagram_that_is_not_answered_is_a_timeout_and_its_late_answer_no_data() -> None:
    with Rig(trace="counts") as rig, modbus.Device("udp://127.0.0.1:0", holding={0: [1, 2]}, rig=rig) as device:
        with modbus.Client(device.url, timeout="100ms", rig=rig) as client:
            assert client.read_holding(0).values == (1,)
            device.habit("delay_answer", "150ms")
            with pytest.raises(NoAnswer):
                client.read_holding(0)
            device.habit("delay_answer", "default")
            # The late answer has another transaction id: it is an event, whenever it comes.
            assert [client.read_holding(1).values for _ in range(20)] == [(2,)] * 20


def test_datagrams_that_are_not_just_one_adu_are_discarded_and_those_that_come_twice_answered_twice() -> None:
    request = bytes.fromhex("000100000006010300000001")
    with Rig(trace="counts") as rig, modbus.Device("udp://127.0.0.1:0", holding={0: [7]}, rig=rig) as device:
        host, port = device.url.removeprefix("udp://").split(":")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(20)
            peer.connect((host, int(port)))
            for wrong in (b"", request[:5], request[:-1], request + b"\0", request + request):
                peer.send(wrong)
            peer.send(request)
            peer.send(request)
            answer = bytes.fromhex("0001000000050103020007")
            assert [peer.recv(300), peer.recv(300)] == [answer, answer]
            peer.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.recv(300)


def test_a_second_datagram_with_the_same_answer_is_an_event_and_no_data() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def serve() -> None:
            for value in (5, 6):
                request, peer = server.recvfrom(300)
                answer = request[:4] + bytes((0, 5)) + request[6:8] + bytes((2, 0, value))
                # Twice, and with something behind it: only the first one is the answer.
                for datagram in (answer, answer, answer + b"!"):
                    server.sendto(datagram, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        with (
            Rig() as rig,
            modbus.Client(f"udp://127.0.0.1:{server.getsockname()[1]}", timeout="20s", rig=rig) as client,
        ):
            assert client.read_holding(0).values == (5,)
            assert client.read_holding(0).values == (6,)
        thread.join()


def test_nobody_at_a_udp_address_is_told() -> None:
    with Rig(trace="counts") as rig:
        with modbus.Device("udp://127.0.0.1:0", rig=rig) as device:
            url = device.url
        with (
            modbus.Client(url, timeout="5s", rig=rig) as client,
            pytest.raises(BenchError, match="nobody takes datagrams there"),
        ):
            client.read_holding(0)


def test_a_change_of_the_device_is_stamped_on_the_same_clock() -> None:
    with Rig(trace="counts") as rig, modbus.Device(holding={0: [1]}, rig=rig) as device:
        with modbus.Client(device.url, rig=rig) as client:
            before = client.read_holding(0)
            change = device.set("holding", 0, [2])
            after = client.read_holding(0)
        assert (before.values, change.value, after.values) == ((1,), (2,), (2,))
        assert before.done.order(change) == "before"
        assert change.until(after).earliest >= 0
