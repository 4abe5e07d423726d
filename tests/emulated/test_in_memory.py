"""Rigs on virtual time, and wires and connections in memory: the same objects, the same calls, exact instants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fieldrig import Rig, Span, Stamp, modbus, mqtt, timing
from fieldrig.errors import DutError, NoAnswer, PortError, UsageError
from fieldrig.serial import Console
from fieldrig.stream import Stream

HOUR = 3600


@pytest.fixture
def sim() -> Iterator[Rig]:
    with Rig(clock="virtual") as rig:
        yield rig


@pytest.fixture(params=["virtual", "real"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with Rig(clock=request.param) as rig:
        assert rig.clock == request.param
        yield rig


def test_virtual_time_stands_still_until_somebody_waits(sim: Rig) -> None:
    begun = sim.now()
    assert (begun.earliest_ns, begun.latest_ns) == (0, 0)
    assert sim.now() == begun
    sim.sleep("90s")
    assert sim.now().earliest == 90.0
    assert sim.timing_class == "V"


def test_an_hour_of_polling_and_reporting_is_exact_and_repeatable() -> None:
    def hour() -> list[tuple[int, int]]:
        with Rig(clock="virtual") as rig:
            rig.add_wire("bus", "9600 8E1")
            with (
                mqtt.Broker(url="memory-listen://broker", rig=rig) as broker,
                mqtt.Client(broker.url, rig=rig) as client,
                client.watch("meter/power", qos=1) as reports,
                modbus.Device("wire://bus", unit=1, input={0: [0]}, rig=rig) as meter,
                modbus.Client("wire://bus", unit=1, rig=rig) as gateway,
            ):
                seen = []
                for minute in range(60):
                    meter.set("input", 0, minute)
                    answer = gateway.read_input(0)
                    assert answer.values == (minute,)
                    sent = client.publish("meter/power", json=minute, qos=1)
                    report = reports.expect(json=minute, after=sent, within="1s")
                    seen.append((answer.done.latest_ns, report.at.latest_ns))
                    rig.sleep("60s")
                assert rig.now().earliest >= HOUR
                return seen

    first = hour()
    assert len(first) == 60
    assert first == hour()


def test_an_hour_of_polling_at_9600_baud_is_exact_to_the_nanosecond(sim: Rig) -> None:
    character, silence = 10 * 10**9 // 9600, 7 * 11 * 10**9 // (2 * 9600)
    every = 10**9
    sim.add_wire("bus", "9600 8N1")
    with (
        modbus.Device("wire://bus", unit=1, holding={0: list(range(10))}, rig=sim),
        modbus.Client("wire://bus", unit=1, rig=sim) as client,
    ):
        answers = []
        for slot in range(every, (HOUR + 1) * 10**9, every):
            sim.sleep(Span(slot - sim.now().latest_ns))
            answers.append(client.read_holding(0, 10))
            assert answers[-1].at == Stamp(slot)
    # Eight characters there; the silence, and one more in which a byte could still be complete; 25 back.
    took = (8 + 25 + 1) * character + silence
    assert len(answers) == HOUR
    assert {answer.latency for answer in answers} == {Span(took)}
    timing.period(answers, "1s", tolerance="0ns", drift="0ns")
    timing.jitter([answer.done for answer in answers], "0ns")


def test_an_exchange_on_a_wire_takes_as_long_as_its_characters(sim: Rig) -> None:
    sim.add_wire("bus", "9600 8E1")
    with (
        modbus.Device("wire://bus", unit=1, holding={0: [7]}, rig=sim),
        modbus.Client("wire://bus", unit=1, rig=sim) as client,
    ):
        sim.sleep("1s")
        answer = client.read_holding(0)
        character = 11 / 9600
        # Eight characters there; 3.5 of silence, and one more in which a byte could still be complete; seven back.
        assert (answer.done - answer.at).earliest == pytest.approx((8 + 3.5 + 1 + 7) * character, abs=50e-9)


def test_units_on_one_wire_are_told_apart(rig: Rig) -> None:
    rig.add_wire("bus", "115200 8N1")
    with (
        modbus.Device("wire://bus", unit=1, holding={0: [11]}, rig=rig),
        modbus.Device("wire://bus", unit=2, holding={0: [22]}, rig=rig),
        modbus.Client("wire://bus", rig=rig) as client,
    ):
        assert [client.read_holding(0, unit=unit).values for unit in (1, 2, 1)] == [(11,), (22,), (11,)]


def test_modbus_tcp_over_memory(rig: Rig) -> None:
    with modbus.Device("memory-listen://meter", holding={0: [5]}, rig=rig) as meter:
        assert meter.url == "memory://meter"
        with modbus.Client(meter.url, rig=rig) as client:
            done = client.write_register(0, 6)
            answer = client.read_holding(0)
            assert answer.values == (6,)
            assert done.at.order(answer.done) == "before"


def test_a_unit_that_is_not_there_is_waited_for_exactly(sim: Rig) -> None:
    sim.add_wire("bus", "9600 8E1")
    with (
        modbus.Device("wire://bus", unit=1, holding={0: [7]}, rig=sim),
        modbus.Client("wire://bus", unit=1, rig=sim) as client,
    ):
        client.read_holding(0)
        begun = sim.now()
        with pytest.raises(NoAnswer):
            client.read_holding(0, unit=9, timeout="2s")
        # Neither instant lies on an arrival: each is asked for surely after it, by a nanosecond at most.
        assert (sim.now() - begun).earliest == pytest.approx(2.0, abs=2e-9)


def test_messages_are_expected_and_missed_on_virtual_time(sim: Rig) -> None:
    with (
        mqtt.Broker(url="memory-listen://broker", rig=sim) as broker,
        mqtt.Client(broker.url, rig=sim) as device,
        mqtt.Client(broker.url, rig=sim) as tester,
        tester.watch("alarm", qos=1) as alarms,
    ):
        assert broker.url == "memory://broker"
        sent = device.publish("alarm", "on", qos=1)
        alarms.expect(payload="on", after=sent, within="1ms")
        begun = sim.now()
        alarms.expect_none(for_="1min")
        assert sim.now().earliest - begun.earliest >= 60.0


def test_what_came_before_an_action_is_known_to_be_before_it(sim: Rig) -> None:
    with (
        mqtt.Broker(url="memory-listen://broker", rig=sim) as broker,
        mqtt.Client(broker.url, rig=sim) as device,
        mqtt.Client(broker.url, rig=sim) as tester,
        tester.watch("#") as watch,
    ):
        device.publish("first", "1")
        device.publish("second", "1")
        first = watch.expect(topic="first", within="1s")
        assert [message.at for message in watch.messages()][:2] == [first.at, first.at]
        acted = tester.publish("action", "1")
        assert first.at.order(acted) == "before"
        with pytest.raises(DutError, match="second 1"):
            watch.expect(topic="second", within="1s")


def test_consoles_talk_over_a_wire(rig: Rig) -> None:
    rig.add_wire("console", "115200 8N1")
    with Stream("wire://console", rig=rig) as device, Console("wire://console", rig=rig) as console:
        asked = console.send("ver")
        assert device.receive(4, within="20s").data == b"ver\n"
        device.send(b"fw 1.4.2\n")
        assert console.expect(r"fw (?P<version>\S+)", after=asked, within="20s")["version"] == "1.4.2"
        assert console.url == "wire://console"


def test_real_ports_are_refused_on_virtual_time(sim: Rig) -> None:
    for make in (lambda: mqtt.Broker(rig=sim), lambda: modbus.Client("tcp://127.0.0.1:502", rig=sim)):
        with pytest.raises(PortError, match="virtual time has no real ports"):
            make()


def test_what_is_not_there_is_said(sim: Rig) -> None:
    with pytest.raises(PortError, match="memory://door: connection refused"):
        Stream("memory://door", rig=sim)
    with pytest.raises(PortError, match="there is no such wire on this rig"):
        modbus.Client("wire://bus", rig=sim)
    with pytest.raises(UsageError, match="is nothing to listen on"):
        mqtt.Broker(url="memory://broker", rig=sim)
    with pytest.raises(UsageError, match='clock is "real" or "virtual"'):
        Rig(clock="fast")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the format is missing"):
        sim.add_wire("bus", "9600")
    sim.add_wire("bus", "9600 8E1")
    with pytest.raises(PortError, match="there is a wire of this name already, with 9600 8E1"):
        sim.add_wire("bus", "19200 8E1")
