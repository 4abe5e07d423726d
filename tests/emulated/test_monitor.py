"""A monitor reads along on a wire: who asked whom what, and what came of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import NoAnswer, UsageError
from fieldrig.stream import Stream

LINE = "9600 8E1"
CHARACTER = 11 / 9600


@pytest.fixture(params=["virtual", "real"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig with a shared wire."""
    with Rig(clock=request.param) as rig:
        rig.add_wire("bus", LINE)
        yield rig


def until(rig: Rig, monitor: modbus.Monitor, done: Callable[[tuple[modbus.Observation, ...]], bool]) -> None:
    """Waits until what was seen is enough; the test fails if that takes 20 s."""
    deadline = rig.now().latest_ns + 20_000_000_000
    place = 0
    while not done(monitor.observations()):
        new = monitor.wait(place, deadline)
        assert new, [seen.describe() for seen in monitor.observations()]
        place += len(new)


def kinds(monitor: modbus.Monitor) -> list[tuple[str, int | None]]:
    return [(seen.kind, seen.unit) for seen in monitor.observations()]


def test_every_exchange_on_a_shared_wire_is_seen(rig: Rig) -> None:
    with (
        modbus.Monitor("wire://bus", rig=rig, name="bus") as monitor,
        modbus.Device("wire://bus", unit=1, input={0: [11, 12]}, rig=rig),
        modbus.Device("wire://bus", unit=2, coils={3: [1, 0, 1]}, rig=rig),
        modbus.Client("wire://bus", timeout="20s", rig=rig) as client,
    ):
        first = client.read_input(0, 2, unit=1)
        second = client.read_coils(3, 3, unit=2)
        until(rig, monitor, lambda seen: len(seen) == 4)
        asked, answered, asked_again, answered_again = monitor.observations()
        assert kinds(monitor) == [("request", 1), ("response", 1), ("request", 2), ("response", 2)]
        assert (asked.function, asked.address, asked.quantity, asked.values) == (4, 0, 2, ())
        assert (answered.request, answered.address, answered.values) == (asked.number, 0, first.values)
        assert (asked.bytes, answered.bytes) == (first.request, first.response)
        assert (answered_again.request, answered_again.values) == (asked_again.number, second.values)
        assert all(value is True or value is False for value in answered_again.values)
        assert asked.until(answered).earliest >= (3.5 + 9) * CHARACTER - 1e-6
        assert (monitor.alive(), monitor.missed()) == (None, None)
        heard = monitor.heard
        assert heard is not None and heard == answered_again.at
        assert answered.describe() == "response of unit 1: 04 Read Input Registers, 2 from 0 = [11, 12]"


def test_a_device_without_an_answer_is_seen_as_such(rig: Rig) -> None:
    with (
        modbus.Monitor("wire://bus", rig=rig, answer_within="300ms") as monitor,
        modbus.Device("wire://bus", unit=1, input={0: [7]}, rig=rig) as device,
        modbus.Client("wire://bus", unit=1, timeout="20s", rig=rig) as client,
    ):
        client.read_input(0)
        device.habit("no_answer")
        with pytest.raises(NoAnswer):
            client.read_input(0, timeout="400ms")
        until(rig, monitor, lambda seen: len(seen) == 4)
        missed = monitor.observations()[-1]
        assert (missed.kind, missed.unit, missed.request) == ("unanswered", 1, 2)
        assert missed.describe() == "no answer of unit 1 to 04 Read Input Registers, 0"
        device.habit("no_answer", "default")
        assert client.read_input(0).values == (7,)


def test_waiting_ends_with_the_first_new_observation_or_at_the_deadline() -> None:
    with Rig(clock="virtual") as sim:
        sim.add_wire("bus", LINE)
        with (
            modbus.Monitor("wire://bus", rig=sim) as monitor,
            modbus.Device("wire://bus", unit=1, input={0: [7]}, rig=sim),
            modbus.Client("wire://bus", unit=1, rig=sim) as client,
        ):
            assert monitor.wait(0, sim.now().latest_ns + 2_000_000_000) == ()
            assert sim.now().earliest == 2.0
            assert monitor.heard is None
            client.read_input(0)
            sim.sleep("1s")
            late = sim.now()
            assert [seen.number for seen in monitor.wait(1, late.latest_ns)] == [1]
            assert sim.now() == late


def test_a_monitor_of_a_pty_reads_what_foreign_programs_say() -> None:
    with Rig() as rig, modbus.Monitor("pty://?line=9600+8E1", rig=rig) as monitor:
        with Stream(monitor.url, rig=rig) as foreign:
            foreign.send(modbus.adu_rtu(5, bytes([4, 0, 0, 0, 1])))
            foreign.send(modbus.adu_rtu(5, bytes([4, 2, 9, 9])), gap="10ms")
            foreign.send(b"\x05\x04\x02", gap="10ms")
            until(rig, monitor, lambda seen: len(seen) == 3)
        assert kinds(monitor) == [("request", 5), ("response", 5), ("noise", None)]
        assert monitor.observations()[1].values == (0x0909,)


def test_a_wire_that_is_left_has_nothing_more_to_say(rig: Rig) -> None:
    monitor = modbus.Monitor("wire://bus", rig=rig, name="bus")
    with monitor:
        assert monitor.alive() is None
    assert monitor.alive() is not None
    monitor.close()


def test_only_a_wire_can_be_read_along_on(rig: Rig) -> None:
    for url in ("tcp://127.0.0.1:502", "memory://meter", "rtu+tcp://127.0.0.1:502"):
        with pytest.raises(UsageError, match="is no wire to read along on"):
            modbus.Monitor(url, rig=rig)
    with pytest.raises(UsageError, match="not a duration"):
        modbus.Monitor("wire://bus", rig=rig, answer_within="soon")


def test_an_observation_is_a_value() -> None:
    with Rig(clock="virtual") as sim:
        sim.add_wire("bus", LINE)
        with (
            modbus.Monitor("wire://bus", rig=sim) as monitor,
            modbus.Device("wire://bus", unit=1, input={0: [7]}, rig=sim),
            modbus.Client("wire://bus", unit=1, rig=sim) as client,
            Stream("wire://bus", rig=sim) as noise,
        ):
            client.read_input(0)
            noise.send(b"\x00\x01\x02")
            sim.sleep("1s")
            seen = monitor.observations()
            assert [one.kind for one in seen] == ["request", "response", "noise"]
            for one in seen:
                copy = pickle.loads(pickle.dumps(one))
                assert copy == one
                assert (copy.values, copy.at, copy.problem) == (one.values, one.at, one.problem)
                assert str(one.number) in repr(one)
            with pytest.raises(UsageError, match="there is no kind"):
                modbus.Observation(
                    "rumour",
                    0,
                    None,
                    None,
                    None,
                    None,
                    None,
                    (),
                    None,
                    b"",
                    seen[0].at,
                    seen[0].at,  # type: ignore[arg-type]
                )
