"""`fieldrig emulate`: what it prints is what any client can use, and what happens is seen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldrig import modbus, mqtt
from fieldrig.serial import Console

COMMAND = [sys.executable, "-m", "fieldrig", "emulate"]


class Emulation:
    """A running `fieldrig emulate --format json`."""

    def __init__(self, *arguments: str, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments, "--format", "json"],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def next(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """The next line of a kind that has these values; for an event, within it."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            line = json.loads(text)
            if line["kind"] == kind and fields.items() <= (line["event"] if kind == "event" else line).items():
                return dict(line)
        raise AssertionError(f"it ended before it said {kind} {fields}: {self.process.communicate()[1]}")

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ends it; its exit code."""
        self.process.send_signal(how)
        self.process.communicate()
        return self.process.returncode


@pytest.fixture
def builtin() -> Iterator[Emulation]:
    """The demo's meter."""
    emulation = Emulation("builtin", "--for", "60s")
    yield emulation
    emulation.process.kill()
    emulation.process.communicate()


def test_any_client_can_use_what_is_emulated_and_sees_are_shown(builtin: Emulation) -> None:
    at = {line["link"]: line for line in (builtin.next("address") for _ in range(3))}
    assert {link: line["protocol"] for link, line in at.items()} == {
        "modbus": "modbus-rtu",
        "mqtt": "mqtt5",
        "console": "console",
    }
    with modbus.Client(at["modbus"]["url"], unit=at["modbus"]["unit"]) as client:
        client.write_registers(0, [800])
    change = builtin.next("event", kind="device.change")["event"]
    assert (change["fields"]["point"], change["fields"]["to"]) == ("setpoint", 80.0)
    with (
        mqtt.Client(at["mqtt"]["url"], base=at["mqtt"]["base"]) as client,
        client.watch("{base}/telemetry") as telemetry,
    ):
        assert telemetry.expect(within="5s").json()["setpoint"] == 80.0
    message = builtin.next("event", kind="message", protocol="mqtt5", direction="in")["event"]
    assert message["summary"].startswith("PUBLISH")
    with Console(at["console"]["url"]) as console:
        sent = console.send("ver")
        console.expect("fw 1.4", after=sent, within="5s")
    assert builtin.next("event", kind="message", protocol="console")
    assert builtin.end() == 0


def test_a_client_of_an_older_mqtt_version_than_the_link_is_shown_as_it_speaks(builtin: Emulation) -> None:
    at = next(line for line in (builtin.next("address") for _ in range(3)) if line["link"] == "mqtt")
    with mqtt.Client(at["url"], base=at["base"], version="3.1.1") as client, client.watch("{base}/#") as everything:
        everything.expect(within="5s")
        told = [builtin.next("event", kind="message", protocol="mqtt311") for _ in range(4)]
    summaries = [line["event"]["summary"] for line in told]
    # The instants of what goes and what comes may overlap, so that their order is open.
    assert sorted(" ".join(text.split()[:2]) for text in summaries) == [
        "CONNACK 0x00",
        "CONNECT 3.1.1",
        "SUBACK id",
        "SUBSCRIBE id",
    ]


def test_it_ends_by_itself_when_told_so_and_shows_addresses_and_changes() -> None:
    ended = subprocess.run([*COMMAND, "builtin", "--for", "1.5s"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[0].split() == ["device", "link", "protocol", "address"]
    assert re.search(r"meter +modbus +modbus-rtu +serial:///dev/pts/\d+\?line=9600\+8E1 +unit 1$", lines[1])
    assert re.search(r"meter +mqtt +mqtt5 +mqtt://127\.0\.0\.1:\d+ +site/demo/meter$", lines[2])
    assert any(re.fullmatch(r" +0\.\d{3} s  meter: device\.power state=run boots=1", line) for line in lines)
    assert any("PUBLISH" in line for line in lines)


@pytest.mark.parametrize(("show", "seen"), [("changes", True), ("nothing", False)])
def test_what_is_shown_can_be_chosen(show: str, seen: bool) -> None:
    ended = subprocess.run(
        [*COMMAND, "builtin", "--for", "600ms", "--show", show, "--format", "json"], capture_output=True, text=True
    )
    kinds = [line["event"]["kind"] for line in map(json.loads, ended.stdout.splitlines()) if line["kind"] == "event"]
    assert "message" not in kinds
    assert bool(kinds) is seen


SHARED = """\
[bench]
name = "rack"
[link.bus485]
protocol = "modbus-rtu"
line = "115200 8E1"
[dut.one]
model = "meter.toml"
unit = 1
links = { bus485 = "devices" }
[dut.two]
model = "meter.toml"
unit = 2
links = { bus485 = "devices" }
"""

METER = """\
[model]
name = "meter"
[points.voltage]
kind = "float"
access = "read-write"
[face.bus485.map]
voltage = { table = "holding", address = 0, type = "u16" }
"""


def test_a_wire_that_devices_share_is_one_port_for_others(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(SHARED)
    (tmp_path / "meter.toml").write_text(METER)
    emulation = Emulation("bench.toml", "--for", "60s", cwd=tmp_path)
    try:
        one, two = (emulation.next("address", device=name) for name in ("one", "two"))
        assert one["url"] == two["url"] and one["url"].startswith("serial:///dev/pts/")
        assert (one["unit"], two["unit"]) == (1, 2)
        for unit in (2, 1):
            with modbus.Client(one["url"], unit=unit) as client:
                client.write_registers(0, [200 + unit])
                assert client.read_holding(0, 1).values == (200 + unit,)
        for name, value in (("two", 202.0), ("one", 201.0)):
            change = emulation.next("event", kind="device.change")["event"]["fields"]
            assert (change["node"], change["to"]) == (name, value)
        assert emulation.end() == 0
    finally:
        emulation.process.kill()
        emulation.process.communicate()


def test_what_it_saw_can_be_kept(tmp_path: Path) -> None:
    subprocess.run([*COMMAND, "builtin", "--for", "300ms", "--out", str(tmp_path)], check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == {"run.jsonl", "trace.pcapng"}


REAL = """\
[bench]
name = "lab"
profile = "real"
[link.modbus]
protocol = "modbus-tcp"
real = { port = "tcp://192.0.2.7:502" }
[dut.meter]
unit = 1
links = { modbus = "devices" }
"""

VIRTUAL = SHARED.replace('name = "rack"', 'name = "rack"\nclock = "virtual"')


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["none.toml"], 2, "USAGE: there is no bench file none.toml"),
        (["bench.toml"], 2, "USAGE: the bench lab has no device that can be emulated"),
        (["virtual.toml"], 2, "USAGE: the bench rack is on virtual time"),
        (["builtin", "--for", "5"], 2, "USAGE: "),
        (["wrong.toml"], 3, "BENCH: wrong.toml:1:1: "),
    ],
)
def test_what_cannot_be_emulated_is_said(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    (tmp_path / "bench.toml").write_text(REAL)
    (tmp_path / "virtual.toml").write_text(VIRTUAL)
    (tmp_path / "meter.toml").write_text(METER)
    (tmp_path / "wrong.toml").write_text("[bunch]\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDRIG")}
    ended = subprocess.run([*COMMAND, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(says), ended.stderr
