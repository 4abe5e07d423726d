"""A meter that does not answer, or answers with an exception, is nobody else's problem, and no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fieldrig import near

VALUES = "{base}/+/voltage"
Topic = Callable[[Any], str]


@pytest.fixture(params=[0, 1, -1], ids=["first", "second", "last"])
def dead(request: pytest.FixtureRequest, meters: list[Any]) -> Any:
    """The meter that fails: the first, the second, the last in the round."""
    return meters[request.param]


@pytest.mark.requirement("GW-ISO-01")
def test_a_dead_meter_does_not_starve_the_others(
    gateway: Any, bench: Any, meters: list[Any], dead: Any, topic_of: Topic, measure: Any
) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        outage = dead.fault("no_answer")
        bench.bus485.expect(request_to=dead, after=outage, within="10s")
        for meter in [meter for meter in meters if meter is not dead]:
            change = meter.set("voltage", 231.7)
            poll = bench.bus485.expect(request_to=meter, after=change, within="10s")
            value = values.expect(topic_of(meter), json={"v": near(231.7, 0.05)}, after=poll, within="5s")
            measure(f"forward_latency.{meter.name}", poll.until(value), max="2s")


@pytest.mark.requirement("GW-ISO-02")
def test_nothing_is_published_for_a_dead_meter(gateway: Any, bench: Any, dead: Any, topic_of: Topic) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        outage = dead.fault("no_answer")
        missed = bench.bus485.expect(request_to=dead, after=outage, within="10s")
        values.expect_none(topic_of(dead), after=missed, for_="20s")


@pytest.mark.requirement("GW-ISO-03")
def test_a_meter_that_answers_again_is_published_again(
    gateway: Any, bench: Any, dead: Any, topic_of: Topic, measure: Any
) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        outage = dead.fault("no_answer")
        bench.bus485.expect(request_to=dead, after=outage, within="10s")
        bench.sleep("15s")
        dead.set("voltage", 229.3)
        back = dead.fault("no_answer", False)
        value = values.expect(topic_of(dead), json={"v": near(229.3, 0.05)}, after=back, within="20s")
        measure("recovery", back.until(value), max="10s")


@pytest.mark.requirement("GW-ISO-04")
def test_an_exception_is_no_value(gateway: Any, bench: Any, dead: Any, topic_of: Topic) -> None:
    with gateway.uplink.watch(VALUES, qos=1) as values:
        failure = dead.fault("fail_at", 0)
        refused = bench.bus485.expect(response_from=dead, after=failure, within="10s")
        values.expect_none(topic_of(dead), after=refused, for_="10s")
