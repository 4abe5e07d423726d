"""Serial stacks of others on emulated lines: pySerial, serialx, tokio-serial and pymodbus on ptys and over RFC 2217.

A device states its line, 9600 8E1. Who is set alike is understood, however often it comes and goes; who is not gets and
gives garbage.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fieldrig import Rig, modbus
from fieldrig.stream import Stream
from tests import needs

pytestmark = pytest.mark.filterwarnings("ignore:set.*is deprecated:DeprecationWarning")

ROUNDS = 10
LINE = "line=9600+8E1"
PEERS = ["serial", "serialx"]


@contextmanager
def opened(package: str, where: str, **settings: Any) -> Iterator[Any]:
    """A port of pySerial or serialx, as its manual opens one."""
    library = pytest.importorskip(package)
    options = {"baudrate": 9600, "parity": "E", "timeout": 10, **settings}
    port = library.serial_for_url(where, **options)
    if not port.is_open:  # serialx leaves that to its user
        port.open()
    try:
        yield port
    finally:
        port.close()


def place(device: Stream) -> str:
    """Where others open it: a device node, or a URL of RFC 2217."""
    scheme, _, rest = device.url.partition("://")
    bare = rest.partition("?")[0]
    return bare if scheme == "serial" else f"rfc2217://{bare}"


def exactly(read: Callable[[int], bytes], count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = read(count - len(found))
        assert piece, found
        found += piece
    return found


@pytest.mark.parametrize("package", PEERS)
def test_a_port_opens_closes_and_opens_again_without_an_error_or_a_stale_byte(package: str) -> None:
    with Rig(trace="counts") as rig, Stream(f"pty://?{LINE}", rig=rig) as device:
        for number in range(ROUNDS):
            with opened(package, place(device)) as port:
                port.write(b"ping%d" % number)
                assert device.receive(5, within="10s").data == b"ping%d" % number
                device.send(b"pong%d" % number)
                assert exactly(port.read, 5) == b"pong%d" % number
                device.send(b"never read")
            device.send(b"nobody is there")


def test_tokio_serial_opens_closes_and_opens_again_without_an_error_or_a_stale_byte() -> None:
    command = [str(needs.rust_stacks()), "line"]
    with Rig(trace="counts") as rig, Stream(f"pty://?{LINE}", rig=rig) as device:
        with subprocess.Popen(
            [*command, place(device), str(ROUNDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as peer:
            assert peer.stdin and peer.stdout
            try:
                for number in range(ROUNDS):
                    assert device.receive(5, within="10s").data == b"ping%d" % number
                    device.send(b"pong%d" % number)
                    device.send(b"never read")
                    assert peer.stdout.readline() == f"pong{number}\n"
                    device.send(b"nobody is there")
                    peer.stdin.write("\n")
                    peer.stdin.flush()
                assert peer.wait(10) == 0
            finally:
                peer.kill()


def test_a_client_of_pymodbus_comes_and_goes_and_is_answered_each_time() -> None:
    library = pytest.importorskip("pymodbus.client")
    with Rig(trace="counts") as rig, modbus.Device(f"rtu+pty://?{LINE}", unit=1, rig=rig, holding={0: [0]}) as device:
        path = device.url.partition("://")[2].partition("?")[0]
        for number in range(ROUNDS):
            device.set("holding", 0, [number])
            # It sets the port twice: the second time a pty refuses even parity (EINVAL), which it cannot show anyway.
            client = library.ModbusSerialClient(port=path, baudrate=9600, parity="N", timeout=10, retries=0)
            assert client.connect()
            try:
                answer = client.read_holding_registers(0, count=1, device_id=1)
                assert not answer.isError(), answer
                assert answer.registers == [number]
            finally:
                client.close()


@pytest.mark.parametrize("carrier", ["pty://", "rfc2217-listen://127.0.0.1:0"])
@pytest.mark.parametrize("package", PEERS)
def test_who_is_set_to_another_speed_gets_and_gives_garbage(package: str, carrier: str) -> None:
    with Rig(trace="counts") as rig, Stream(f"{carrier}?{LINE}", rig=rig) as device:
        with opened(package, place(device), baudrate=19200) as port:
            port.write(b"question")
            # As many bytes as there are, up to the one that ends the wait: all zero bits are no byte but a break.
            came = device.receive(1, within="10s").data
            assert came and not b"question".startswith(came)
            device.send(b"answer")
            assert exactly(port.read, 1) != b"a"


@pytest.mark.parametrize("package", PEERS)
def test_over_rfc_2217_modem_lines_are_seen_on_both_sides_and_a_break(package: str) -> None:
    with Rig(trace="counts") as rig:
        with Stream(f"rfc2217-listen://127.0.0.1:0?{LINE}&modem=loop", rig=rig) as device:
            with opened(package, place(device)) as port:
                begun = rig.now()
                port.rts = False
                until(rig, lambda: not port.cts)
                lowered = device.line_events("modem", after=begun, within="10s")
                assert lowered[-1].cts is False, lowered
                if package == "serial":  # serialx has no such property
                    assert port.dsr
                port.rts = True
                until(rig, lambda: port.cts)
                raised = device.line_events("modem", after=lowered[-1].at, within="10s")
                assert raised[-1].cts is True, raised
                if package == "serial":  # serialx has no break
                    port.break_condition = True
                    port.break_condition = False
                    (broken,) = device.line_events("break", after=begun, within="10s")
                    assert broken.at.latest > raised[-1].at.earliest
                    assert (broken.cts, broken.settings) == (None, None)
                port.write(b"done")
                assert device.receive(4, within="10s").data == b"done"


def until(rig: Rig, condition: Callable[[], bool]) -> None:
    """Waits until it is so."""
    begun = rig.now()
    while not condition():
        assert (rig.now() - begun).latest < 30
        rig.sleep("5ms")
