"""A shared wire and a meeting point on a virtual clock: what is heard, what is taken away, who is reached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import (
    BenchFileError,
    ExpectationFailed,
    InconclusiveError,
    NoAnswer,
    ProtocolError,
    Unanswered,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.expect import near

BENCH = """
[bench]
name = "rack"
clock = "virtual"
[link.bus485]
protocol = "modbus-rtu"
line = "9600 8E1"
role = "devices"
[link.service]
protocol = "modbus-rtu"
line = "9600 8E1"
[link.uplink]
protocol = "mqtt5"
base = "site/rack"
[dut.gateway]
model = "gateway.py:Gateway"
links = { bus485 = "client", uplink = "client" }
[dut.pump1]
model = "pump.toml"
links = { service = { role = "devices", unit = 11 } }
[dut.pump2]
model = "pump.toml"
links = { service = { role = "devices", unit = 12 } }
[peer]
meter1 = { model = "meter.toml", link = "bus485", unit = 1 }
meter2 = { model = "meter.toml", link = "bus485", unit = 2 }
"""
GATEWAY = """
from fieldrig.model import Model

class Gateway(Model):
    async def run(self):
        async for _ in self.every("1s"):
            for unit in (1, 2):
                try:
                    (raw,) = await self.bus485.read_input(0, unit=unit, timeout="300ms")
                    await self.uplink.publish(f"{{base}}/meter{unit}", json={"v": raw / 10}, qos=1)
                except Exception as problem:
                    self.log("skipped", unit=unit, why=type(problem).__name__)
