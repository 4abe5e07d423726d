"""Supplies that speak SCPI, plugs whose make is known, plug-ins of other packages, and resets."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fieldrig import Rig, mqtt
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError, UsageError
from fieldrig.life.safe import SafeAction, perform
from fieldrig.life.switch import make_switch
from tests.life.lab import Lab


class Supply:
    """A power supply that speaks SCPI over TCP, one connection after the other."""

    def __init__(self) -> None:
        self.on = True
        self.stuck = False
        self.heard: list[str] = []
        self.errors: list[str] = ['-410,"Query INTERRUPTED"']
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, name="supply")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rw", encoding="ascii", newline="\n") as lines:
                for line in lines:
                    answer = self._hears(line.strip())
                    if answer is not None:
                        lines.write(answer + "\n")
                        lines.flush()

    def _hears(self, line: str) -> str | None:
        self.heard.append(line)
        if line == "SYST:ERR?":
            return self.errors.pop(0) if self.errors else '+0,"No error"'
        if line == "OUTP?":
            return str(int(self.on))
        if line in ("OUTP ON", "OUTP OFF"):
            self.on = self.on if self.stuck else line == "OUTP ON"
        else:
            self.errors.append('-113,"Undefined header"')
        return None

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def supply() -> Iterator[Supply]:
    made = Supply()
    yield made
    made.close()


def test_a_supply_is_told_and_read_back_and_its_old_errors_accuse_nobody(lab: Lab, supply: Supply) -> None:
    path = lab.bench(f'power = {{ scpi = "{supply.url}", safe = "off" }}')
    with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        power = bench.device("pump").power
        assert (supply.on, power.status()) == (True, "on")
        power.off()
        assert (supply.on, power.status(), supply.errors) == (False, "off", [])
        power.on()
        assert supply.on
    assert not supply.on, "the guardian drove the safe state"
    assert lab.records("safe") == [{"device": "pump", "action": "off", "by": "guardian", "problem": ""}]
    assert [(one["action"], one["read_back"]) for one in lab.records("power")] == [
        ("on", "on"),
        ("off", "off"),
        ("on", "on"),
    ]
    assert all(one["issued_ns"] < one["returned_ns"] for one in lab.records("power"))


@pytest.mark.parametrize(
    ("keys", "stuck", "error"),
    [
        ('on = "OUTPUT:STATE ON"', False, 'said to `OUTPUT:STATE ON`: -113,"Undefined header"'),
        ('timeout = "100ms"', True, "switched `on`, but it reads back `off` after 100 ms"),
        ('timeout = "100ms", status = "VOLT"', False, "answered nothing to `VOLT`"),
    ],
    ids=["error", "read-back", "silent"],
)
def test_a_supply_that_fails_is_the_benchs_fault(lab: Lab, supply: Supply, keys: str, stuck: bool, error: str) -> None:
    supply.on, supply.stuck = False, stuck
    path = lab.bench(f'power = {{ scpi = "{supply.url}", {keys} }}')
    with pytest.raises(BenchError) as raised, BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        bench.device("pump").power.on()
    assert error in str(raised.value)
    assert supply.url in str(raised.value) or "pump.power" in str(raised.value)


def test_a_supply_that_is_not_there_is_the_benchs_fault(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    path = lab.bench(f'power = {{ scpi = "{url}" }}')
    with pytest.raises(BenchError, match=f"the supply of pump at {url}: "):
        BenchPlan.load(path).open(out=lab.folder / "run")


PLUGS = {
    'tasmota = "rack"': ("cmnd/rack/POWER", "stat/rack/POWER", {"ON": "ON", "OFF": "OFF"}),
    'tasmota = "rack", relay = 2': ("cmnd/rack/POWER2", "stat/rack/POWER2", {"ON": "ON", "OFF": "OFF"}),
    'shelly = "rack"': (
        "rack/command/switch:0",
        "rack/status/switch:0",
        {"on": '{"id":0, "source":"MQTT", "output":true}', "off": '{"id":0, "source":"MQTT", "output":false}'},
    ),
    'shelly = "shellyplug-A1", generation = 1, relay = 1': (
        "shellies/shellyplug-A1/relay/1/command",
        "shellies/shellyplug-A1/relay/1",
        {"on": "on", "off": "off"},
    ),
}


@pytest.mark.parametrize("keys", PLUGS)
def test_a_plug_whose_make_is_known_needs_no_topics(lab: Lab, keys: str) -> None:
    command, status, answers = PLUGS[keys]
    with Rig(name="outside") as rig, mqtt.Broker(rig=rig) as broker, mqtt.Client(broker.url, rig=rig) as plug:
        with plug.watch(command) as told:
            done: list[str] = []
            thread = threading.Thread(target=obey, args=(plug, told, status, answers, done))
            thread.start()
            with lab_bench(lab, broker.url, keys) as bench:
                bench.device("pump").power.off()
            thread.join()
    assert done == list(answers), "on when the bench opens, off by the test"


def obey(plug: Any, told: Any, status: str, answers: dict[str, str], done: list[str]) -> None:
    """Does what the plug is told twice: it is switched on when the bench opens, and off by the test."""
    while len(done) < 2:
        heard = [message.text for message in told.messages() if message.text in answers]  # else a question
        for text in heard[len(done) :]:
            plug.publish(status, answers[text], qos=1)
            done.append(text)
        told._core.wait(len(told.messages()), plug._core.now().latest_ns + 1_000_000_000)


def lab_bench(lab: Lab, broker: str, keys: str) -> Any:
    """The lab with a link to a broker, and a plug there."""
    path = lab.bench(f'power = {{ mqtt = "lab", {keys}, timeout = "20s" }}')
    path.write_text(path.read_text() + f'[link.lab]\nprotocol = "mqtt5"\nreal = {{ broker = "{broker}" }}\n')
    return BenchPlan.load(path).open(out=lab.folder / "run")


class Hub:
    """A plug-in of another package."""

    state = "on"
    resets = 0
    over = threading.Event()

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.actions = ("on", "off")

    def drive(self, action: str) -> None:
        if self.options.get("broken"):
            raise RuntimeError("no such hub")
        if self.options.get("misuses"):
            raise UsageError("a duration has a unit")
        if self.options.get("exits"):
            sys.exit(3)
        if self.options.get("hangs"):
            Hub.over.wait()
        Hub.state = action

    def confirm(self, action: str) -> Any:
        if self.options.get("odd"):
            return 1
        return "on" if self.options.get("welded") else Hub.state

    def status(self) -> str | None:
        return Hub.state

    def restart(self) -> None:
        Hub.resets += 1


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in is installed: its entry points are known."""
    real = importlib.metadata.entry_points
    point = importlib.metadata.EntryPoint("hub", "tests.life.test_switches:Hub", "fieldrig.switch")

    def entry_points(**wanted: str) -> Any:
        return [point] if str(wanted.get("group", "")).startswith("fieldrig.") else real(**wanted)

    monkeypatch.setattr("fieldrig.life.plugin.entry_points", entry_points)
    Hub.state, Hub.resets = "on", 0
    Hub.over.clear()
    yield
    Hub.over.set()


