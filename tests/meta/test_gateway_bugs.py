"""The gateway suite finds each seeded bug, blames the gateway, and finds nothing in the good one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from fieldrig.demo.gateway import broken
from fieldrig.suites.gateway import FOLDER

DECLARED: dict[str, dict[str, list[str]]] = tomllib.loads((FOLDER / "bugs.toml").read_text())
REQUIREMENTS = set(tomllib.loads((FOLDER / "requirements.toml").read_text()))
RUNS = int(os.environ.get("FIELDRIG_GATEWAY_RUNS", "3"))
"""How often the good gateway is judged."""


def judge(out: Path, bug: str | None) -> tuple[int, list[tuple[set[str], str, str]]]:
    """Runs the demo; gives its exit code and for each test its requirements, verdict and failure text."""
    command = [str(Path(sys.executable).with_name("fieldrig")), "demo", "gateway", "--out", str(out)]
    command += ["--bug", bug] if bug else []
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (out / "junit.xml").exists(), done.stdout + done.stderr
    cases = []
    for case in ET.parse(out / "junit.xml").iter("testcase"):
        properties = [(found.get("name"), found.get("value") or "") for found in case.iter("property")]
        requirements = {value for name, value in properties if name == "requirement"}
        verdict = next((value for name, value in properties if name == "verdict"), "none")
        failure = next((found for found in case if found.tag in ("failure", "error")), None)
        cases.append((requirements, verdict, "" if failure is None else failure.text or ""))
    return done.returncode, cases


@pytest.mark.parametrize("number", range(RUNS))
def test_the_good_gateway_passes_every_row(tmp_path: Path, number: int) -> None:
    code, cases = judge(tmp_path, None)
    assert [(requirements, text) for requirements, verdict, text in cases if verdict != "pass"] == []
    assert set().union(*(requirements for requirements, _, _ in cases)) == REQUIREMENTS
    assert code == 0


@pytest.mark.parametrize("bug", broken())
def test_the_suite_finds_the_bug_and_blames_the_gateway(tmp_path: Path, bug: str) -> None:
    code, cases = judge(tmp_path, bug)
    fallen: set[str] = set()
    for requirements, verdict, text in cases:
        assert verdict in ("pass", "fail"), f"{requirements}: {verdict}: {text}"
        if verdict == "fail":
            assert text.startswith("DUT:"), text
            fallen |= requirements
    assert sorted(fallen) == sorted(DECLARED[bug]["fails"])
    assert code == 1


def test_every_bug_is_declared_and_every_requirement_has_a_bug() -> None:
    assert sorted(DECLARED) == sorted(broken())
    assert set().union(*(entry["fails"] for entry in DECLARED.values())) == REQUIREMENTS
