"""Who a device is: read at the start and the end of a run, verified after it was prepared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from fieldrig import Rig, modbus, mqtt
from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import BenchError
from tests.life.lab import Lab

FIRMWARE = "identity = { firmware = { console = \"ver\", match = 'fw (\\S+)' } }"


def opened(lab: Lab, tables: str, prepare: bool = False) -> Bench:
    return BenchPlan.load(lab.bench(tables)).open(out=lab.folder / "run", prepare=prepare)


def test_an_identity_is_read_through_the_console(lab: Lab) -> None:
    with opened(lab, FIRMWARE) as bench:
        bench.begin_session()
        assert dict(bench.device("pump").identity) == {"firmware": "1.4.2"}
        bench.end_session()
        assert bench.identity_changed is None
    assert lab.records("identity") == [{"device": "pump", "why": "start of the run", "identity": {"firmware": "1.4.2"}}]


def test_without_a_pattern_the_answer_is_the_identity_and_the_echo_is_no_answer(lab: Lab) -> None:
    lab.console.answers["id"] = "id\r\n\r\n  pump 7 "
    with opened(lab, 'identity = { name = { console = "id" } }') as bench:
        assert bench.device("pump").identity["name"] == "pump 7"


def test_an_identity_is_read_by_a_command(lab: Lab) -> None:
    (lab.folder / "serial.txt").write_text("serial: 00042\n")
    with opened(lab, "identity = { serial = { command = \"cat serial.txt\", match = 'serial: (\\d+)' } }") as bench:
        assert bench.device("pump").identity["serial"] == "00042"


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ('console = "who", timeout = "100ms"', "pump: its name cannot be read: to console `who` it said nothing"),
        (
            'console = "ver", match = \'v(\\d)\', timeout = "100ms"',
            r"it said fw 1.4.2, which does not match /v\(\\d\)/",
        ),
        ('command = "false"', "pump: its name cannot be read: the identity command `false` ended with 1"),
    ],
    ids=["silence", "mismatch", "command"],
)
def test_an_identity_that_cannot_be_read_is_the_benchs_fault(lab: Lab, table: str, error: str) -> None:
    with opened(lab, f"identity = {{ name = {{ {table} }} }}") as bench:
        with pytest.raises(BenchError, match=f"^BENCH: .*{error}"):
            bench.begin_session()


def test_an_identity_that_changes_by_itself_is_told(lab: Lab) -> None:
    with opened(lab, FIRMWARE) as bench:
        bench.begin_session()
        lab.console.answers["ver"] = "fw 1.4.3"
        bench.end_session()
        assert bench.identity_changed == "pump: its firmware was `1.4.2` and is `1.4.3`"


def test_an_identity_that_is_silent_at_the_end_is_told(lab: Lab) -> None:
    with opened(lab, FIRMWARE.replace(" } }", ', timeout = "100ms" } }')) as bench:
        bench.begin_session()
        del lab.console.answers["ver"]
        bench.end_session()
        assert bench.identity_changed is not None
        assert bench.identity_changed.startswith("pump: its firmware was `1.4.2`, and now: pump: its firmware cannot")


def test_a_change_that_a_test_commands_is_accepted(lab: Lab) -> None:
    with opened(lab, FIRMWARE) as bench:
        bench.begin_session()
        lab.console.answers["ver"] = "fw 2.0"
        bench.device("pump").identity.accept("firmware update")
        bench.end_session()
        assert bench.identity_changed is None
        assert bench.device("pump").identity["firmware"] == "2.0"


def test_a_device_that_a_test_left_off_is_switched_on_to_be_identified(lab: Lab) -> None:
    with opened(lab, f"{FIRMWARE}\n{lab.power()}") as bench:
        bench.begin_session()
        bench.device("pump").power.off()
        bench.end_session()
        assert lab.switched()[-1] == "on done"
        assert bench.identity_changed is None


MQTT = """
[bench]
name = "lab"
profile = "real"
[link.uplink]
protocol = "mqtt5"
base = "site"
real = {{ broker = "{broker}" }}
[link.bus]
protocol = "modbus-tcp"
real = {{ port = "{device}" }}
[dut.pump]
model = "pump.toml"
links = {{ uplink = "client", bus = "devices" }}
identity = {{ serial = {{ modbus = "serial" }}, firmware = {{ mqtt = "{{base}}/version", match = "v(.*)" }} }}
"""
MODEL = """
[model]
name = "pump"
[points.serial]
kind = "int"
[face.bus]
map = { serial = { table = "holding", address = 0, type = "u16" } }
[face.uplink]
"""


@pytest.fixture
def broker() -> Iterator[mqtt.Broker]:
    with Rig(name="identity") as rig, mqtt.Broker(rig=rig) as broker, mqtt.Client(broker.url, rig=rig) as client:
        client.publish("site/version", "v1.0", qos=1, retain=True)
        yield broker


def test_an_identity_is_a_point_or_a_retained_message(lab: Lab, broker: mqtt.Broker) -> None:
    with modbus.Device(holding={0: [4711]}) as device:
        (lab.folder / "pump.toml").write_text(MODEL)
        path = lab.folder / "other.toml"
        path.write_text(MQTT.format(broker=broker.url, device=device.url))
        with BenchPlan.load(path).open(out=lab.folder / "run") as bench:
            bench.begin_session()
            assert dict(bench.device("pump").identity) == {"serial": "4711", "firmware": "1.0"}


FLASH = """#!/bin/sh
# Flashes: writes down what it is given.
echo "$@" >> "{folder}/flashed"
[ -e "{folder}/flash.fails" ] && {{ echo "verify error at 0x800" >&2; exit 1; }}
exit 0
"""


def prepared(lab: Lab, **keys: str) -> str:
    flash = lab.folder / "flash.sh"
    flash.write_text(FLASH.format(folder=lab.folder))
    flash.chmod(0o755)
    table = {"command": f"{flash} {{artifact}} now", "verify": "firmware", **keys}
    text = ", ".join(f'{name} = "{value}"' for name, value in table.items())
    return f"{FIRMWARE}\nprepare = {{ {text} }}"


def flashed(lab: Lab) -> list[str]:
    path = lab.folder / "flashed"
    return path.read_text().splitlines() if path.exists() else []


def test_a_device_is_prepared_once_before_its_links_are_opened(lab: Lab) -> None:
    (lab.folder / "fw.bin").touch()
    with opened(lab, prepared(lab, artifact="fw.bin"), prepare=True) as bench:
        bench.begin_session()
        for test in ("test_one", "test_two"):
            bench.check_up(test, ["pump"])
        assert flashed(lab) == [f"{lab.folder}/fw.bin now"]
        assert bench.device("pump").identity["firmware"] == "1.4.2"
    kinds = lab.kinds()
    assert kinds.index("prepare") < kinds.index("stream.opened") < kinds.index("identity")


def test_whoever_only_opens_a_bench_prepares_nothing(lab: Lab) -> None:
    (lab.folder / "fw.bin").touch()
    with opened(lab, prepared(lab, artifact="fw.bin")):
        pass
    assert flashed(lab) == []


def test_a_device_is_prepared_before_each_test_and_may_become_another(lab: Lab) -> None:
    (lab.folder / "fw.bin").touch()
    with opened(lab, prepared(lab, artifact="fw.bin", once="test"), prepare=True) as bench:
        bench.begin_session()
        assert len(flashed(lab)) == 1  # for the first test: with it the bench is opened
        lab.console.answers["ver"] = "fw 2.0"
        bench.check_up("test_of_another", [])
        assert len(flashed(lab)) == 1
        bench.check_up("test_two", ["pump"])
        assert len(flashed(lab)) == 2
        bench.end_session()
        assert bench.identity_changed is None


def test_without_an_artifact_the_device_is_tested_as_it_is(lab: Lab) -> None:
    with opened(lab, prepared(lab, artifact="${FIELDRIG_TEST_ARTIFACT:-}"), prepare=True):
        pass
    assert flashed(lab) == []
    assert [one["reason"] for one in lab.records("prepare.left_out")] == ["no artifact is given"]


def test_preparation_that_fails_is_the_benchs_fault(lab: Lab) -> None:
    with pytest.raises(BenchError, match=r"the artifact to prepare it with is missing: .*fw\.bin"):
        opened(lab, prepared(lab, artifact="fw.bin"), prepare=True)
    (lab.folder / "fw.bin").touch()
    (lab.folder / "flash.fails").touch()
    with pytest.raises(BenchError, match="the prepare command .* ended with 1: verify error at 0x800"):
        opened(lab, prepared(lab, artifact="fw.bin"), prepare=True)


SUITE = """
def test_that_passes(pump):
    pass

def test_after_which_it_is_another(pump):
    pump.console.expect("ok", after=pump.console.send("become another"), within="30s")

def test_without_the_device():
    pass
"""


def test_what_passed_with_a_device_that_became_another_is_inconclusive(lab: Lab) -> None:
    lab.bench(FIRMWARE)
    lab.console.becomes = {"become another": {"ver": "fw 6.6.6"}}
    lab.console.answers["become another"] = "ok"
    (lab.folder / "test_suite.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    command += ["--bench", "bench.toml", "--fieldrig-out", "run", "--junitxml", "junit.xml"]
    ended = subprocess.run(command, cwd=lab.folder, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stdout
    assert "INCONCLUSIVE: pump: its firmware was `1.4.2` and is `6.6.6`" in ended.stdout
    assert "2 inconclusive, 1 pass" in ended.stdout, ended.stdout
    junit = (lab.folder / "junit.xml").read_text()
    assert 'name="identity.pump.firmware" value="1.4.2"' in junit
