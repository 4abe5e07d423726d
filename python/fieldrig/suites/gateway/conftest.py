"""What the tests of this suite share: the meters of the bench, and the topics of their values.

A bench of your own names its gateway `gateway`, its bus `bus485` and its uplink `uplink`, gives its meters the tag
`meter` and the point `voltage`. A gateway with other topics or another payload: override `topic_of` and `payload_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def meters(bench: Any) -> list[Any]:
    """The meters behind the gateway, in the order of the bench file."""
    found = [peer for peer in bench.peers.values() if "meter" in peer.tags]
    if len(found) < 2:
        pytest.skip("not applicable: the suite needs two peers with the tag `meter`")
    return found


@pytest.fixture(autouse=True)
def publishes(gateway: Any) -> None:
    """A test begins once the gateway publishes: it may still be on its way back from the outage of the one before."""
    with gateway.uplink.watch("{base}/+/voltage", qos=1) as values:
        values.expect(within="90s")


@pytest.fixture
def topic_of() -> Callable[[Any], str]:
    """The topic of a meter's voltage."""
    return lambda meter: f"{{base}}/{meter.name}/voltage"
