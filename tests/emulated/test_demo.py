"""`fieldrig demo` as a user runs it, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.needs import program


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    """The folder of one run and its JSON lines."""
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "fieldrig", "demo", "--format", "json", "--out", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out, [json.loads(line) for line in ended.stdout.splitlines()]


def test_the_meter_passes_every_test_of_its_suite(demo: tuple[Path, list[dict[str, object]]]) -> None:
    verdicts = [line["verdict"] for line in demo[1] if line["kind"] == "test"]
    assert verdicts == ["pass"] * 7


def test_every_requirement_of_the_foreign_server_has_a_row(demo: tuple[Path, list[dict[str, object]]]) -> None:
    rows = {line["id"]: line["verdict"] for line in demo[1] if line["kind"] == "row"}
    assert len(rows) >= 40
    assert rows["MBAP-01"] == "pass"


def test_junit_names_tests_measurements_and_requirements(demo: tuple[Path, list[dict[str, object]]]) -> None:
    suite = ElementTree.parse(demo[0] / "junit.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 7
    properties = {(each.get("name"), each.get("value")) for each in suite.iter("property")}
    assert ("requirement", "METER-ALARM") in properties
    assert ("m.alarm_latency.high", "0.5") in properties


def test_the_report_names_every_file_that_is_there(demo: tuple[Path, list[dict[str, object]]]) -> None:
    report = (demo[0] / "report.html").read_text(encoding="utf-8")
    [last] = [line for line in demo[1] if line["kind"] == "demo"]
    files = [path for run in last["files"] for kind, path in run.items() if kind != "run"]  # type: ignore[attr-defined]
    assert len(files) == 8
    assert all(Path(path).is_file() and path in report for path in files)
    assert "alarm_latency" in report and "max 500 ms" in report and "meter = emulated" in report


def test_the_trace_is_dissected_without_settings(demo: tuple[Path, list[dict[str, object]]]) -> None:
    tshark = program("tshark")
    for trace, protocol in ((demo[0] / "trace.pcapng", "mqtt"), (demo[0] / "conform" / "trace.pcapng", "mbtcp")):
        shown = subprocess.run([tshark, "-r", trace, "-q", "-z", "io,phs"], capture_output=True, text=True, check=True)
        assert protocol in shown.stdout


def test_the_trace_as_text_has_the_same_messages(demo: tuple[Path, list[dict[str, object]]]) -> None:
    lines = [json.loads(line) for line in (demo[0] / "trace.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {"mqtt5", "modbus-rtu", "console"} <= {line["protocol"] for line in lines}
    assert any("OVERTEMP" in bytes.fromhex(line["hex"]).decode("latin-1") for line in lines)
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