"""
METER = """
[model]
name = "meter"
[points.voltage]
kind = "float"
unit = "V"
initial = 230.0
[face.bus485]
map = { voltage = { table = "input", address = 0, type = "u16", scale = 0.1 } }
"""
PUMP = """
[model]
name = "pump"
[points.speed]
kind = "float"
access = "read-write"
[face.service]
map = { speed = { table = "holding", address = 0, type = "u16" } }
"""


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    role = getattr(request, "param", "devices")
    files = {
        "bench.toml": BENCH.replace('role = "devices"', f'role = "{role}"', 1),
        "gateway.py": GATEWAY,
        "meter.toml": METER,
        "pump.toml": PUMP,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "out") as opened:
        opened.restart("test")
        yield opened


@pytest.mark.parametrize("silent", ["meter1", "meter2"])
def test_a_dead_meter_does_not_starve_the_other(bench: Bench, silent: str) -> None:
    dead = bench.peers[silent]
    alive = next(peer for name, peer in bench.peers.items() if name != silent)
    with bench.device("gateway").uplink.watch("{base}/+", qos=1) as values:
        outage = dead.fault("no_answer")
        missed = bench.bus485.expect(request_to=dead, after=outage, within="10s")
        change = alive.set("voltage", 231.7)
        poll = bench.bus485.expect(request_to=alive, after=change, within="10s")
        value = values.expect(f"{{base}}/{alive.name}", json={"v": near(231.7, 0.05)}, after=poll, within="5s")
        assert poll.until(value).latest < 1
        values.expect_none(f"{{base}}/{silent}", after=missed, for_="20s")
    by_unit = {1: 0, 2: 0}
    for exchange in bench.bus485.exchanges(outage):
        by_unit[exchange.request.unit] += exchange.response is not None
    assert by_unit[1 if silent == "meter1" else 2] == 0 and sum(by_unit.values()) > 15


def test_what_is_done_to_a_peer_is_a_stimulus_for_the_device_that_shares_its_link(bench: Bench) -> None:
    gateway, meter = bench.device("gateway"), bench.peers["meter1"]
    bench.sleep("1s")
    change = meter.set("voltage", 200)
    assert gateway.timeline.last_stimulus.earliest_ns == change.at.earliest_ns
    assert bench.bus485.timeline.last_stimulus.earliest_ns == change.at.earliest_ns
    assert bench.device("pump1").timeline.last_stimulus.earliest_ns < change.at.earliest_ns


def test_the_client_on_a_wire_has_its_own_cursors_there(bench: Bench) -> None:
    gateway = bench.device("gateway")
    first = gateway.bus485.expect(request_to=1, within="5s")
    assert bench.bus485.expect(request_to="meter1", within="5s") == first
    answer = gateway.bus485.expect(response_from="meter1", function="read_input", address=0, within="5s")
    assert answer.request == first.number and answer.values == (2300,)
    with pytest.raises(ExpectationFailed, match=r"(?s)^DUT: gateway\.bus485: .*arrived on all links:.*bus485: "):
        gateway.bus485.expect(request_to="meter1", address=7, within="2s")
    with pytest.raises(UnexpectedEvent):
        gateway.bus485.expect_none(request_to="meter2", for_="2s")
    bench.bus485.expect_none(request_to=99, for_="60s")


@pytest.mark.parametrize("how", ["refused", "stalled"])
def test_an_outage_is_for_the_devices_and_not_for_the_test(bench: Bench, how: str) -> None:
    with bench.device("gateway").uplink.watch("{base}/#", qos=1) as values:
        values.expect("{base}/meter1", within="5s")
        outage = bench.uplink.down(how=how)
        bench.sleep("2s")
        values.expect_none("{base}/meter1", for_="10s")
        with pytest.raises(InconclusiveError, match="the link uplink does not work now: the test has taken it down"):
            values.expect("{base}/meter1", within="1s")
        own = bench.device("gateway").uplink.publish("site/rack/own", "hello", qos=1)
        values.expect("site/rack/own", after=own, within="1s")
        back = bench.uplink.up()
        values.expect("{base}/meter1", after=back, within="60s")
        assert outage.until(back).earliest > 12


@pytest.mark.parametrize("how", ["refused", "stalled"])
def test_who_lost_a_link_in_the_test_before_is_not_accused_until_it_was_heard_again(bench: Bench, how: str) -> None:
    """A gateway waits before it connects again; how long it may, only the test with the outage can say."""
    with bench.device("gateway").uplink.watch("{base}/#", qos=1) as values:
        values.expect("{base}/meter1", within="5s")
        bench.uplink.down(how=how)
        bench.sleep("10min")
        for test in ("next", "the one after it"):
            bench.restart(test)
            with pytest.raises(InconclusiveError, match="a test took the link uplink away, and nothing came over it"):
                values.expect("{base}/meter1", within="1ms")
        values.expect("{base}/meter1", within="120s")
        with pytest.raises(ExpectationFailed):
            values.expect("{base}/meter9", within="1s")
        bench.uplink.down(how=how)
        bench.uplink.up()
        with pytest.raises(ExpectationFailed):
            values.expect("{base}/meter9", within="1s")


def test_a_wire_that_is_cut_accuses_nobody_and_is_whole_in_the_next_test(bench: Bench) -> None:
    pump = bench.device("pump1")
    assert pump.service.read("speed").value == 0
    bench.service.down()
    with pytest.raises(Unanswered, match="the link service does not work now"):
        pump.service.read("speed")
    bench.restart("next")
    assert pump.service.read("speed").value == 0


def test_two_devices_on_one_wire_share_a_client(bench: Bench) -> None:
    pump1, pump2 = bench.device("pump1"), bench.device("pump2")
    pump1.service.write("speed", 100)
    pump2.service.write("speed", 200)
    assert (pump1.service.read("speed").value, pump2.service.read("speed").value) == (100, 200)
    assert pump1.service.url == pump2.service.url
    with pytest.raises(UsageError, match="nobody listens on this link|is not on this link"):
        bench.service.expect(request_to="meter1", within="1s")


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_a_connection_that_one_test_had_reset_is_there_again_in_the_next(tmp_path: Path, clock: str) -> None:
    (tmp_path / "bench.toml").write_text(
        f'[bench]\nname = "tcp"\nclock = "{clock}"\n[link.service]\nprotocol = "modbus-tcp"\n'
        '[dut.pump]\nmodel = "pump.toml"\nlinks = { service = "devices" }\n'
    )
    (tmp_path / "pump.toml").write_text(PUMP)
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "out") as bench:
        pump = bench.device("pump")
        for test in ("one", "two", "three"):
            bench.restart(test)
            assert pump.service.read("speed").value == 0
            bench.service.down(how="refused")  # and the test ends without a further request


def test_a_late_answer_of_one_device_does_not_accuse_the_next_on_the_wire(bench: Bench) -> None:
    """Both talk at once: what comes is broken, and it is not the fault of the one that answered in time."""
    pump1, pump2 = bench.device("pump1"), bench.device("pump2")
    assert pump1.service.read("speed").value == 0
    pump1.habit("service", "delay_answer", "200ms")  # just when the answer of the other one comes
    with pytest.raises(NoAnswer):
        pump1.service.read("speed", timeout="100ms")
    doubt = "unit 11 did not answer a request of function 0x03 in time before: its late answer may have run"
    with pytest.raises(InconclusiveError, match=doubt):
        pump2.service.read("speed", timeout="250ms")
    bench.restart("next")
    pump2.habit("service", "wrong_crc", True)
    with pytest.raises(ProtocolError):
        pump2.service.read("speed")


def test_minutes_of_polling_are_heard_whole(bench: Bench) -> None:
    begun = bench.rig.now()
    bench.sleep("2min")
    heard = bench.bus485.exchanges(begun)
    assert abs(len(heard) - 2 * 120) <= 2
    assert all(exchange.response is not None for exchange in heard[:-1])


@pytest.mark.parametrize("bench", ["proxy"], indirect=True)
def test_bytes_that_pass_through_the_bench_can_be_disturbed(bench: Bench) -> None:
    with bench.device("gateway").uplink.watch("{base}/#", qos=1) as values:
        values.expect("{base}/meter1", within="5s")
        noise = bench.bus485.fault("corrupt", direction="responses")
        bench.sleep("2s")
        values.expect_none("{base}/meter1", for_="10s")
        bench.bus485.expect(request_to="meter1", after=noise, within="5s")
        with pytest.raises(InconclusiveError, match="the link bus485 does not work now: the test disturbs it"):
            bench.bus485.expect(request_to=9, within="2s")
        bench.restart("next")
        values.expect("{base}/meter1", within="5s")


@pytest.mark.parametrize("fault", ["corrupt", "framing", "short"])
def test_a_wire_in_memory_can_be_disturbed_without_a_bridge(
    bench: Bench, fault: Literal["corrupt", "framing", "short"]
) -> None:
    with bench.device("gateway").uplink.watch("{base}/#", qos=1) as values:
        values.expect("{base}/meter1", within="5s")
        bench.bus485.fault(fault, direction="responses")
        bench.sleep("2s")
        values.expect_none("{base}/meter1", for_="10s")
        bench.restart("next")
        values.expect("{base}/meter1", within="5s")


def test_a_link_without_a_bridge_says_what_a_fault_needs(bench: Bench) -> None:
    with pytest.raises(UsageError, match=r"(?s)^USAGE: uplink: .*role = .proxy"):
        bench.uplink.fault("corrupt")


@pytest.mark.parametrize(("name", "owner"), [("power", "the device `gateway`"), ("life", "the bench")])
def test_a_link_that_something_else_would_hide_is_refused(tmp_path: Path, name: str, owner: str) -> None:
    (tmp_path / "bench.toml").write_text(BENCH.replace("uplink", name))
    (tmp_path / "gateway.py").write_text(GATEWAY.replace("uplink", name))
    (tmp_path / "meter.toml").write_text(METER)
    (tmp_path / "pump.toml").write_text(PUMP)
    with pytest.raises(BenchFileError, match=f"a link cannot be named `{name}`: {owner} has something else"):
        BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "out")
