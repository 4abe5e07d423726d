"""Rules of an emulated Modbus device, from Python: handles, errors, the record of each application."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import ExceptionAnswer, UsageError

FAILS = {"name": "a", "exception": 4, "on": False}
SLOW = {"name": "slow", "delay": "40ms"}


def test_a_rule_is_a_handle() -> None:
    with (
        modbus.Device(
            "tcp://127.0.0.1:0", holding={0: [1, 2]}, rules=[{"name": "a", "exception": 4, "on": False}]
        ) as device,
        modbus.Client(device.url) as client,
    ):
        assert client.read_holding(0, 1).values == (1,)
        rule = device.rules["a"]
        rule.on()
        with pytest.raises(ExceptionAnswer):
            client.read_holding(0, 1)
        assert (rule.is_on, rule.matched, rule.applied, rule.what) == (True, 1, 1, "exception = 4")
        rule.off()
        late = device.rule(from_="1h", exception="busy")
        assert (late.name, list(device.rules)) == ("rule 2", ["a", "rule 2"])
        assert client.read_holding(0, 1).values == (1,)
        late.remove()
        with pytest.raises(UsageError, match="there is no rule `rule 2` any more"):
            late.off()
        device.rule(exception=1)
        device.reset_rules()
        assert [(rule.name, rule.is_on) for rule in device.rules.values()] == [("a", False)]


def test_a_wrong_rule_is_told_with_its_key() -> None:
    with pytest.raises(
        UsageError, match=r"`rule\.0\.exeption`: unknown key `exeption`\n  hint: did you mean `exception`"
    ):
        modbus.Device(holding={0: [1]}, rules=[{"exeption": 2}])
    with modbus.Device(holding={0: [1]}) as device:
        with pytest.raises(UsageError, match="`when.adress`: unknown key `adress`\n  hint: did you mean `address`"):
            device.rule(when={"adress": 2}, exception=2)
        with pytest.raises(UsageError, match="`rule`: `rule 1` does nothing"):
            device.rule()


def test_each_application_is_in_the_run_log(tmp_path: Path) -> None:
    with (
        Rig(clock="virtual", folder=tmp_path) as rig,
        modbus.Device("memory-listen://meter", holding={0: [1]}, rules=[SLOW], rig=rig) as device,
        modbus.Client(device.url, rig=rig) as client,
    ):
        client.read_holding(0, 1)
    [log] = tmp_path.rglob("run.jsonl")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    [told] = [record for record in records if record.get("kind") == "modbus.rule"]
    fields = told["fields"]
    assert (fields["rule"], fields["count"], fields["what"]) == ("slow", 1, 'delay = "40ms"')
    assert fields["request"] == "03 00 00 00 01"
