"""What is polled while the uplink is down is published when it is back: all of it, once, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .flow import Flow

Topic = Callable[[Any], str]
WAYS = pytest.mark.parametrize("how", ["refused", "stalled"])


@contextmanager
def outage(gateway: Any, bench: Any, meters: list[Any], topic_of: Topic, ways: list[str]) -> Iterator[list[Flow]]:
    """The values of all meters while the uplink is down, in one way after the other; the outage is over."""
    with gateway.uplink.watch("{base}/+/voltage", qos=1) as values:
        flows = [Flow(bench, values, meter, topic_of(meter)) for meter in meters]
        drive(flows, [200.1, 200.2])
        for number, how in enumerate(ways):
            bench.uplink.down(how)
            drive(flows, [201.0 + number + step / 10 for step in range(5)])
        bench.uplink.up()
        drive(flows, [210.1, 210.2])
        for flow in flows:
            flow.end(within="90s")
        yield flows


def drive(flows: list[Flow], volts: list[float]) -> None:
    """One value after the other, at all meters."""
    for value in volts:
        for flow in flows:
            flow.drive([value])


@WAYS
@pytest.mark.requirement("GW-OUT-01")
def test_values_survive_an_outage_in_order(
    gateway: Any, bench: Any, meters: list[Any], topic_of: Topic, how: str
) -> None:
    with outage(gateway, bench, meters, topic_of, [how]) as flows:
        for flow in flows:
            flow.must_be_whole()


@WAYS
@pytest.mark.requirement("GW-OUT-02")
def test_no_value_is_published_twice_after_an_outage(
    gateway: Any, bench: Any, meters: list[Any], topic_of: Topic, how: str
) -> None:
    with outage(gateway, bench, meters, topic_of, [how]) as flows:
        for flow in flows:
            flow.must_be_once(breaks=1)


@WAYS
@pytest.mark.requirement("GW-OUT-03")
def test_polling_goes_on_during_an_outage(gateway: Any, bench: Any, meters: list[Any], how: str) -> None:
    down = bench.uplink.down(how)
    for meter in meters:
        poll = down
        for _ in range(4):
            poll = bench.bus485.expect(request_to=meter, after=poll, within="5s")


@pytest.mark.requirement("GW-OUT-04")
def test_a_value_on_its_way_when_the_connection_breaks_is_published(
    gateway: Any, bench: Any, meters: list[Any], topic_of: Topic
) -> None:
    with outage(gateway, bench, meters, topic_of, ["stalled", "refused"]) as flows:
        for flow in flows:
            flow.must_be_whole()
