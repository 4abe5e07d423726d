"""The suite for Modbus/TCP servers against servers nobody here wrote.

What each server does wrong is pinned in expected.toml, and confirmed by hand against the bytes in README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from fieldrig.suites.modbus_server.outcome import requirements
from fieldrig.suites.modbus_server.saboteurs.device import judged_rows

from .foreign import COMMANDS, capabilities_of, running

HERE = Path(__file__).parent
EXPECTED = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
CONFORM = [sys.executable, "-m", "fieldrig", "conform", "modbus-server"]


Reports = dict[str, "Future[Report]"]


@dataclass(frozen=True)
class Report:
    """What `fieldrig conform` said about one server."""

    done: subprocess.CompletedProcess[str]
    junit: Path


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reports]:
    """All servers judged at the same time; most of it is waiting for silence."""
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(judged, name, tmp_path_factory.mktemp(name)) for name in COMMANDS}


def judged(name: str, folder: Path) -> Report:
    """Starts a server and judges it by the command line."""
    junit = folder / "junit.xml"
    with running(COMMANDS[name](folder)) as port:
        command = [*CONFORM, f"tcp://127.0.0.1:{port}", "--unit", "1", "--caps", str(capabilities_of(name))]
        command += ["--timeout", "1s", "--silence", "200ms", "--format", "json", "--junitxml", str(junit)]
        return Report(subprocess.run(command, capture_output=True, text=True, timeout=480), junit)


@pytest.mark.parametrize("name", COMMANDS)
def test_foreign_server_is_judged_as_confirmed_by_hand(name: str, reports: Reports) -> None:
    report = reports[name].result()
    done = report.done
    records = [json.loads(line) for line in done.stdout.splitlines()]
    rows = {record["id"]: record for record in records if record["kind"] == "row"}
    assert list(rows) == judged_rows(), done.stderr
    verdicts = {row: record["verdict"] for row, record in rows.items() if "tcp" in requirements()[row].carriers}
    for row in [row for row in verdicts if requirements()[row].section == "GW"]:
        assert verdicts.pop(row) == "not applicable", "none of them is a gateway"
    expected = pinned(name, verdicts)
    assert verdicts == expected, {row: rows[row]["says"] for row in verdicts if verdicts[row] != expected.get(row)}
    failed = {row for row, verdict in expected.items() if verdict == "fail"}
    assert done.returncode == (1 if failed else 0), done.stderr
    assert failures(report.junit) == failed


def pinned(name: str, seen: dict[str, str]) -> dict[str, str]:
    """The verdicts of expected.toml; where it allows two, the one that was seen if it is one of them."""
    document = EXPECTED[name]
    expected = {row: verdict for verdict, rows in document.items() if verdict != "sometimes" for row in rows}
    allowed = document.get("sometimes", {})
    return expected | {row: verdict for row, verdict in allowed.items() if seen.get(row) == verdict}


def failures(junit: Path) -> set[str]:
    """The requirements of the failed test cases of a JUnit file."""
    return {
        str(property_.get("value"))
        for case in ElementTree.parse(junit).getroot().iter("testcase")
        if case.find("failure") is not None
        for property_ in case.iter("property")
        if property_.get("name") == "requirement"
    }


def test_every_accusation_is_explained() -> None:
    text = (HERE / "README.md").read_text("utf-8")
    for name, verdicts in EXPECTED.items():
        section = text.partition(f"## {name}")[2].partition("\n## ")[0]
        for row in [*verdicts.get("fail", []), *verdicts.get("advice", []), *verdicts.get("sometimes", {})]:
            assert f"**{row}**" in section, f"README.md does not explain why {name} misses {row}"
