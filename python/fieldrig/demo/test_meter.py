"""The demo's suite: what a test engineer would write for an energy meter; it does not know that it is emulated."""

from __future__ import annotations

from typing import Any

import pytest

from fieldrig import near
from fieldrig.errors import ExceptionAnswer


@pytest.mark.requirement("METER-BOOT")
def test_it_boots_and_tells_its_version(meter: Any, measure: Any) -> None:
    boot = meter.power.cycle(off="100ms")
    meter.console.expect("self test ok", after=boot, within="2s")
    ready = meter.console.expect(r"boot ok v(?P<version>\S+)", after=boot, within="2s")
    measure("boot_time", boot.done.until(ready.at), max="1s")
    meter.console.send("ver")
    assert meter.console.expect(r"fw (\S+)", within="1s").group(1) == ready.group("version")


@pytest.mark.requirement("METER-VOLTAGE")
def test_modbus_gives_the_voltage_in_volts(meter: Any, measure: Any) -> None:
    reading = meter.modbus.read("voltage")
    measure("voltage", reading.value, unit="V", min=207, max=253)
    measure("read_latency", reading.at.until(reading.done), max="200ms")


@pytest.mark.requirement("METER-TELEMETRY")
def test_telemetry_says_what_modbus_says(meter: Any) -> None:
    with meter.mqtt.watch("{base}/telemetry") as telemetry:
        message = telemetry.expect(within="2s")
        assert message.json()["voltage"] == near(meter.modbus.read("voltage").value, 0.05)


@pytest.mark.requirement("METER-ALARM")
def test_an_overtemperature_raises_the_alarm_fast(meter: Any, measure: Any) -> None:
    meter.modbus.write("setpoint", 20.0)
    with meter.mqtt.watch("{base}/alarm", qos=1) as alarms:
        command = meter.modbus.write("setpoint", 85.0)
        alarm = alarms.expect(json={"code": "OVERTEMP"}, after=command, within="2s")
        measure("alarm_latency", command.until(alarm), max="500ms")
        meter.console.expect(r"ALARM overtemp 85\.0", after=command, within="2s")
        alarms.expect_none(for_="200ms")


@pytest.mark.requirement("METER-ALARM")
def test_below_the_limit_there_is_no_alarm(meter: Any) -> None:
    with meter.mqtt.watch("{base}/alarm", qos=1) as alarms:
        command = meter.modbus.write("setpoint", 79.9)
        alarms.expect_none(after=command, for_="300ms")


@pytest.mark.requirement("METER-CONSOLE")
def test_what_the_console_sets_is_read_on_modbus(meter: Any) -> None:
    sent = meter.console.send("set 42.5")
    meter.console.expect("ok", after=sent, within="1s")
    assert meter.modbus.read("setpoint").value == near(42.5, 0.05)


@pytest.mark.requirement("METER-RANGE")
def test_an_address_it_does_not_have_is_refused(meter: Any) -> None:
    with pytest.raises(ExceptionAnswer) as refused:
        meter.modbus.read_holding(1000, 1)
    assert refused.value.code == 2
