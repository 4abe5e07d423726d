"""The same personality in TOML and in Python: alike byte for byte, at the same instants."""

import pytest
from grumpy import grumpy as grumpy_in_python

from fieldrig import Rig
from fieldrig.errors import ExceptionAnswer
from fieldrig.modbus import adu_tcp
from fieldrig.stream import Stream

# Read holding registers: address, quantity.
READS = [(0, 2), (95, 1), (88, 3), (80, 1), (80, 1), (80, 1), (0, 12), (20, 1), (30, 1), (40, 2), (50, 1), (20, 10)]


def conversation(device, url, rig):
    """Every byte of the device, with its time since the request, from power-on on."""
    device.power_off()
    device.power_on()
    heard = []
    with Stream(url, rig=rig) as line:
        for number, (address, quantity) in enumerate(READS):
            asked = line.send(adu_tcp(number, 1, bytes([3, 0, address, 0, quantity])))
            received = line.receive(within="1s")
            heard.append((received.data, [(count, asked.until(at)) for count, at in received.stamps]))
    return heard


def test_both_are_alike(grumpy, bench):
    in_toml = conversation(grumpy.emulated, grumpy.emulated.address("modbus"), bench.rig)
    with Rig(clock="virtual") as rig, grumpy_in_python("memory-listen://grumpy", rig) as device:
        in_python = conversation(device, device.url, rig)
    assert in_toml == in_python
    answers = [data for data, _ in in_python]
    assert answers[0] == adu_tcp(0, 1, bytes([3, 4, 0, 7, 0, 7]))
    assert answers[1] == adu_tcp(1, 1, bytes([0x83, 2]))
    assert [answer[8] for answer in answers[3:6]] == [6, 6, 2]
    assert len(answers[6]) == 9 + 2 * (12 - 3)
    assert answers[8][:2] == bytes([0, 9])


def test_a_rule_is_switched_and_added_for_one_test(grumpy):
    slow = grumpy.rules("modbus")["slow"]
    assert grumpy.modbus.read_holding(20, 1).values == (7,)
    assert slow.applied == 1
    slow.off()
    grumpy.rule("modbus", name="broken", when={"address": 20}, exception="device_failure", count=1)
    with pytest.raises(ExceptionAnswer, match="04"):
        grumpy.modbus.read_holding(20, 1)
    assert grumpy.modbus.read_holding(20, 1).values == (7,)


def test_the_next_test_meets_it_as_it_was_declared(grumpy):
    rules = grumpy.rules("modbus")
    assert "broken" not in rules
    assert rules["slow"].is_on and rules["slow"].applied == 0
