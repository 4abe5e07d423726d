"""A first suite. Run it with `pytest`; against the real device, with `pytest --profile real`."""

import pytest

from fieldrig import near
from fieldrig.errors import ExceptionAnswer


def test_starting_is_reported_in_time(pump, measure):
    pump.modbus.write("speed", 0)  # it may stand still already
    with pump.mqtt.watch("{base}/state", qos=1) as states:  # returns once the broker has confirmed it
        command = pump.modbus.write("speed", 1500)
        started = states.expect(json={"running": True}, after=command, within="2s")
        measure("start_latency", command.until(started), max="1s")
        states.expect_none(for_="200ms")  # it says so once: nothing more comes behind it


def test_the_speed_is_kept(pump):
    pump.modbus.write("speed", 900)
    assert pump.modbus.read("speed").value == near(900, 1)


def test_a_speed_beyond_the_range_is_refused(pump):
    with pytest.raises(ExceptionAnswer) as refused:
        pump.modbus.write("speed", 5000)
    assert refused.value.code == 3
