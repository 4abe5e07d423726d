"""`fieldrig ports`: the table that it makes of what the core found."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest

from fieldrig import _core, cli
from fieldrig.cli import ports


def port(path: str, name: str | None = None, interface: str | None = None, *held_by: str) -> SimpleNamespace:
    return SimpleNamespace(
        path=path,
        kind="usb" if name else "uart",
        name=name,
        interface=interface,
        words="FTDI FT4232H" if name else "",
        by_id=f"/dev/serial/by-id/{name}" if name else None,
        location="1-4.2" if name else None,
        latency_timer=16 if name else None,
        rx_trigger=None if name else 8,
        held_by=list(held_by),
    )


FOUND = (
    port("/dev/ttyS0"),
    port("/dev/ttyUSB0", "usb:0403:6011:FT1", "00", "pytest (pid 4711) for bench `rack2`"),
    port("/dev/ttyUSB1", "usb:0403:6011:FT1", "01"),
    port("/dev/ttyUSB2", "usb:10c4:ea60:0042", "00"),
)


@pytest.fixture
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four ports, two of them on one adapter."""
    monkeypatch.setattr(ports, "_core", SimpleNamespace(ports=lambda: FOUND))
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.mark.usefixtures("plugged_in")
def test_the_table_names_ports_and_who_has_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ports"]) == 0
    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:]] == ["/dev/ttyS0", "/dev/ttyUSB0", "/dev/ttyUSB1", "/dev/ttyUSB2"]
    assert lines[1][1].split() == ["uart"] and lines[1][2].split() == ["8", "bytes", "free"]
    assert " 16 ms " in lines[2][2], "for so long it collects bytes"
    assert "usb:0403:6011:FT1:if00" in lines[2][2] and "pytest (pid 4711) for bench `rack2`" in lines[2][2]
    assert "usb:0403:6011:FT1:if01" in lines[3][2] and lines[3][2].endswith("free")
    assert "usb:10c4:ea60:0042 " in lines[4][2]


@pytest.mark.usefixtures("plugged_in")
def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ports", "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 4
    assert lines[2] == {
        "kind": "port",
        "path": "/dev/ttyUSB1",
        "type": "usb",
        "name": "usb:0403:6011:FT1:if01",
        "words": "FTDI FT4232H",
        "by_id": "/dev/serial/by-id/usb:0403:6011:FT1",
        "location": "1-4.2",
        "latency_timer": 16,
        "rx_trigger": None,
        "held_by": [],
    }


def test_a_machine_without_ports_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ports, "_core", SimpleNamespace(ports=tuple))
    assert cli.main(["ports"]) == 0
    assert capsys.readouterr().out == "no serial port is plugged in or built in\n"


def test_what_this_machine_has_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ports", "--format", "json"]) == 0
    listed = [json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()]
    assert listed == [port.path for port in _core.ports()]


@pytest.mark.usefixtures("plugged_in")
def test_who_cannot_see_all_processes_is_not_told_that_a_port_is_free(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "access", lambda path, mode: path != "/dev/ttyUSB1")
    assert cli.main(["ports"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("  nobody that you may see")
    assert lines[2].endswith("pytest (pid 4711) for bench `rack2`")
    assert lines[3].endswith("nobody that you may see; you may not open it")
