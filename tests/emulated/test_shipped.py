"""What people copy works: the README's first test, the example bench, the demo's suite."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snippets import run_pytest

ROOT = Path(__file__).parents[2]


def test_the_first_test_of_the_readme_passes(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(# test_meter\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "test_meter.py").write_text(code)
    ended = run_pytest(tmp_path, "--bench", "builtin", "test_meter.py")
    assert ended.returncode == 0, ended.stdout
    assert "meter=emulated" in ended.stdout


@pytest.mark.parametrize("example", sorted({path.parent.name for path in (ROOT / "examples").glob("*/test_*.py")}))
def test_an_example_passes(example: str, tmp_path: Path) -> None:
    folder = ROOT / "examples" / example
    bench = "bench.toml" if (folder / "bench.toml").exists() else f"builtin:{example}"
    ended = run_pytest(folder, "--bench", bench, "--fieldrig-out", str(tmp_path))
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(("row", "code"), [("CLI-01", 0), ("CLI-03", 1)])
def test_the_example_of_a_driver_drives_a_client_that_forgets_to_look_at_ids(row: str, code: int) -> None:
    driver = ROOT / "examples/modbus_client/driver.py"
    command = [sys.executable, "-m", "fieldrig", "conform", "modbus-client", "--only", row, "--driver"]
    ended = subprocess.run([*command, f"{sys.executable} {driver} {{url}}"], capture_output=True, text=True)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert row in ended.stdout


def test_the_snippet_of_the_docs_runs() -> None:
    [code] = re.findall(
        r"```python\n(from fieldrig import modbus\n.*?)```", (ROOT / "docs/writing-tests.md").read_text(), re.S
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_bench_of_the_docs_is_the_example() -> None:
    text = (ROOT / "docs" / "writing-tests.md").read_text()
    example = (ROOT / "examples" / "thermostat" / "bench.toml").read_text()
    [shown] = re.findall(r"```toml\n# bench\.toml\n(.*?)```", text, re.DOTALL)
    assert shown.strip() == example.partition("\n")[2].strip()
