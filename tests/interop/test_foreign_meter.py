"""One test file, two profiles: emulated by fieldrig, and a process that contains no fieldrig code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import mqtt

TESTS = Path(__file__).parents[1]
FIRST_LIGHT = TESTS.parent / "examples" / "first_light"
METER = TESTS / "peers" / "foreign_meter.py"
POWER = TESTS / "peers" / "power.sh"


@pytest.fixture
def foreign_meter(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The foreign meter, running: its folder, and the URL of the broker it reports to."""
    with mqtt.Broker() as broker:
        found = re.fullmatch(r"mqtt://(.+):(\d+)", broker.url)
        assert found
        command = [sys.executable, str(METER), str(tmp_path), found[1], found[2], "site/meter"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout and process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
            yield tmp_path, broker.url
        finally:
            process.terminate()
            process.communicate(timeout=10)


def write_bench(folder: Path, broker: str) -> Path:
    """The bench of the first-light test, with the ports of the foreign meter as the profile `real`."""
    text = (FIRST_LIGHT / "bench.toml").read_text()
    ports = {
        "modbus": f'real = {{ port = "{folder}/modbus", belongs_to = "bench" }}',
        "mqtt": f'real = {{ broker = "{broker}" }}',
        "console": f'real = {{ port = "{folder}/console", belongs_to = "dut" }}',
    }
    for link, real in ports.items():
        text = text.replace(f"[link.{link}]\n", f"[link.{link}]\n{real}\n")
    text += f'power = {{ command = "{POWER} {{action}} {folder}/pid", settle = "100ms" }}\n'
    shutil.copy(FIRST_LIGHT / "meter.toml", folder)
    bench = folder / "bench.toml"
    bench.write_text(text)
    return bench


@pytest.mark.parametrize("profile", ["emulated", "real"])
def test_the_first_light_test_passes_unchanged(foreign_meter: tuple[Path, str], profile: str) -> None:
    folder, broker = foreign_meter
    bench = write_bench(folder, broker)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FIRST_LIGHT / "test_first_light.py")]
    command += ["--bench", str(bench), "--profile", profile, "--fieldrig-out", str(folder / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"meter={profile}" in ended.stdout
    assert re.search(r"\b4 passed", ended.stdout), ended.stdout
