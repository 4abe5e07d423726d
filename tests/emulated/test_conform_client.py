"""`fieldrig conform modbus-client`: verdicts, exit codes, JUnit; a driver that fails is never the client's fault."""

from __future__ import annotations

import json
import shlex
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from fieldrig import cli

ROOT = Path(__file__).parents[2]
OWN = shlex.join([sys.executable, "-m", "fieldrig.suites.modbus_client.own"])
EXAMPLE = shlex.join([sys.executable, str(ROOT / "examples" / "modbus_client" / "driver.py"), "{url}"])
QUICK = ("--timeout", "250ms")


def conform(driver: str, *arguments: str) -> int:
    return cli.main(["conform", "modbus-client", "--driver", driver, *QUICK, *arguments])


def program(folder: Path, *lines: str) -> str:
    """A driver of these lines of Python; `say(..)` writes an outcome, `ask()` gives the next request."""
    path = folder / "driver.py"
    head = ["import json, sys", "def ask(): return json.loads(sys.stdin.readline())"]
    head += ["def say(**said): print(json.dumps(said), flush=True)"]
    path.write_text("\n".join([*head, *lines]) + "\n", "utf-8")
    return shlex.join([sys.executable, str(path)])


def rows(text: str) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in text.splitlines()]
    return {record["id"]: record for record in records if record["kind"] == "row"}


def test_our_client_passes(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    junit = tmp_path / "junit.xml"
    only = ("--only", "CLI-03", "--only", "CLI-09", "--only", "CLI-16")
    assert conform(OWN, *only, "--junitxml", str(junit)) == 0
    shown = capfd.readouterr().out
    assert "fieldrig at tcp://127.0.0.1:" in shown
    assert "CLI-03   pass" in shown
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    assert len(cases) == 3 and all(case.find("failure") is None for case in cases)


def test_the_client_of_the_example_is_found_out(capfd: pytest.CaptureFixture[str]) -> None:
    only = ("CLI-01", "CLI-03", "CLI-07", "CLI-16", "CLI-18", "CLI-19", "CLI-21")
    code = conform(EXAMPLE, *(word for row in only for word in ("--only", row)), "--format", "json")
    found = rows(capfd.readouterr().out)
    assert {row: found[row]["verdict"] for row in only} == {
        "CLI-01": "pass",
        "CLI-03": "fail",
        "CLI-07": "fail",
        "CLI-16": "pass",
        "CLI-18": "pass",
        "CLI-19": "pass",
        "CLI-21": "pass",
    }
    assert code == 1
    sent = [exchange for exchange in found["CLI-07"]["exchanges"] if exchange["what"] == "sent"]
    assert "protocol" in sent[-1]["dissected"]


def test_a_serial_client_opens_a_pty(capfd: pytest.CaptureFixture[str]) -> None:
    assert conform(OWN, "--carrier", "rtu", "--only", "CLI-25", "--only", "CLI-29") == 0
    assert "fieldrig at rtu://" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["sys.exit('no such port')"], "it said: no such port"),
        (["ask()", "print('hello', flush=True)", "ask()"], "which is no JSON"),
        (["ask()", "say(values=[1], ok=True)", "ask()"], "it has values and ok"),
        (["ask()", "say(error='nonsense')", "ask()"], "error is 'nonsense'"),
        (["ask()", "say(error='refused', text='no route')", "ask()"], "could not open the client: refused: no route"),
    ],
)
def test_a_driver_that_does_not_work_is_a_bench_error(
    lines: list[str], complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert conform(program(tmp_path, *lines)) == 3
    said = capfd.readouterr().err
    assert said.startswith("BENCH: ")
    assert complaint in said


def test_a_client_that_reads_wrong_values_from_a_good_server_is_inconclusive(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = ["while True:", "    if ask()['call'] in ('open', 'close'): say(ok=True)", "    else: say(values=[7, 7])"]
    assert conform(program(tmp_path, *lines)) == 4
    assert capfd.readouterr().err.startswith("INCONCLUSIVE: a plain read of two holding registers ended with 2 values")


def test_a_driver_that_dies_in_a_row_accuses_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [
        "sys.argv[1:] = []",
        "from fieldrig.suites.modbus_client.own import OwnDriver",
        "driver = OwnDriver()",
        "for line in sys.stdin:",
        "    request = json.loads(line)",
        "    if request['call'] == 'write_register': sys.exit('the driver broke')",
        "    say(**driver(request))",
    ]
    code = conform(program(tmp_path, *lines), "--only", "CLI-20", "--format", "json")
    row = rows(capfd.readouterr().out)["CLI-20"]
    assert (code, row["verdict"]) == (4, "inconclusive")
    assert "the driver failed, not the client" in row["says"]
    assert "the driver broke" in row["says"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--carrier", "can"], "--carrier is 'can'"),
        (["--listen", "5020"], "--listen is '5020'"),
        (["--only", "MBAP"], "no requirement begins with 'MBAP'"),
        (["--timeout", "3"], "unit"),
        (["--timeout", "1ms"], "between 50ms and 60s"),
        (["--caps", "none.toml"], "none.toml: No such file"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert conform(OWN, *arguments) == 2
    assert complaint in capfd.readouterr().err


def test_an_unknown_capability_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    caps = tmp_path / "caps.toml"
    caps.write_text("many_cals = true\n", "utf-8")
    assert conform(OWN, "--caps", str(caps)) == 2
    assert "did you mean `many_calls`?" in capfd.readouterr().err
