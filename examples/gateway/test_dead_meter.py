"""A meter that dies must not keep the gateway from the others: one test, three times.

    pytest --bench builtin:gateway examples/gateway

The bench is that of `fieldrig demo gateway`; it runs on virtual time, so that twenty seconds of silence take no time.
"""

import pytest

from fieldrig import near


@pytest.mark.parametrize("silent", ["meter1", "meter2", "meter3"])
def test_a_dead_meter_does_not_starve_the_others(gateway, bench, measure, silent):
    dead = bench.peers[silent]
    with gateway.uplink.watch("{base}/+/voltage") as values:
        outage = dead.fault("no_answer")
        missed = bench.bus485.expect(request_to=dead, after=outage, within="10s")
        for meter in (meter for meter in bench.peers.values() if meter is not dead):
            topic = f"{{base}}/{meter.name}/voltage"
            change = meter.set("voltage", 231.7)
            poll = bench.bus485.expect(request_to=meter, after=change, within="10s")
            value = values.expect(topic, json={"v": near(231.7, 0.05)}, after=poll, within="5s")
            measure(f"forward_latency.{meter.name}", poll.until(value), max="2s")
        values.expect_none(f"{{base}}/{dead.name}/voltage", after=missed, for_="20s")
