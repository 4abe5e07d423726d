"""How the gateway behaves on the bus: it reads every meter regularly, and only reads."""

from __future__ import annotations

from typing import Any

import pytest

from fieldrig.errors import ExpectationFailed

READS = frozenset({1, 2, 3, 4})
"""Function codes that read (MODBUS Application Protocol V1.1b3, 6.1 to 6.4)."""


@pytest.mark.requirement("GW-BUS-01")
def test_it_only_reads(gateway: Any, bench: Any, meters: list[Any]) -> None:
    first = bench.bus485.expect(request_to=meters[0], within="10s")
    bench.sleep("5s")
    bench.bus485.expect(request_to=meters[0], within="10s")  # the observer is alive
    for exchange in bench.bus485.exchanges(since=first):
        if exchange.request.function not in READS:
            raise ExpectationFailed(f"it does not only read: {exchange.describe()}")


@pytest.mark.requirement("GW-BUS-02")
def test_every_meter_is_polled_regularly(gateway: Any, bench: Any, meters: list[Any], measure: Any) -> None:
    for meter in meters:
        last = bench.bus485.expect(request_to=meter, within="10s")
        for number in range(1, 6):
            poll = bench.bus485.expect(request_to=meter, after=last, within="10s")
            measure(f"poll_period.{meter.name}.{number}", last.until(poll), max="3s")
            last = poll
