"""The suite for Modbus clients against clients nobody here wrote.

What each client does wrong is pinned in clients.toml, and confirmed by hand against the bytes in README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fieldrig.suites.modbus_client.outcome import requirements

from .clients import CARRIERS, TLS_ALONE, command

HERE = Path(__file__).parent
EXPECTED = tomllib.loads((HERE / "clients.toml").read_text("utf-8"))
CONFORM = [sys.executable, "-m", "fieldrig", "conform", "modbus-client"]
RUNS = [(name, carrier) for name, carriers in CARRIERS.items() for carrier in carriers]
AT_A_TIME = 4
TRIES = 3
UNDECIDED = {"inconclusive", "not tested"}

Rows = dict[str, dict[str, Any]]
Reports = dict[tuple[str, str], "Future[Rows]"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reports]:
    """All clients judged, some at the same time; most of it is waiting for time-outs."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {run: pool.submit(judged, *run, tmp_path_factory.mktemp("driver")) for run in RUNS}


def judged(name: str, carrier: str, folder: Path) -> Rows:
    """Judges a client by the command line; what this machine was too busy for, again."""
    driver = command(name, folder)
    rows = run(driver, carrier, ["SEC"] if name in TLS_ALONE else [])
    for _ in range(TRIES):
        undecided = [row for row, found in rows.items() if found["verdict"] in UNDECIDED]
        rows |= run(driver, carrier, undecided) if undecided else {}
    return rows


def run(driver: str, carrier: str, only: list[str]) -> Rows:
    """The judged rows of one run, whose exit code is what they make it."""
    options = ["--driver", driver, "--carrier", carrier, "--timeout", "300ms", "--format", "json"]
    options += [word for row in only for word in ("--only", row)]
    done = subprocess.run([*CONFORM, *options], capture_output=True, text=True, timeout=300)
    rows = {row["id"]: row for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "row"}
    verdicts = {row["verdict"] for row in rows.values()}
    assert list(rows) == [row for row in requirements() if row.startswith(tuple(only) or "")], done.stderr
    assert done.returncode == (1 if "fail" in verdicts else 4 if verdicts & UNDECIDED else 0), done.stderr
    return rows


@pytest.mark.parametrize(("name", "carrier"), RUNS)
def test_foreign_client_is_judged_as_confirmed_by_hand(name: str, carrier: str, reports: Reports) -> None:
    rows = reports[name, carrier].result()
    for_it = {row for row in rows if carrier in requirements()[row].carriers}
    verdicts = {row: rows[row]["verdict"] for row in for_it}
    expected = pinned(EXPECTED[name][carrier], for_it)
    wrong = {row: (verdicts[row], rows[row]["says"]) for row in sorted(for_it) if verdicts[row] != expected[row]}
    assert not wrong
    assert {rows[row]["verdict"] for row in rows if row not in for_it} <= {"not applicable"}


def pinned(document: dict[str, Any], rows: set[str]) -> dict[str, str]:
    """The verdicts of clients.toml; what is not named there passes."""
    named = {row: verdict for verdict, listed in document.items() for row in listed}
    assert named.keys() <= rows
    return {row: named.get(row, "pass") for row in rows}


def test_every_accusation_of_a_client_is_explained() -> None:
    text = (HERE / "README.md").read_text("utf-8").partition("# Foreign clients")[2]
    for name, carriers in EXPECTED.items():
        section = text.partition(f"## {name}, the client\n")[2].partition("\n## ")[0]
        for verdicts in carriers.values():
            for row in [*verdicts.get("fail", []), *verdicts.get("advice", [])]:
                assert f"**{row}**" in section, f"README.md does not explain why {name} misses {row}"
