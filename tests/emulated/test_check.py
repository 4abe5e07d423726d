"""`fieldrig check`: what it finds out about a bench, and what it leaves alone."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldrig import Rig, _core
from fieldrig.bench import BenchPlan

LAB = """\
[bench]
name = "lab"
profile = "real"
[link.modbus]
protocol = "modbus-tcp"
real = {{ port = "{modbus}" }}
[link.uplink]
protocol = "mqtt5"
real = {{ broker = "{broker}", username = "bench", password = "${{LAB_PASSWORD}}" }}
[dut.meter]
model = "meter.toml"
unit = 1
links = {{ modbus = "devices", uplink = "client", console = {{ port = "{console}", line = "115200 8N1" }} }}
power = {{ command = "{power} {{action}}", safe = "off" }}
identity = {{ firmware = {{ console = "ver", match = '{match}' }}, serial = {{ modbus = "serial" }} }}
"""

MODEL = """\
[model]
name = "meter"
[points.serial]
kind = "int"
initial = 4711
[face.modbus.map]
serial = { table = "input", address = 0, type = "u16" }
[[command]]
match = "ver"
reply = "fw 1.4"
"""

EMULATED = """\
[bench]
name = "bench"
[link.modbus]
protocol = "modbus-tcp"
[link.uplink]
protocol = "mqtt5"
[link.console]
protocol = "console"
line = "115200 8N1"
[dut.meter]
model = "meter.toml"
unit = 1
links = { modbus = "devices", uplink = "client", console = {} }
"""


class Lab:
    """A bench whose real device is an emulated one of the test, with a power command that notes what it was told."""

    def __init__(self, folder: Path, running: _core.bench.Running) -> None:
        self.folder = folder
        self.device = running.device("meter")
        console = running.resolve("meter", "console").url
        self.places = {
            "modbus": running.resolve("meter", "modbus").url,
            "broker": running.resolve("meter", "uplink").url,
            "console": console.removeprefix("serial://").partition("?")[0],
            "power": "./power.sh",
            "match": r"fw (\\S+)".replace("\\\\", "\\"),
        }
        power = folder / "power.sh"
        power.write_text(f"#!/bin/sh\necho $1 >> {folder / 'switched'}\n")
        power.chmod(0o755)

    def check(self, *arguments: str, **places: str) -> subprocess.CompletedProcess[str]:
        """Checks the bench, with other places where they are given."""
        (self.folder / "lab.toml").write_text(LAB.format(**{**self.places, **places}))
        return check("lab.toml", *arguments, cwd=self.folder)


def check(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`fieldrig check` as a user runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDRIG")}
    command = [sys.executable, "-m", "fieldrig", "check", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**environment, "LAB_PASSWORD": "planted-secret"}, capture_output=True, text=True
    )


def found(ended: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The findings of a run with `--format json`."""
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    return {(line["what"], line["name"]): line for line in lines if line["kind"] == "finding"}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """The lab, with power on."""
    (tmp_path / "meter.toml").write_text(MODEL)
    (tmp_path / "bench.toml").write_text(EMULATED)
    with Rig() as rig:
        running = _core.bench.bring_up(rig, BenchPlan.load(tmp_path / "bench.toml")._native)
        made = Lab(tmp_path, running)
        assert made.device is not None
        made.device.power_on()
        yield made


def test_a_bench_that_is_ready(lab: Lab) -> None:
    ended = lab.check("--format", "json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    says = {key: (line["verdict"], line["says"]) for key, line in found(ended).items()}
    assert says == {
        ("device", "meter"): ("real", "modbus (modbus-tcp), uplink (mqtt5), console (console)"),
        ("port", "modbus"): ("ok", lab.places["modbus"]),
        ("broker", "uplink"): ("ok", lab.places["broker"]),
        ("port", "meter.console"): ("ok", f"serial://{lab.places['console']}?line=115200+8N1"),
        ("power", "meter"): ("ok", "./power.sh {action}"),
        ("identity", "meter.firmware"): ("ok", "1.4"),
        ("identity", "meter.serial"): ("ok", "4711"),
    }
    last = json.loads(ended.stdout.splitlines()[-1])
    assert last == {"kind": "check", "bench": "lab", "findings": 7, "problems": 0, "warnings": 0}
    assert not (lab.folder / "switched").exists(), "power was switched"
    assert not (lab.folder / "fieldrig-runs").exists()


def test_the_table_is_for_people_and_hides_secrets(lab: Lab) -> None:
    broker = lab.places["broker"].replace("mqtt://", "mqtt://bench:planted-secret@")
    ended = lab.check(broker=broker)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].endswith(": bench lab, meter=real (lab.toml)")
    assert lines[-1] == "all is ready"
    assert any(line.split() == ["identity", "meter.firmware", "ok", "1.4"] for line in lines)
    assert "planted-secret" not in ended.stdout + ended.stderr
    assert "\x1b" not in ended.stdout


