"""The emulated gateway between clients and a line, on virtual time; its rules are tested in Rust, one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import ExceptionAnswer, NoAnswer, UsageError

LINE = "wire://bus"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("bus", line="19200 8E1")
        with modbus.Device(LINE, holding={0: [1, 2, 3]}, units={2: {"holding": {0: [9]}}}, rig=rig):
            yield rig


@pytest.fixture
def gateway(rig: Rig) -> Iterator[modbus.Gateway]:
    with modbus.Gateway("memory://gw", line=LINE, timeout="300ms", own={"holding": [77]}, rig=rig) as gateway:
        yield gateway


@pytest.fixture
def client(rig: Rig, gateway: modbus.Gateway) -> Iterator[modbus.Client]:
    with modbus.Client(gateway.url, rig=rig) as client:
        yield client


def test_units_on_the_line_answer_through_it_and_unit_255_is_itself(client: modbus.Client) -> None:
    assert client.read_holding(0, 3).values == (1, 2, 3)
    assert client.read_holding(0, unit=2).values == (9,)
    assert client.read_holding(0, unit=255).values == (77,)


def test_who_is_missing_silent_or_refuses_is_told_apart(client: modbus.Client) -> None:
    for unit, address, code in [(250, 0, 0x0A), (9, 0, 0x0B), (1, 100, 0x02)]:
        with pytest.raises(ExceptionAnswer) as failure:
            client.read_holding(address, unit=unit)
        assert failure.value.code == code


def test_a_broadcast_is_done_by_all_and_answered_by_nobody(client: modbus.Client) -> None:
    client.read_holding(0)
    with pytest.raises(NoAnswer):
        client.write_register(0, 85, unit=0, timeout="200ms")
    assert (client.read_holding(0).values, client.read_holding(0, unit=2).values) == ((85,), (85,))


def test_a_habit_breaks_it_and_can_be_undone(client: modbus.Client, gateway: modbus.Gateway) -> None:
    gateway.habit("swallow_exceptions")
    with pytest.raises(ExceptionAnswer, match="failed to respond"):
        client.read_holding(100)
    gateway.habit("swallow_exceptions", "default")
    with pytest.raises(ExceptionAnswer, match="illegal data address"):
        client.read_holding(100)
    with pytest.raises(UsageError, match="there are silent_on_missing"):
        gateway.habit("silent")


def test_units_can_be_renumbered(rig: Rig) -> None:
    with modbus.Gateway("memory://other", line=LINE, units={7: 2}, rig=rig) as gateway:
        with modbus.Client(gateway.url, unit=7, rig=rig) as client:
            assert client.read_holding(0).values == (9,)
            with pytest.raises(ExceptionAnswer, match="gateway path unavailable"):
                client.read_holding(0, unit=2)


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"units": [0]}, "a route leads from 1 to 254 to 1 to 247, not to or from 0"),
        ({"units": {1: 300}}, "unit is 0 to 255, not 300"),
        ({"line": "tcp://127.0.0.1:5"}, "`tcp://127.0.0.1:5` is no line"),
        ({"url": "rtu+tcp://127.0.0.1:0"}, "clients of a gateway speak Modbus/TCP"),
        ({"own": {"holdin": [1]}}, "own: `holdin`: unknown key `holdin`"),
        ({"own": 3}, "own is a dict"),
        ({"timeout": 5}, "5 is not a duration"),
    ],
)
def test_what_cannot_be_a_gateway_is_refused(rig: Rig, keywords: dict[str, object], text: str) -> None:
    given: dict[str, object] = {"url": "memory://none", "line": LINE, "rig": rig, **keywords}
    with pytest.raises(UsageError, match=text):
        modbus.Gateway(**given)  # type: ignore[arg-type]
