"""The suite for Modbus servers against servers on serial lines that nobody here wrote.

What each of them does wrong is pinned in expected_serial.toml, and confirmed by hand against the bytes in README.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .serial_servers import CAPABILITIES, EXPECTED, HERE, JUDGED, Judgement, command, rows_of, running

Judgements = dict[tuple[str, str], Judgement]


@pytest.fixture(scope="module")
def judgements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judgements]:
    """All servers judged at the same time; most of it is waiting for silence."""
    with ThreadPoolExecutor(64) as pool:  # they mostly wait
        begun = {
            (name, transport): Judgement(name, transport, tmp_path_factory.mktemp(name)) for name, transport in JUDGED
        }
        for judgement in begun.values():
            judgement.begin(pool)
        yield begun


@pytest.mark.parametrize(("name", "transport"), JUDGED)
def test_foreign_serial_server_is_judged_as_confirmed_by_hand(
    name: str, transport: str, judgements: Judgements
) -> None:
    found = judgements[name, transport].rows()
    assert set(found) == set(rows_of(name, transport))
    verdicts = {row: str(found[row].verdict) for row in rows_of(name, transport)}
    expected = pinned(name, transport, verdicts)
    assert verdicts == expected, {row: found[row].says for row in verdicts if verdicts[row] != expected.get(row)}


def pinned(name: str, transport: str, seen: dict[str, str]) -> dict[str, str]:
    """The verdicts of expected_serial.toml; where it allows two, the one that was seen if it is one of them."""
    document = EXPECTED[name][transport]
    lists = {verdict: rows for verdict, rows in document.items() if verdict not in ("rows", "resolution", "sometimes")}
    expected = {row: verdict for verdict, rows in lists.items() for row in rows}
    allowed = document.get("sometimes", {})
    return expected | {row: verdict for row, verdict in allowed.items() if seen.get(row) == verdict}


def test_command_line_judges_a_server_on_a_serial_port(tmp_path_factory: pytest.TempPathFactory) -> None:
    start = command("modbus_tk", "rtu", tmp_path_factory.mktemp("modbus_tk"))
    with running(start, "rtu") as url:
        line = [sys.executable, "-m", "fieldrig", "conform", "modbus-server", url, "--unit", "1", "--format", "json"]
        line += ["--caps", str(CAPABILITIES), "--silence", "200ms"]
        line += [word for row in ("RTU-01", "RTU-09", "RTU-19") for word in ("--only", row)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    rows = [record for record in map(json.loads, done.stdout.splitlines()) if record["kind"] == "row"]
    seen = {row["id"]: row["verdict"] for row in rows if row["id"] in ("RTU-01", "RTU-09", "RTU-19")}
    assert seen == {"RTU-01": "pass", "RTU-09": "not run", "RTU-19": "fail"}, done.stderr
    assert done.returncode == 1, done.stderr


def test_every_accusation_is_explained() -> None:
    text = (HERE / "README.md").read_text("utf-8")
    for name, transport in JUDGED:
        verdicts = EXPECTED[name][transport]
        section = text.partition(f"## {name}, {transport}\n")[2].partition("\n## ")[0].partition("\n# ")[0]
        accusations = [row for verdict in ("fail", "advice", "inconclusive") for row in verdicts.get(verdict, [])]
        for row in [*accusations, *verdicts.get("sometimes", {})]:
            assert f"**{row}**" in section, f"README.md does not explain why {name} on {transport} misses {row}"
