"""One clear message with place and hint for everything that a user can get wrong or that a bench can miss."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from fieldrig import modbus, mqtt
from fieldrig.errors import BenchError, DutError, PortError, UsageError
from fieldrig.serial import Console


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def chatterbox():
    """A server that speaks something else: it greets like a mail server and answers everything with a line."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                conn, _ = server.accept()
            except OSError:
                return
            with conn:
                conn.sendall(b"220 mail ready\r\n")
                try:
                    while conn.recv(1024):
                        conn.sendall(b"500 what?\r\n")
                except OSError:
                    continue

    thread = threading.Thread(target=serve, name="chatterbox")
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def test_a_missing_serial_port_is_the_bench_and_names_the_port():
    with pytest.raises(PortError, match=r"^BENCH: .*/dev/does-not-exist"):
        Console("serial:///dev/does-not-exist?line=9600+8N1")


def test_a_busy_serial_port_is_the_bench_and_names_the_holder():
    master, slave = os.openpty()
    url = f"serial://{os.ttyname(slave)}?line=9600+8N1"
    try:
        with Console(url), pytest.raises(PortError, match=rf"^BENCH: (?s:.*){os.getpid()}"):
            Console(url)
    finally:
        os.close(master)
        os.close(slave)


def test_a_refused_connection_is_the_bench(unused_port):
    with pytest.raises(PortError, match=rf"^BENCH: .*127\.0\.0\.1:{unused_port}"):
        modbus.Client(f"tcp://127.0.0.1:{unused_port}")
    with pytest.raises(PortError, match=rf"^BENCH: .*127\.0\.0\.1:{unused_port}"):
        mqtt.Client(f"mqtt://127.0.0.1:{unused_port}")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:502", "tpc://127.0.0.1:502", "tcp://127.0.0.1:seven", "rtu:///dev/x?line=9"]
)
def test_a_malformed_url_is_a_usage_error_that_quotes_it(url):
    with pytest.raises(UsageError, match=r"^USAGE: "):
        modbus.Client(url)


def test_a_server_that_speaks_something_else_is_named_with_its_bytes(chatterbox):
    with modbus.Client(f"tcp://127.0.0.1:{chatterbox}", timeout="500ms") as client:
        with pytest.raises((DutError, BenchError)) as wrong:
            client.read_holding(0, 1)
    assert "32 32 30 20" in str(wrong.value) or "220 mail" in str(wrong.value)
    with pytest.raises((DutError, BenchError), match="(?s)MQTT|CONNACK|packet"):
        mqtt.Client(f"mqtt://127.0.0.1:{chatterbox}", timeout="500ms")


def test_a_bare_number_is_no_time_limit():
    with modbus.Device(holding={0: [1]}) as device, pytest.raises(UsageError, match="unit"):
        modbus.Client(device.url, timeout=1)  # type: ignore[arg-type]


def test_an_unknown_point_lists_the_known_ones():
    points = {"voltage": {"table": "holding", "address": 0, "type": "u16"}}
    with modbus.Device(holding={0: [1]}) as device, modbus.Client(device.url, points=points) as client:
        with pytest.raises(UsageError, match="voltage"):
            client.read("volts")


@pytest.mark.parametrize(
    ("base", "topic", "text"), [("", "{base}/alarm", "has none"), ("lab", "{bse}/alarm", "{base}")]
)
def test_a_topic_that_nobody_meant_is_refused(base, topic, text):
    with mqtt.Broker() as broker, mqtt.Client(broker.url, base=base) as client:
        with pytest.raises(UsageError, match=text):
            client.watch(topic)
        with pytest.raises(UsageError, match=text):
            client.publish(topic, b"")


def test_other_braces_belong_to_the_topic():
    with mqtt.Broker() as broker, mqtt.Client(broker.url, base="lab") as client, client.watch("{base}/{id}") as watch:
        sent = client.publish("lab/{id}", b"x", qos=1)
        assert watch.expect(topic="{base}/{id}", after=sent, within="20s").topic == "lab/{id}"
