"""Rules of an emulated Modbus device, from Python: handles, errors, the record of each application."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fieldrig import Rig, modbus
from fieldrig.errors import BenchFileError, ExceptionAnswer, UsageError

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


def test_a_recording_is_replayed_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recording.csv").write_text("time,value\n0,10\n1.5,20\n2500ms,30\n")
    monkeypatch.chdir(tmp_path)
    with Rig(clock="virtual") as rig:
        values = {"series": "recording.csv"}
        lines = {
            "when": {"table": "holding", "address": 1},
            "value": {"series": str(tmp_path / "recording.csv"), "interpolate": True},
        }
        with (
            modbus.Device(
                "memory-listen://meter",
                holding={0: [0, 0]},
                rules=[{"when": {"table": "holding", "address": 0}, "value": values}],
                rig=rig,
            ) as device,
            modbus.Client(device.url, rig=rig) as client,
        ):
            device.rule(**lines)
            seen = []
            for _ in range(7):
                seen.append(client.read_holding(0, 2).values)
                rig.sleep("500ms")
        assert [first for first, _ in seen] == [10, 10, 10, 20, 20, 30, 30]
        assert [second for _, second in seen] == [10, 13, 17, 20, 25, 30, 30]


def test_a_recording_stands_beside_the_model_file(tmp_path: Path) -> None:
    from fieldrig import _core

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "load.csv").write_text("0;7\n60;8\n")
    model = """
        [model]
        name = "meter"
        [face.modbus]
        holding = [0]
        [[face.modbus.rule]]
        when = { address = 0, table = "holding" }
        value = { series = "load.csv" }
    """
    (tmp_path / "models" / "meter.toml").write_text(model)
    (tmp_path / "bench.toml").write_text(
        """
        [bench]
        name = "b"
        [link.modbus]
        protocol = "modbus-tcp"
        [dut.meter]
        model = "models/meter.toml"
        links = { modbus = "devices" }
        """
    )
    _core.bench.load(str(tmp_path / "bench.toml"), [])
    (tmp_path / "models" / "load.csv").write_text("0;7\n60;8;9\n")
    with pytest.raises(BenchFileError, match=r"load\.csv:2:6: the row has 3 cells"):
        _core.bench.load(str(tmp_path / "bench.toml"), [])


def test_a_recording_stands_beside_the_map_file(tmp_path: Path) -> None:
    (tmp_path / "load.csv").write_text("0,7\n1,8\n")
    (tmp_path / "meter.toml").write_text(
        """
        [points.load]
        table = "input"
        address = 0
        [[rule]]
        when = { point = "load" }
        value = { series = "load.csv" }
        """
    )
    with (
        Rig(clock="virtual") as rig,
        modbus.Device("memory-listen://meter", map=tmp_path / "meter.toml", rig=rig) as device,
        modbus.Client(device.url, rig=rig) as client,
    ):
        first = client.read_input(0).values
        rig.sleep("1s")
        assert (first, client.read_input(0).values) == ((7,), (8,))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "rec.csv: there is no such file"),
        ("time,value\n0,1\n0,2\n", "rec.csv:3:1: the times must go up: `0` does not come after `0`"),
        ("0,high\n", "rec.csv:1:3: `high` is not a number"),
    ],
)
def test_a_wrong_recording_is_told_with_its_place(
    text: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "rec.csv").write_text(text)
    rule = {"when": {"table": "holding", "address": 0}, "value": {"series": "rec.csv"}}
    with pytest.raises(BenchFileError) as caught:
        modbus.Device(holding={0: [0]}, rules=[rule])
    assert told in str(caught.value)
    with modbus.Device(holding={0: [0]}) as device, pytest.raises(BenchFileError, match="rec.csv"):
        device.rule(**rule)


def test_a_long_recording_does_not_fill_the_run_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rec.csv").write_text("".join(f"{second},{second % 100}\n" for second in range(20_000)))
    rule = {"when": {"table": "holding", "address": 0}, "value": {"series": "rec.csv"}}
    with modbus.Device(holding={0: [0]}, rules=[rule]) as device:
        [what] = [rule.what for rule in device.rules.values()]
    assert what.endswith("and 19984 more] }") and len(what) < 500
