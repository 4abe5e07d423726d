"""Relays and plugs as the bench file names them: over links of the bench, and by the guardian after the run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, modbus, mqtt
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError
from tests.life.lab import Lab

LINKS = """
[bench]
name = "lab"
profile = "real"
[link.console]
protocol = "console"
line = "115200 8N1"
real = {{ port = "{port}" }}
[link.relays]
protocol = "modbus-tcp"
real = {{ port = "{relays}" }}
[link.lab]
protocol = "mqtt5"
base = "lab"
real = {{ {broker} }}
[dut.pump]
links = {{ console = {{}} }}
power = {{ {power} }}
"""
RELAY = 'modbus = "relays", unit = 3, coil = 7, safe = "off"'
PLUG = 'mqtt = "lab", topic = "{base}/pump", on = "1", off = "0", safe = "off"'


@pytest.fixture
def rig() -> Iterator[Rig]:
    """What outlives the runs."""
    with Rig(name="outside") as rig:
        yield rig


@pytest.fixture
def board(rig: Rig) -> Iterator[modbus.Device]:
    with modbus.Device(coils={0: [False] * 8}, holding={0: [42]}, unit=None, rig=rig) as board:
        yield board


@pytest.fixture
def broker(rig: Rig) -> Iterator[mqtt.Broker]:
    with mqtt.Broker(rig=rig) as broker:
        yield broker


def write(lab: Lab, board: modbus.Device, power: str, broker: str) -> Path:
    path = lab.folder / "bench.toml"
    path.write_text(LINKS.format(port=lab.port, relays=board.url, broker=broker, power=power))
    return path


def test_a_relay_on_a_link_of_the_bench(lab: Lab, board: modbus.Device) -> None:
    path = write(lab, board, RELAY, 'broker = "embedded"')
    with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        power = bench.device("pump").power
        assert (board.get("coils", 7), power.status()) == ((1,), "on")
        power.off()
        assert (board.get("coils", 7), power.status()) == ((0,), "off")
        power.on()
    assert board.get("coils", 7) == (0,)
    assert lab.records("safe") == [{"device": "pump", "action": "off", "by": "guardian", "problem": ""}]


def test_a_plug_on_a_link_of_the_bench(lab: Lab, board: modbus.Device, rig: Rig, broker: mqtt.Broker) -> None:
    path = write(lab, board, PLUG, f'broker = "{broker.url}"')
    with mqtt.Client(broker.url, rig=rig) as client, client.watch("lab/pump") as told:
        with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
            bench.device("pump").power.cycle(off="1ms")
        # The guardian's QoS 1 publish was acknowledged by the broker before it ended, so that all are on their way.
        while len(told.messages()) < 4:
            assert told._core.wait(len(told.messages()), client._core.now().latest_ns + 30_000_000_000)
        assert [message.text for message in told.messages()] == ["1", "0", "1", "0"]


def test_a_plug_on_the_broker_of_the_run_cannot_have_a_safe_state(lab: Lab, board: modbus.Device) -> None:
    path = write(lab, board, PLUG, 'broker = "embedded"')
    with pytest.raises(BenchError, match="pump: its safe state is driven through what ends with the run: mqtt://"):
        BenchPlan.load(path).open(out=lab.folder / "run")


WAITS = """
import os
import time
def test_it(pump):
    os.write(os.open("waits", os.O_WRONLY), b"here")
    while True:
        time.sleep(0.01)                       # until a signal ends it
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda one: one.name)
def test_the_guardian_switches_a_relay_when_the_run_is_killed(
    lab: Lab, board: modbus.Device, number: signal.Signals
) -> None:
    write(lab, board, RELAY, 'broker = "embedded"')
    (lab.folder / "test_waits.py").write_text(WAITS)
    pipe = lab.fifo("waits")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_waits.py"]
    command += ["--bench", "bench.toml", "--fieldrig-out", "run"]
    with subprocess.Popen(command, cwd=lab.folder, stdout=subprocess.DEVNULL) as run:
        lab.wait_for_word(pipe, run)
        assert board.get("coils", 7) == (1,)
        with lab.ends(int(lab.records("guardian")[0]["pid"])):
            run.send_signal(number)
    assert board.get("coils", 7) == (0,)


def test_a_relay_beside_the_device_is_asked_over_the_same_connection(lab: Lab, board: modbus.Device) -> None:
    (lab.folder / "pump.toml").write_text('[model]\nname = "pump"\n[face.relays]\n')
    path = write(lab, board, RELAY.replace(', safe = "off"', ""), 'broker = "embedded"')
    text = path.read_text().replace("links = { console = {} }", 'links = { relays = "devices" }\nmodel = "pump.toml"')
    path.write_text(text)
    with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        pump = bench.device("pump")
        pump.power.cycle(off="1ms")
        assert pump.relays.read_holding(0).values == (42,)
        assert board.get("coils", 7) == (1,)
