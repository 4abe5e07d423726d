"""A first suite of one's own."""

import pytest

from fieldrig import near
from fieldrig.errors import ExceptionAnswer


def test_heating_starts_when_it_gets_too_cold(thermostat, measure):
    thermostat.modbus.write("target", 19.0)
    with thermostat.mqtt.watch("{base}/heating", qos=1) as heating:
        command = thermostat.modbus.write("target", 28.0)
        started = heating.expect(json={"on": True}, after=command, within="2s")
        measure("start_latency", command.until(started), max="1s")
    assert thermostat.modbus.read("heating").value


def test_the_target_is_kept_to_a_tenth_of_a_degree(thermostat):
    thermostat.modbus.write("target", 21.3)
    assert thermostat.modbus.read("target").value == near(21.3, 0.01)


def test_a_target_beyond_the_range_is_refused(thermostat):
    with pytest.raises(ExceptionAnswer) as refused:
        thermostat.modbus.write("target", 80.0)
    assert refused.value.code == 3
