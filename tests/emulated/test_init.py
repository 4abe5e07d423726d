"""`fieldrig init` and the newcomer's walk of the README: what they lead to runs as it is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = {".gitignore", "bench.toml", "pump.toml", "pytest.ini", "test_pump.py"}
CI = {"github": ".github/workflows/fieldrig.yml", "gitlab": ".gitlab-ci.yml", "jenkins": "Jenkinsfile"}


def environment(**more: str) -> dict[str, str]:
    """That of a newcomer: no options of an outer pytest, the programs of the virtual environment first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FIELDRIG"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **more}


def fieldrig(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`fieldrig` as a user runs it in a folder."""
    command = [sys.executable, "-m", "fieldrig", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True)


def files(folder: Path) -> set[str]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_walk_of_the_readme_leads_to_an_own_test_in_15_lines(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().partition("## A bench and a test of your own\n")[2].partition("\n## ")[0]
    prepare, walk = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert "make build" in prepare and "activate" in prepare  # `environment` stands for it
    lines = [line for line in (prepare + walk).splitlines() if line.strip()]
    assert len(lines) <= 15
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", walk], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.findall(r"(\d+) passed", ended.stdout) == ["3", "1"]
    assert "boiler=emulated: 1 pass" in ended.stdout


def test_what_init_writes_runs_green_and_says_so(tmp_path: Path) -> None:
    ended = fieldrig("init", "rig", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert files(tmp_path / "rig") == FILES
    assert ended.stdout.endswith("Next: cd rig && pytest\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=tmp_path / "rig", env=environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout
    assert "pump=emulated: 3 pass" in ran.stdout


def test_the_name_of_the_device_stands_everywhere(tmp_path: Path) -> None:
    assert fieldrig("init", "--device", "boiler", cwd=tmp_path).returncode == 0
    assert "boiler.toml" in files(tmp_path) and "test_boiler.py" in files(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and "pump" in path.read_text()]


@pytest.mark.parametrize("system", CI)
def test_a_ci_job_runs_the_tests_and_keeps_what_they_leave(system: str, tmp_path: Path) -> None:
    assert fieldrig("init", "--ci", system, cwd=tmp_path).returncode == 0
    assert files(tmp_path) == FILES | {CI[system]}
    text = (tmp_path / CI[system]).read_text()
    if system != "jenkins":
        assert yaml.safe_load(text)
    [call] = re.findall(r"-m (pytest [^'\n]*)", text)
    ran = subprocess.run(
        [sys.executable, "-m", *shlex.split(call)], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 3
    assert {"fieldrig-runs/ci/run.jsonl", "fieldrig-runs/ci/trace.pcapng"} <= files(tmp_path)
    assert "junit.xml" in text and "fieldrig-runs/" in text.replace(call, "")


def test_nothing_is_overwritten_and_then_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ended = fieldrig("init", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("USAGE: pytest.ini is there already; nothing was written\n")
    assert files(tmp_path) == {"pytest.ini"}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My Device", "is a fixture of the tests"),
        ("request", "taken by Python or pytest"),
        ("class", "taken by Python or pytest"),
        ("speed", "use this word for something else"),
    ],
)
def test_a_name_that_cannot_be_a_fixture_is_refused(name: str, says: str, tmp_path: Path) -> None:
    ended = fieldrig("init", "--device", name, cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"USAGE: --device '{name}': ") and says in ended.stderr and "hint:" in ended.stderr
    assert files(tmp_path) == set()


def test_a_folder_that_cannot_be_made_is_a_bench_error(tmp_path: Path) -> None:
    (tmp_path / "rig").write_text("a file")
    ended = fieldrig("init", "rig", cwd=tmp_path)
    assert ended.returncode == 3
    assert ended.stderr.startswith("BENCH: rig/bench.toml cannot be written: ")
