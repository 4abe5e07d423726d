"""One test file for three protocols and two profiles: it knows nothing of how the meter is provided."""

import pytest

from fieldrig import near


def test_overtemp_alarm_is_fast(meter, measure):
    with meter.mqtt.watch("site/+/alarm", qos=1) as alarms:  # returns after SUBACK
        boot = meter.power.cycle(off="1s")
        meter.console.expect(r"boot ok v(?P<ver>\d+\.\d+)", after=boot, within="5s")
        cmd = meter.modbus.write("setpoint", 85.0)
        alarm = alarms.expect(json={"code": "OVERTEMP"}, after=cmd, within="2s")
        measure("alarm_latency", cmd.until(alarm), max="500ms")
        alarms.expect_none(for_="1s")


@pytest.mark.requirement("METER-VERSION")
def test_console_tells_the_version(meter):
    sent = meter.console.send("ver")
    version = meter.console.expect(r"fw (\S+)", after=sent, within="2s")
    assert version[1] == "1.4"


def test_voltage_is_read_in_volts(meter, measure):
    voltage = meter.modbus.read("voltage")
    assert voltage.value == near(230.0, 0.5)
    measure("voltage", voltage.value, unit="V", min=207, max=253)


def test_setpoint_below_the_limit_raises_no_alarm(meter):
    meter.modbus.write("setpoint", 20.0)
    with meter.mqtt.watch("site/+/alarm", qos=1) as alarms:
        cmd = meter.modbus.write("setpoint", 79.9)
        alarms.expect_none(after=cmd, for_="300ms")
    assert meter.modbus.read("setpoint").value == near(79.9, 0.01)