@pytest.mark.usefixtures("hub")
def test_a_plug_in_switches_and_resets(lab: Lab) -> None:
    path = lab.bench('power = { plugin = "hub", options = { port = 2 } }\nrestart = { plugin = "hub" }')
    with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        pump = bench.device("pump")
        pump.power.off()
        assert (Hub.state, pump.power.status()) == ("off", "off")
        restarted = pump.restart()
        assert Hub.resets == 1
        assert restarted.at.latest_ns <= restarted.done.earliest_ns
    assert [one["device"] for one in lab.records("restart")] == ["pump"]
    assert lab.records("restart")[0]["issued_ns"] <= lab.records("restart")[0]["returned_ns"]


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ('plugin = "hug"', "pump: there is no plug-in `hug`: hub"),
        ('plugin = "hub", options = { broken = true }', "pump.power: the plug-in `hub`: RuntimeError: no such hub"),
        ('plugin = "hub", options = { welded = true }', "the plug-in `hub`: switched `off`, but it reads back `on`"),
        ('plugin = "hub", options = { misuses = true }', "pump.power: the plug-in `hub`: a duration has a unit"),
        ('plugin = "hub", options = { exits = true }', "the plug-in `hub`: SystemExit: 3"),
        ('plugin = "hub", options = { odd = true }', "the plug-in `hub`: confirm() gave 1; it is to give a text"),
        (
            'plugin = "hub", options = { hangs = true }, timeout = "50ms"',
            "the plug-in `hub`: it took longer than 50 ms",
        ),
    ],
    ids=["name", "raises", "read-back", "misuses", "exits", "odd", "hangs"],
)
def test_a_plug_in_that_fails_is_the_benchs_fault(lab: Lab, keys: str, error: str) -> None:
    path = lab.bench(f"power = {{ {keys} }}")
    with pytest.raises(BenchError) as raised, BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        bench.device("pump").power.off()
    assert error in str(raised.value)


