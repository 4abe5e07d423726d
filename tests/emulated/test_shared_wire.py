"""Several devices behind one connection: one client on the wire, and what the answer of one says about the silence of
another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fieldrig import modbus
from fieldrig.bench import BenchPlan
from fieldrig.demo import builtin_bench
from fieldrig.errors import NoAnswer, NoSuchLink, Unanswered, UsageError
from fieldrig.expect import Timeline

POINT = {"level": {"table": "holding", "address": 3, "type": "u16", "unit": "mm"}}


@pytest.fixture(params=["tcp://127.0.0.1:0", "pty://?line=115200+8N1"], ids=["tcp", "rtu"])
def device(request: pytest.FixtureRequest):
    with modbus.Device(request.param, unit=2, holding={0: [10, 11, 12, 13]}) as device:
        yield device


def test_each_device_has_its_own_unit_points_and_timeline(device: modbus.Device) -> None:
    with modbus.Client(device.url, unit=9, timeout="20ms") as wire:
        timeline = Timeline(lambda: wire_now)
        wire_now = wire.share(unit=2).read_holding(0).done
        tank = wire.share(unit=2, points=POINT, timeline=timeline, name="tank.modbus")
        assert (tank.unit, tank.url, wire.unit) == (2, wire.url, 9)
        assert tank.read("level").value == 13
        assert timeline.last_stimulus.latest_ns == 0
        written = tank.write("level", 77)
        assert timeline.last_stimulus.earliest_ns == written.at.earliest_ns
        assert device.get("holding", 3) == (77,)
        with pytest.raises(UsageError, match="there is no point `depth`; there are: level"):
            tank.read("depth")


def test_what_another_unit_answers_shows_that_the_path_works(device: modbus.Device) -> None:
    with modbus.Client(device.url, timeout="20ms") as wire:
        mute, talking = wire.share(unit=7, name="mute"), wire.share(unit=2)
        with pytest.raises(Unanswered, match="nothing was ever answered here"):
            mute.read_holding(0)
        talking.read_holding(0)
        with pytest.raises(NoAnswer, match=r"^DUT: mute: "):
            mute.read_holding(0)


def test_closing_the_client_of_one_device_leaves_the_wire_to_the_others(device: modbus.Device) -> None:
    with modbus.Client(device.url, unit=2) as wire:
        with wire.share(unit=2) as one:
            assert one.read_holding(1).values == (11,)
        assert wire.read_holding(1).values == (11,)


def test_devices_on_one_wire_take_turns(device: modbus.Device) -> None:
    with modbus.Client(device.url) as wire, ThreadPoolExecutor(4) as threads:
        clients = [wire.share(unit=2) for _ in range(4)]
        answers = [threads.submit(client.read_holding, place) for place, client in enumerate(clients)]
        assert [answer.result(30).values for answer in answers] == [(10,), (11,), (12,), (13,)]


def test_a_guard_is_asked_before_everything_that_can_cause_behaviour(device: modbus.Device) -> None:
    asked: list[object] = []

    def guard(function: int, written: tuple[str, int, int] | None, action: str) -> None:
        asked.append((function, written, action))
        if written is None:
            raise UsageError("not this")

    with modbus.Client(device.url, unit=2, guard=guard) as client:
        client.read_holding(0)
        client.write_register(1, 5)
        client.write_registers(0, [1, 2])
        with pytest.raises(UsageError, match="not this"):
            client.share(unit=2, guard=guard).raw_pdu(bytes.fromhex("06 0003 0007"))
        for sub in (1, 4, 10):
            with pytest.raises(UsageError, match="not this"):
                client.diagnostics(sub)
    assert asked == [
        (6, ("holding", 1, 1), "write"),
        (16, ("holding", 0, 2), "write"),
        (6, None, "write"),
        (8, None, "restart"),
        (8, None, "silence"),
        (8, None, "write"),
    ]
    assert device.get("holding", 0, 4) == (1, 2, 12, 13)


def test_a_link_that_is_not_there_is_a_usage_error_with_a_suggestion(tmp_path: Path) -> None:
    with BenchPlan.load(builtin_bench()).open(tmp_path) as bench:
        meter = bench.device("meter")
        for owner, name in ((meter, "modbuss"), (bench, "bus485")):
            assert not hasattr(owner, name)
            with pytest.raises(NoSuchLink, match=r"^USAGE: the (device `meter`|bench) has no link `\w+`; it has: "):
                getattr(owner, name)
        with pytest.raises(AttributeError, match=r"did you mean `modbus`\?"):
            meter.modbuss  # noqa: B018


def test_a_fault_without_a_link_needs_a_device_with_one(tmp_path: Path) -> None:
    with BenchPlan.load(builtin_bench()).open(tmp_path) as bench:
        meter = bench.device("meter")
        with pytest.raises(UsageError, match=r"meter\.fault\(\): link= is missing; it has: modbus, "):
            meter.fault("no_answer")
        meter.modbus.read("voltage")
        outage = meter.fault("no_answer", link="modbus")
        with pytest.raises(NoAnswer):
            meter.modbus.read("voltage", timeout="20ms")
        assert outage.at.order(bench.rig.now()) == "before"
        bench.restart("next")
        meter.modbus.read("voltage")
