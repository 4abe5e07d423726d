"""What a broker throws away is neither proof of silence nor the device's fault."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import ExpectationFailed, InconclusiveError, ObserverBlind
from fieldrig.mqtt import Client, Watch

BENCH = """
[bench]
name = "crowded"
[link.uplink]
protocol = "mqtt311"
base = "site/crowded"
emulated = { broker = "embedded", queue_messages = 1 }
[dut.meter]
model = "meter.toml"
links = { uplink = "client" }
"""
MODEL = """
[model]
name = "meter"
[points.voltage]
kind = "float"
[[rule]]
when = "voltage changes"
publish = { topic = "{base}/voltage", json = { v = "{voltage}" }, qos = 1 }
"""
CONNECT = bytes.fromhex("10 12 00 04 4d 51 54 54 04 02 00 00 00 06") + b"forger"
PINGREQ, PINGRESP = bytes.fromhex("c0 00"), bytes.fromhex("d0 00")
FLOOD = 7000  # more than fit into the flight window and the queue together, all of them in one read of the broker


def forge(topic: bytes, number: int) -> bytes:
    """A publish at QoS 1 with an empty payload."""
    body = len(topic).to_bytes(2) + topic + number.to_bytes(2)
    return bytes([0x32, len(body)]) + body


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "bench.toml").write_text(BENCH)
    (tmp_path / "meter.toml").write_text(MODEL)
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "out") as opened:
        yield opened


@pytest.fixture
def watch(bench: Bench) -> Iterator[Watch]:
    uplink = bench.device("meter").uplink
    assert isinstance(uplink, Client)
    with uplink.watch("#", qos=1) as watch:
        yield watch


def flood(bench: Bench) -> None:
    """More than the broker queues for one client; returns when the broker has dealt with all of it."""
    host, port = bench._running.resolve("meter", "uplink").url.removeprefix("mqtt://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as forger:
        forger.sendall(CONNECT)
        assert forger.recv(4) == bytes.fromhex("20 02 00 00")
        forger.sendall(b"".join(forge(b"f", 1 + number) for number in range(FLOOD)) + PINGREQ)
        left = FLOOD * 4 + len(PINGRESP)
        while left:
            came = forger.recv(min(left, 65536))
            assert came, "the broker closed the connection"
            left -= len(came)


def dropped(bench: Bench) -> bool:
    """Whether the run log says that the broker dropped something."""
    return '"mqtt.dropped"' in Path(bench.files()["log"]).read_text()


def test_a_silence_in_which_the_broker_dropped_messages_is_not_believed(bench: Bench, watch: Watch) -> None:
    begun = bench.rig.now()
    flood(bench)
    with pytest.raises(ObserverBlind, match="the broker has dropped messages for this client"):
        watch.expect_none("alarm", after=begun, for_="1ms")
    assert dropped(bench)


def test_a_message_that_the_broker_may_have_dropped_is_not_held_against_the_device(bench: Bench, watch: Watch) -> None:
    begun = bench.rig.now()
    flood(bench)
    with pytest.raises(InconclusiveError, match="the broker has dropped messages for this client"):
        watch.expect("alarm", after=begun, within="1ms")


def test_what_was_dropped_before_the_window_does_not_spoil_it(bench: Bench, watch: Watch) -> None:
    flood(bench)
    after = bench.rig.now()
    watch.expect_none("alarm", after=after, for_="1ms")
    with pytest.raises(ExpectationFailed, match="did not arrive"):
        watch.expect("alarm", after=after, within="1ms")


def test_without_a_flood_silence_is_believed_and_a_missing_message_is_a_fail(bench: Bench, watch: Watch) -> None:
    watch.expect_none("alarm", for_="1ms")
    with pytest.raises(ExpectationFailed, match="did not arrive"):
        watch.expect("alarm", within="1ms")
    assert not dropped(bench)
