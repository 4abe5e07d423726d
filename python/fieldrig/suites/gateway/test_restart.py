"""A restart of the gateway: it comes back by itself, and with nothing from before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldrig import near

VALUES = "{base}/+/voltage"
Topic = Callable[[Any], str]


@pytest.mark.requirement("GW-RST-01")
def test_values_come_again_after_a_restart(gateway: Any, meters: list[Any], topic_of: Topic, measure: Any) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        boot = gateway.power.cycle(off="2s")
        for meter in meters:
            value = values.expect(topic_of(meter), after=boot.done, within="20s")
            measure(f"restart_time.{meter.name}", boot.done.until(value), max="10s")


@pytest.mark.requirement("GW-RST-02")
def test_nothing_from_before_the_restart_is_published_after_it(
    gateway: Any, bench: Any, meters: list[Any], topic_of: Topic
) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        for meter in meters:
            change = meter.set("voltage", 111.1)
            values.expect(topic_of(meter), json={"v": near(111.1, 0.05)}, after=change, within="10s")
        gateway.power.off()
        bench.sleep("2s")
        for meter in meters:
            meter.set("voltage", 222.2)
        boot = gateway.power.on()
        for meter in meters:
            values.expect(topic_of(meter), json={"v": near(222.2, 0.05)}, after=boot, within="20s")
            values.expect_none(topic_of(meter), json={"v": near(111.1, 0.05)}, after=boot, for_="5s")
