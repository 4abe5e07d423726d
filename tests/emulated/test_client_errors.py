"""What a Modbus client says when there is no proper answer: who is to blame, and on which evidence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fieldrig import modbus
from fieldrig.errors import ConnectionLost, NoAnswer, ProtocolError, Stopped, Unanswered, UsageError


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of raw bytes for one connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            serve(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(30)
        listener.close()


def test_a_connection_that_is_closed_instead_of_an_answer_is_the_devices_fault() -> None:
    with (
        server(lambda connection: connection.recv(260) and None) as url,
        modbus.Client(url, belongs_to="dut") as client,
        pytest.raises(ConnectionLost, match=r"DUT: .* was not answered: the other side closed") as caught,
    ):
        client.read_holding(0, 1, timeout="30s")
    assert caught.value.facts["request"][7:] == bytes.fromhex("03 0000 0001")


def test_an_answer_that_is_none_is_shown_with_its_bytes() -> None:
    with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url) as client:
        device.habit("exception_extra_byte")
        with pytest.raises(ProtocolError, match="DUT: .*1 bytes follow") as caught:
            client.read_holding(100)
        assert caught.value.facts["received"][7:9] == b"\x83\x02"
        device.habit("exception_extra_byte", "default")
        assert client.read_holding(0).values == (1,)
        with pytest.raises(UsageError, match="there is no habit `politeness`; there are "):
            device.habit("politeness")


def test_silence_accuses_the_device_only_on_a_path_that_has_worked() -> None:
    with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url) as client:
        with pytest.raises(Unanswered, match="INCONCLUSIVE: .*within 50 ms"):
            client.read_holding(0, unit=9, timeout="50ms")
        assert client.read_holding(0).values == (1,)
        with pytest.raises(NoAnswer, match="DUT: .*unit 9 was not answered within 50 ms"):
            client.read_holding(0, unit=9, timeout="50ms")


def test_a_device_without_power_breaks_its_connections_and_comes_back() -> None:
    with modbus.Device(holding={0: [1]}) as device:
        with modbus.Client(device.url, belongs_to="dut") as client:
            assert client.read_holding(0).values == (1,)
            device.power_off()
            with pytest.raises(ConnectionLost):
                client.read_holding(0)
        device.power_on()
        with modbus.Client(device.url) as client:
            assert client.read_holding(0).values == (1,)


def test_a_client_connects_again_when_its_device_has_its_power_back() -> None:
    with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url, belongs_to="dut") as client:
        assert client.read_holding(0).values == (1,)
        device.power_off()
        with pytest.raises(ConnectionLost):
            client.read_holding(0)
        device.power_on()
        assert client.read_holding(0).values == (1,)


def test_what_is_closed_says_so() -> None:
    with modbus.Device(holding={0: [1]}) as device:
        client = modbus.Client(device.url)
        client.close()
        client.close()
        with pytest.raises(Stopped, match="USAGE: .*closed"):
            client.read_holding(0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda client: client.read_holding(70000), "address is 0 to 65535, not 70000"),
        (lambda client: client.read_holding(0, 126), "the quantity is 126"),
        (lambda client: client.read_holding(0, unit=256), "unit is 0 to 255, not 256"),
        (lambda client: client.read_holding(0, timeout=1), "not a duration"),
        (lambda client: client.write_registers(0, [65536]), "a register value is 0 to 65535"),
        (lambda client: client.write_registers(0, []), "quantity"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(call: Callable[[modbus.Client], object], text: str) -> None:
    with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url) as client:
        with pytest.raises(UsageError, match=text):
            call(client)
        assert client.raw_pdu(b"\x03\x00\x00\x00\x01").pdu == b"\x03\x02\x00\x01"
