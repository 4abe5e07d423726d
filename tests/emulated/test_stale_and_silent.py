"""Nothing stale ever passes, and silence without a witness proves nothing."""

from __future__ import annotations

import os
import threading

import pytest

from fieldrig import Rig, mqtt
from fieldrig.errors import BenchError, ExpectationFailed, InconclusiveError, ObserverBlind, UnexpectedEvent
from fieldrig.expect import Timeline
from fieldrig.serial import Console


@pytest.fixture
def rig():
    with Rig(name="trust") as rig:
        yield rig


@pytest.fixture
def broker(rig):
    with mqtt.Broker(rig=rig) as broker:
        yield broker


class Device(int):
    """The file descriptor of the device's end. It is closed once: its number may be somebody else's by then."""

    open = True

    def hang_up(self):
        if self.open:
            self.open = False
            os.close(self)


@pytest.fixture
def line(rig):
    """A pty: our console on one end, the file descriptor of the device on the other."""
    master, slave = os.openpty()
    os.set_blocking(master, True)
    with Console(f"serial://{os.ttyname(slave)}?line=115200+8N1", rig=rig) as console:
        device = Device(master)
        yield console, device
    os.close(slave)
    device.hang_up()


def test_a_stale_console_line_fails_and_is_named(line):
    console, device = line
    os.write(device, b"boot ok v1.0\r\n")
    console.expect("boot ok", within="5s")
    os.write(device, b"boot ok v1.0\r\n")
    console.expect("v1", within="5s")
    os.write(device, b"boot ok v1.0\r\nlast\r\n")
    # The line is known to have arrived before the stimulus, because what was written behind it has.
    console.stream.receive(until=lambda data: b"last" in data, within="5s")
    sent = console.send("reboot")
    with pytest.raises(ExpectationFailed, match=r"(?s)^DUT: .*nearest: .*boot ok.*stale"):
        console.expect("boot ok", after=sent, within="50ms")


def test_an_mqtt_message_from_before_a_stimulus_on_another_link_fails(rig, broker):
    timeline = Timeline(rig.now, rig.stalls)
    with (
        mqtt.Client(broker.url, rig=rig, timeline=timeline) as tester,
        mqtt.Client(broker.url, rig=rig) as device_side,
        tester.watch("a/#", qos=1) as watch,
    ):
        device_side.publish("a/alarm", json={"code": "OVERTEMP"}, qos=1)
        watch.expect("a/alarm", within="5s")
        device_side.publish("a/alarm", json={"code": "OVERTEMP"}, qos=1)
        device_side.publish("a/end", "x", qos=1)
        watch.expect("a/end", within="5s")
        timeline.stimulus(rig.now())
        with pytest.raises(ExpectationFailed, match=r"(?s)^DUT: .*nearest: .*a/alarm.*stale"):
            watch.expect("a/alarm", within="50ms")


def test_a_retained_message_fails_unless_asked_for(rig, broker):
    with mqtt.Client(broker.url, rig=rig) as tester, mqtt.Client(broker.url, rig=rig) as device_side:
        device_side.publish("a/state", "on", qos=1, retain=True)
        with tester.watch("a/state") as watch:
            with pytest.raises(ExpectationFailed, match="retained"):
                watch.expect(payload="on", within="50ms")
            assert watch.expect(payload="on", within="5s", retained=True).retained


def test_silence_with_a_living_broker_passes_and_a_message_fails(rig, broker):
    with (
        mqtt.Client(broker.url, rig=rig) as tester,
        mqtt.Client(broker.url, rig=rig) as device_side,
        tester.watch("a/#") as watch,
    ):
        watch.expect_none(for_="50ms")
        device_side.publish("a/alarm", "x", qos=1)
        with pytest.raises(UnexpectedEvent, match="^DUT: .*a/alarm"):
            watch.expect_none(for_="5s")


def test_silence_after_the_broker_died_is_inconclusive(rig):
    broker = mqtt.Broker(rig=rig)
    with mqtt.Client(broker.url, rig=rig) as tester, tester.watch("a/#") as watch:
        killer = threading.Thread(target=broker.close)
        killer.start()
        with pytest.raises(InconclusiveError, match="^INCONCLUSIVE: "):
            watch.expect_none(for_="200ms")
        killer.join()


def test_silence_on_a_port_that_hung_up_is_inconclusive(line):
    console, device = line
    device.hang_up()
    with pytest.raises(ObserverBlind, match="^INCONCLUSIVE: .*no witness"):
        console.expect_none("panic", for_="50ms")


def test_a_port_that_vanishes_while_it_is_waited_for_is_the_bench(line):
    console, device = line
    closer = threading.Timer(0.05, device.hang_up)
    closer.start()
    with pytest.raises(BenchError, match="^BENCH: "):
        console.expect("never", within="30s")
    closer.join()


def test_a_failure_lists_what_arrived_on_all_links(rig, broker):
    timeline = Timeline(rig.now, rig.stalls)
    with mqtt.Client(broker.url, rig=rig, timeline=timeline, name="meter.mqtt") as tester:
        with tester.watch("a/#") as watch, tester.watch("b/#") as other:
            sent = tester.publish("b/x", "1", qos=1)
            other.expect("b/x", after=sent, within="5s")
            with pytest.raises(ExpectationFailed) as failed:
                watch.expect("a/x", after=sent, within="50ms")
    text = str(failed.value)
    assert "b/x" in text and len(text.splitlines()) <= 25