def test_each_thing_that_is_not_ready_is_named_and_the_rest_is_looked_at(lab: Lab) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, but nobody listens
        nobody = f"mqtt://127.0.0.1:{closed.getsockname()[1]}"
        ended = lab.check("--format", "json", broker=nobody, power="./nothing.sh", match="version (.*)")
    assert ended.returncode == 3
    findings = found(ended)
    problems = {key for key, line in findings.items() if line["verdict"] == "problem"}
    assert problems == {("broker", "uplink"), ("power", "meter"), ("identity", "meter.firmware")}
    assert "`./nothing.sh` is no program" in findings["power", "meter"]["says"]
    assert "fw 1.4" in findings["identity", "meter.firmware"]["says"]
    assert findings["identity", "meter.serial"]["verdict"] == "ok"
    assert json.loads(ended.stdout.splitlines()[-1])["problems"] == 3


PLUG = """\
[link.mains]
protocol = "mqtt5"
real = {{ broker = "{broker}" }}
[dut.plugged]
links = {{ console = {{ port = "{console}", line = "115200 8N1" }} }}
power = {{ mqtt = "mains", tasmota = "plug7" }}
identity = {{ firmware = {{ console = "ver", match = '{match}' }} }}
[dut.supplied]
links = {{ modbus = {{ protocol = "modbus-tcp", port = "{modbus}" }} }}
power = {{ scpi = "tcp://{supply}" }}
"""


def test_a_broker_or_a_supply_that_only_gives_power_is_looked_at(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as supply:
        address = f"127.0.0.1:{supply.getsockname()[1]}"
        text = '[bench]\nname = "lab"\nprofile = "real"\n' + PLUG.format(**lab.places, supply=address)
        (lab.folder / "plug.toml").write_text(text)
        ready = check("plug.toml", "--format", "json", cwd=lab.folder)
    findings = found(ready)
    assert ready.returncode == 0, ready.stdout + ready.stderr
    assert findings["broker", "plugged.power"]["says"] == lab.places["broker"]
    assert findings["port", "supplied.power"]["says"] == f"tcp://{address}"
    assert findings["identity", "plugged.firmware"]["says"] == "1.4"
    gone = check("plug.toml", "--format", "json", "--no-identity", cwd=lab.folder)
    assert gone.returncode == 3
    assert found(gone)["port", "supplied.power"]["verdict"] == "problem"


def test_a_port_that_is_not_there_has_a_hint(lab: Lab) -> None:
    ended = lab.check("--no-identity", console="/dev/serial/by-id/none")
    assert ended.returncode == 3
    assert "/dev/serial/by-id/none" in ended.stdout and "no such device" in ended.stdout
    assert re.search(r"hint: meter.console: .*plugged in", ended.stdout), "it says what is"
    assert ended.stdout.splitlines()[-1] == "1 of 5 are not ready"


def test_a_wire_that_another_run_has_is_not_touched_and_its_holder_named(lab: Lab) -> None:
    with _core.WireLock(lab.places["console"], "bench rack2"):
        ended = lab.check("--format", "json")
    assert ended.returncode == 3
    port = found(ended)["port", "meter.console"]
    assert port["verdict"] == "problem"
    assert f"(pid {os.getpid()})" in port["says"] and "bench rack2" in port["says"]


def test_nothing_is_sent_where_no_identity_is_asked(lab: Lab) -> None:
    master, slave = os.openpty()
    with socket.create_server(("127.0.0.1", 0)) as modbus, socket.create_server(("127.0.0.1", 0)) as broker:
        ended = lab.check(
            "--no-identity",
            console=os.ttyname(slave),
            modbus=f"tcp://127.0.0.1:{modbus.getsockname()[1]}",
            broker=f"mqtt://127.0.0.1:{broker.getsockname()[1]}",
        )
        assert ended.returncode == 0, ended.stdout
        for server in (modbus, broker):
            connection, _ = server.accept()
            assert connection.recv(100) == b""
            connection.close()
    os.set_blocking(master, False)
    with pytest.raises(BlockingIOError):
        os.read(master, 100)
    os.close(master)
    os.close(slave)


def test_emulated_devices_need_nothing(tmp_path: Path) -> None:
    ended = check("builtin", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[:3] for line in ended.stdout.splitlines()[2:-1]] == [["device", "meter", "emulated"]]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["none.toml"], 2, "USAGE: there is no bench file none.toml"),
        (["builtin", "--profile", "sideways"], 2, "USAGE: "),
        (["builtin", "--profile", "motor=real"], 3, "BENCH: "),
        (["wrong.toml"], 3, "BENCH: wrong.toml:1:1: "),
    ],
)
def test_what_cannot_be_checked_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "wrong.toml").write_text("[bunch]\n")
    ended = check(*arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(says), ended.stderr
