"""A peer is a fixture, too: it can be set and switched, it is needed, and it is not judged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fieldrig.demo import FOLDER

pytest_plugins = ["pytester"]

BENCH = """
[bench]
name = "two"
[link.mqtt]
protocol = "mqtt5"
base = "site/two"
[link.console]
protocol = "console"
line = "115200 8N1"
[dut.meter]
model = "meter.toml"
links = { mqtt = "client", console = {} }
[peer.sensor]
model = "sensor.toml"
link = "mqtt"
"""

SENSOR = """
[model]
name = "sensor"
[points.outdoor]
kind = "float"
[[rule]]
when = "outdoor is written"
publish = { topic = "{base}/outdoor", json = { t = "{outdoor}" }, qos = 1 }
"""

TEST = """
import pytest
from fieldrig.errors import UsageError

def test_a_peer_is_set_and_the_devices_side_sees_it(meter, sensor, bench):
    assert bench.peers == {"sensor": sensor} and not sensor.judged and meter.judged
    with meter.mqtt.watch("{base}/outdoor", qos=1) as seen:
        change = sensor.set("outdoor", -3.5)
        seen.expect(json={"t": -3.5}, after=change, within="5s")
        sensor.power.off()
        seen.expect_none(for_="50ms")

def test_a_peer_has_no_links_for_the_test(sensor):
    with pytest.raises(AttributeError, match="has no link `mqtt`"):
        sensor.mqtt
"""


def test_peers_are_fixtures(pytester: pytest.Pytester) -> None:
    shutil.copy(Path(FOLDER) / "meter.toml", pytester.path)
    (pytester.path / "sensor.toml").write_text(SENSOR)
    (pytester.path / "bench.toml").write_text(BENCH)
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["fieldrig *: bench two, meter=emulated*"])