@pytest.mark.usefixtures("hub")
def test_a_plug_in_that_hangs_keeps_no_other_device_from_its_safe_state() -> None:
    """Also where the run itself has to do it, because its guardian was killed."""
    table = {"plugin": "hub", "timeout": "50ms", "options": {"hangs": True}}
    assert perform(SafeAction("pump", "off", table)).endswith("it took longer than 50 ms")


@pytest.mark.usefixtures("hub")
def test_nothing_more_is_asked_of_a_plug_in_that_hangs() -> None:
    switch = make_switch("pump", {"plugin": "hub", "timeout": "50ms", "options": {"hangs": True}})
    with pytest.raises(BenchError, match="it took longer than 50 ms"):
        switch.drive("off")
    with pytest.raises(BenchError, match="it still hangs in what took too long before"):
        switch.status()


RESETS: dict[str, Callable[[Lab], str]] = {
    "command": lambda lab: f'restart = {{ command = "{lab.relay} reset" }}',
    "power": lambda lab: lab.power() + '\nrestart = { power = "cycle", off = "1ms" }',
}


@pytest.mark.parametrize("kind", RESETS)
def test_a_real_device_is_reset_as_the_bench_file_says(lab: Lab, kind: str) -> None:
    with BenchPlan.load(lab.bench(RESETS[kind](lab))).open(out=lab.folder / "run") as bench:
        before = len(lab.switched())
        bench.device("pump").restart()
    done = [line for line in lab.switched()[before:] if line.endswith("done")]
    assert done == (["reset done"] if kind == "command" else ["off done", "on done"])


def test_a_reset_that_fails_is_the_benchs_fault_and_leaves_a_stimulus(lab: Lab) -> None:
    (lab.folder / "reset.fails").touch()
    with BenchPlan.load(lab.bench(RESETS["command"](lab))).open(out=lab.folder / "run") as bench:
        with pytest.raises(BenchError, match="reset` ended with 3: relay: contact welded"):
            bench.device("pump").restart()
    assert lab.records("restart.failed")[0]["device"] == "pump"


def test_a_real_device_without_a_way_to_reset_says_so(lab: Lab) -> None:
    with BenchPlan.load(lab.bench("")).open(out=lab.folder / "run") as bench:
        with pytest.raises(UsageError, match="does not say how this real device is reset"):
            bench.device("pump").restart()


def test_an_emulated_device_reboots(lab: Lab) -> None:
    (lab.folder / "pump.toml").write_text('[model]\nname = "pump"\n[boot]\nlines = "boot ok"\n')
    path = lab.bench('model = "pump.toml"\nrestart = { command = "never run" }')
    with BenchPlan.load(path, ["emulated"]).open(out=lab.folder / "run") as bench:
        pump = bench.device("pump")
        restarted = pump.restart()
        pump.console.expect("boot ok", after=restarted, within="30s")
    boots = [record["boots"] for record in lab.records("device.power") if record["state"] == "run"]
    assert boots == [1, 2]
