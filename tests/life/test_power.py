"""Power of real devices: what is switched is read back, and a switch that fails is the bench's fault."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, modbus, mqtt
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchError, UsageError
from fieldrig.life.command import run_command
from fieldrig.life.switch import Switch, described, make_switch
from tests.life.lab import Lab

ALL = ["on", "off", "status"]


def test_what_a_command_switched_is_read_back(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=ALL)))
    with plan.open(out=lab.folder / "run") as bench:
        power = bench.device("pump").power
        assert power.status() == "on"
        done = power.off()
        assert (power.status(), power.last) == ("off", "off")
        assert done.at.earliest_ns < done.done.earliest_ns
    logged = lab.records("power")[-1]
    assert logged.pop("issued_ns") < logged.pop("returned_ns")
    assert logged == {"device": "pump", "action": "off", "read_back": "off"}
    asked = ["on", "status", "status", "off", "status", "status"]
    assert [line for line in lab.switched() if not line.endswith("done")] == asked


def test_a_relay_that_says_otherwise_is_the_benchs_fault(lab: Lab) -> None:
    script = '#!/bin/sh\n[ "$1" = status ] && echo on || true\n'
    lab.relay.write_text(script)
    plan = BenchPlan.load(lab.bench(lab.power(actions=ALL, timeout="200ms")))
    with plan.open(out=lab.folder / "run") as bench:
        with pytest.raises(BenchError, match="pump.power: switched `off`, but it reads back `on` after 200 ms"):
            bench.device("pump").power.off()
        assert bench.device("pump").power.last is None
    assert lab.records("power.failed")[-1]["action"] == "off"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 4", "ended with 4: it said nothing"),
        ("echo one; echo two >&2; exit 1", "ended with 1: one / two"),
        ("sleep 60", "took longer than 300 ms"),
        ('[ "$1" = status ] && echo maybe || true', "said 'maybe' to `status`; it is to say `on` or `off`"),
    ],
    ids=["code", "words", "time", "status"],
)
def test_a_power_command_that_fails_is_the_benchs_fault(lab: Lab, script: str, error: str) -> None:
    lab.relay.write_text(f"#!/bin/sh\n{script}\n")
    plan = BenchPlan.load(lab.bench(lab.power(actions=ALL, timeout="300ms")))
    with pytest.raises(BenchError, match=re.escape(error)):
        plan.open(out=lab.folder / "run")


def test_only_what_the_bench_file_names_can_be_done(lab: Lab) -> None:
    plan = BenchPlan.load(lab.bench(lab.power(actions=["on", "off", "reset"])))
    with plan.open(out=lab.folder / "run") as bench:
        power = bench.device("pump").power
        power.do("reset")
        assert lab.switched()[-1] == "reset done"
        with pytest.raises(UsageError, match="has no action `explode` for it; it has: on, off, reset"):
            power.do("explode")
        assert power.status() is None
    with BenchPlan.load(lab.bench("")).open(out=lab.folder / "run") as bench:
        with pytest.raises(UsageError, match="does not say how this real device is switched"):
            bench.device("pump").power.off()
        assert bench.device("pump").power.actions == ()


def test_a_test_may_switch_off_only_what_the_bench_file_allows(lab: Lab) -> None:
    path = lab.bench(f'{lab.power()}\nallow = ["write"]')
    with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
        power = bench.device("pump").power
        for switch in (power.off, power.cycle):
            with pytest.raises(UsageError, match="pump: the bench file does not allow to restart it"):
                switch()
        power.on()
    assert [line for line in lab.switched() if line.startswith("off")] == []


def test_values_with_blanks_stay_one_argument_and_nothing_is_left_behind(tmp_path: Path) -> None:
    said = run_command("printf '%s\\n' {artifact} end", {"artifact": "a b.bin"}, tmp_path, "5s")
    assert said == ["a b.bin", "end"]
    with pytest.raises(BenchError, match="could not be run"):
        run_command("no-such-program-anywhere", {}, tmp_path, "5s")
    with pytest.raises(BenchError, match="could not be run"):
        run_command("'unfinished", {}, tmp_path, "5s")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(name="power") as rig:
        yield rig


def relay(rig: Rig, url: str, **table: object) -> Switch:
    found = described({"modbus": "relays", "timeout": "1s", **table}, Path(), lambda link: {"url": url})
    return make_switch("pump", found, rig)


@pytest.mark.parametrize(
    ("table", "place", "values"),
    [
        ({"coil": 7}, "coils", (1, 0)),
        ({"coil": 7, "on": 0, "off": 1}, "coils", (0, 1)),
        ({"register": 7, "on": 85, "off": 170}, "holding", (85, 170)),
    ],
    ids=["coil", "normally closed", "register"],
)
def test_a_modbus_relay_is_switched_and_read_back(
    rig: Rig, table: dict[str, object], place: str, values: tuple[int, int]
) -> None:
    with modbus.Device(coils={0: [False] * 8}, holding={0: [0] * 8}, unit=3, rig=rig) as board:
        switch = relay(rig, board.url, unit=3, **table)
        for action, value in zip(("on", "off"), values, strict=True):
            switch.drive(action)
            assert switch.confirm(action) == action
            assert board.get(place, 7) == (value,)
            assert switch.status() == action


def test_a_modbus_relay_that_falls_back_is_the_benchs_fault(rig: Rig) -> None:
    with modbus.Device(coils={0: [False] * 8}, rig=rig) as board:
        switch = relay(rig, board.url, coil=7, timeout="200ms")
        switch.drive("on")
        board.set("coils", 7, 0)
        with pytest.raises(BenchError, match="pump.power: switched `on`, but it reads back `off` after 200 ms"):
            switch.confirm("on")


def test_the_silence_of_a_relay_is_never_that_of_the_device(rig: Rig) -> None:
    with modbus.Device(coils={0: [False] * 4}, rig=rig) as board:
        url = board.url
        with pytest.raises(BenchError, match=rf"^BENCH: the relay of pump \(unit 1 at {url}\): .*exception"):
            relay(rig, url, coil=7).drive("on")
    with pytest.raises(BenchError, match=r"^BENCH: the relay of pump .*refused"):
        relay(rig, url, coil=7).drive("on")


@pytest.fixture
def broker(rig: Rig) -> Iterator[mqtt.Broker]:
    with mqtt.Broker(rig=rig) as broker:
        yield broker


class Plug:
    """An MQTT plug: each time it is told something it publishes the next of its answers; the last one stays."""

    def __init__(self, rig: Rig, url: str, *answers: str | None, retain: bool = False) -> None:
        self.told: list[str] = []
        self._client = mqtt.Client(url, rig=rig)
        self._watch = self._client.watch("plug/set", qos=1)
        self._answers = list(answers)
        self._retain = retain
        self._thread = threading.Thread(target=self._serve, name="plug")
        self._thread.start()

    def _serve(self) -> None:
        while not self.told or self.told[-1] != "end":
            self.told += [message.text for message in self._watch._core.wait(len(self.told), 10**18)]
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            if answer is not None and self.told[-1] != "end":
                self._client.publish("plug/state", answer, qos=1, retain=self._retain)

    def __enter__(self) -> Plug:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.publish("plug/set", "end", qos=1)
        self._thread.join()
        self._client.close()


def plug(rig: Rig, url: str, **table: object) -> Switch:
    keys = {"mqtt": "lab", "topic": "{base}/set", "status": {"topic": "{base}/state"}, "timeout": "30s", **table}
    return make_switch("pump", described(keys, Path(), lambda link: {"url": url, "base": "plug"}), rig)


def test_a_plug_is_switched_and_what_it_says_is_read_back(rig: Rig, broker: mqtt.Broker) -> None:
    with Plug(rig, broker.url, "ON", "OFF", retain=True) as device:
        switch = plug(rig, broker.url)
        for action in ("on", "off"):
            switch.drive(action)
            assert (switch.confirm(action), switch.status()) == (action, action)
        assert device.told == ["ON", "OFF"]


def test_a_plug_may_speak_json(rig: Rig, broker: mqtt.Broker) -> None:
    said = {"topic": "plug/state", "on": '{"output": true}', "off": '{"output": false}'}
    with Plug(rig, broker.url, json.dumps({"id": 0, "output": True}), json.dumps({"id": 0, "output": False})):
        switch = plug(rig, broker.url, on="1", off="0", status=said)
        for action in ("on", "off"):
            switch.drive(action)
            assert switch.confirm(action) == action


@pytest.mark.parametrize(("answer", "said"), [("OFF", "it says `off`"), (None, "it says nothing")])
def test_a_plug_that_does_not_do_it_is_the_benchs_fault(
    rig: Rig, broker: mqtt.Broker, answer: str | None, said: str
) -> None:
    with Plug(rig, broker.url, answer):
        error = f"pump.power: switched `on`, but {said} on plug/state after 300 ms"
        with pytest.raises(BenchError, match=error):
            plug(rig, broker.url, timeout="300ms").drive("on")


def test_what_was_retained_before_the_command_does_not_prove_it(rig: Rig, broker: mqtt.Broker) -> None:
    with mqtt.Client(broker.url, rig=rig) as before:
        before.publish("plug/state", "OFF", qos=1, retain=True)
    with Plug(rig, broker.url, None):
        with pytest.raises(BenchError, match="switched `on`, but it says nothing"):
            plug(rig, broker.url, timeout="300ms").drive("on")


def test_a_plug_that_was_in_the_wanted_state_may_keep_silent_but_that_is_no_read_back(
    rig: Rig, broker: mqtt.Broker
) -> None:
    with mqtt.Client(broker.url, rig=rig) as before:
        before.publish("plug/state", "ON", qos=1, retain=True)
    with Plug(rig, broker.url, None):
        switch = plug(rig, broker.url)
        switch.drive("on")
        assert switch.confirm("on") is None


def test_a_plug_that_can_be_asked_says_its_state_itself(rig: Rig, broker: mqtt.Broker) -> None:
    with mqtt.Client(broker.url, rig=rig) as before:
        before.publish("plug/state", "ON", qos=1, retain=True)
    ask = {"topic": "{base}/set", "payload": "say"}
    with Plug(rig, broker.url, None, "ON") as device:
        switch = plug(rig, broker.url, ask=ask)
        switch.drive("on")
        assert (switch.confirm("on"), switch.status()) == ("on", "on")
        assert device.told[:2] == ["ON", "say"]
    with Plug(rig, broker.url, None):
        silent = plug(rig, broker.url, ask=ask, timeout="700ms")
        with pytest.raises(BenchError, match="switched `on`, but it says nothing on plug/state after 700 ms"):
            silent.drive("on")
        with pytest.raises(BenchError, match="asked for its state, but it says nothing"):
            silent.status()


def test_a_plug_without_a_status_topic_cannot_be_read_back(rig: Rig, broker: mqtt.Broker) -> None:
    switch = plug(rig, broker.url, status=None)
    switch.drive("on")
    assert (switch.confirm("on"), switch.status()) == (None, None)


def test_a_broker_that_is_gone_is_the_benchs_fault(rig: Rig, broker: mqtt.Broker) -> None:
    url = broker.url
    broker.close()
    with pytest.raises(BenchError, match=r"^BENCH: the plug of pump \(plug/set at mqtt://.*refused"):
        plug(rig, url).drive("on")


def test_a_switch_can_only_be_switched_on_and_off(rig: Rig, broker: mqtt.Broker) -> None:
    with modbus.Device(coils={0: [False] * 8}, rig=rig) as board:
        with pytest.raises(UsageError, match="a relay can do `on` and `off`, not `reset`"):
            relay(rig, board.url, coil=7).drive("reset")
        with pytest.raises(UsageError, match="a relay needs `coil` or `register`"):
            relay(rig, board.url).drive("on")
    with pytest.raises(UsageError, match="a plug can do `on` and `off`, not `reset`"):
        plug(rig, broker.url).drive("reset")
    with pytest.raises(UsageError, match="pump.power: nothing that switches"):
        make_switch("pump", {"gpio": 4})
