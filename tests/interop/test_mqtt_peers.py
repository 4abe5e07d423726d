"""Our MQTT client against mosquitto, paho against our broker."""

from __future__ import annotations

import gc
import queue
import socket
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import mqtt
from fieldrig.errors import ExpectationFailed, FieldrigError, PortError, Refused
from tests import needs


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mosquitto that wants a user name and a password only where its own file says so."""
    binary = needs.program("mosquitto")
    port = free_port()
    configuration: Path = tmp_path_factory.mktemp("mosquitto") / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    process = subprocess.Popen([binary, "-c", str(configuration)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert process.stdout is not None
        said = b""
        while b"running" not in said:
            line = process.stdout.readline()
            assert line, f"mosquitto did not start: {said.decode()}"
            said += line
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("version", [5, "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1])
def test_messages_go_through_mosquitto(mosquitto: str, version: int | str, qos: int) -> None:
    with (
        mqtt.Client(mosquitto, version=version) as one,
        mqtt.Client(mosquitto, version=version) as other,
        other.watch("site/+/alarm", qos=qos) as alarms,
    ):
        assert alarms.granted == qos
        sent = one.publish("site/a/alarm", json={"code": "OVERTEMP", "value": 85}, qos=qos)
        message = alarms.expect(json={"code": "OVERTEMP"}, after=sent, within="5s")
        assert (message.topic, message.qos, message.retained) == ("site/a/alarm", qos, False)
        assert sent.until(message).latest > 0
        alarms.expect_none(for_="100ms")


def test_a_retained_message_of_mosquitto_is_taken_only_if_asked(mosquitto: str) -> None:
    with mqtt.Client(mosquitto) as client:
        client.publish("kept/topic", "old", qos=1, retain=True)
        with client.watch("kept/#") as watch:
            assert watch.expect(within="5s", retained=True, after=None).retained
        with client.watch("kept/#") as watch, pytest.raises(ExpectationFailed, match="retained"):
            watch.expect(within="200ms")
        client.publish("kept/topic", b"", qos=1, retain=True)


@pytest.mark.parametrize("protocol", ["MQTTv311", "MQTTv5"])
def test_paho_talks_through_our_broker(protocol: str) -> None:
    paho = pytest.importorskip("paho.mqtt.client")
    with mqtt.Broker() as broker, mqtt.Client(broker.url) as ours, ours.watch("from/paho", qos=1) as watch:
        port = int(broker.url.rpartition(":")[2])
        heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        subscribed: queue.Queue[None] = queue.Queue()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=getattr(paho, protocol))
        client.on_message = lambda _client, _data, message: heard.put((message.topic, message.payload))
        client.on_subscribe = lambda *_: subscribed.put(None)
        client.on_connect = lambda connected, *_: connected.subscribe("to/paho", qos=1)
        client.connect("127.0.0.1", port)
        client.loop_start()
        try:
            subscribed.get(timeout=10)
            ours.publish("to/paho", b"hello", qos=1)
            assert heard.get(timeout=10) == ("to/paho", b"hello")
            client.publish("from/paho", b"there", qos=1).wait_for_publish(10)
            assert watch.expect(within="5s", payload="there").qos == 1
        finally:
            client.disconnect()
            client.loop_stop()
            with warnings.catch_warnings():
                # paho leaves the pair of sockets that wakes its thread to the collector; not to that of a later test.
                warnings.simplefilter("ignore", ResourceWarning)
                del client
                gc.collect()


@pytest.mark.parametrize(("owner", "error"), [("bench", PortError), ("dut", Refused)])
def test_a_refused_connection_names_the_reason(mosquitto: str, owner: str, error: type[FieldrigError]) -> None:
    # [MQTT-3.1.3-8]: a server must refuse a client without identifier that wants to keep its session.
    with pytest.raises(error, match="identifier rejected") as caught:
        mqtt.Client(mosquitto, version="3.1.1", client_id="", clean=False, belongs_to=owner)  # type: ignore[arg-type]
    assert caught.value.facts["code"] == 2
