"""What is polled is published: soon, right, under its own topic, once and in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldrig import near

from .flow import Flow

VALUES = "{base}/+/voltage"
Topic = Callable[[Any], str]


@pytest.mark.requirement("GW-FWD-01")
def test_a_change_is_forwarded_soon(gateway: Any, bench: Any, meters: list[Any], topic_of: Topic, measure: Any) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        for meter in meters:
            change = meter.set("voltage", 231.7)
            poll = bench.bus485.expect(response_from=meter, after=change, within="10s")
            value = values.expect(topic_of(meter), json={"v": near(231.7, 0.05)}, after=poll, within="10s")
            measure(f"forward_latency.{meter.name}", poll.until(value), max="2s")


@pytest.mark.requirement("GW-FWD-02")
@pytest.mark.parametrize("volts", [0.0, 0.1, 9.9, 231.7, 400.0, 3276.7, 3276.8, 6553.5])
def test_the_value_is_right_over_the_whole_range(
    gateway: Any, bench: Any, meters: list[Any], topic_of: Topic, volts: float
) -> None:
    meter = meters[0]
    with gateway.uplink.watch(VALUES, qos=1) as values:
        change = meter.set("voltage", volts)
        poll = bench.bus485.expect(response_from=meter, after=change, within="10s")
        values.expect(topic_of(meter), json={"v": near(volts, 0.01)}, after=poll, within="10s")


@pytest.mark.requirement("GW-FWD-03")
def test_each_meter_has_its_own_topic(gateway: Any, bench: Any, meters: list[Any], topic_of: Topic) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        for number, meter in enumerate(meters):
            change = meter.set("voltage", 100.0 + number)
            poll = bench.bus485.expect(response_from=meter, after=change, within="10s")
            values.expect(topic_of(meter), json={"v": near(100.0 + number, 0.01)}, after=poll, within="10s")
        for number in range(len(meters)):
            for other in meters[:number] + meters[number + 1 :]:
                values.expect_none(topic_of(other), json={"v": near(100.0 + number, 0.01)}, for_="2s")


@pytest.mark.requirement("GW-FWD-04")
def test_every_value_is_published_once_and_in_order(
    gateway: Any, bench: Any, meters: list[Any], topic_of: Topic
) -> None:
    for meter in meters:
        with gateway.uplink.watch(topic_of(meter), qos=1) as values:
            flow = Flow(bench, values, meter, topic_of(meter))
            flow.drive([100.0 + step / 10 for step in range(8)])
            flow.end()
            flow.must_be_whole()
            flow.must_be_once()
