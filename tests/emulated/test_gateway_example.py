"""The gateway example, on virtual time: it passes, gives the same figures each time, and finds a starving gateway."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "gateway"


def run(out: Path, gateway: str = "gateway.py:Gateway") -> tuple[int, list[tuple[str, str, list[tuple[str, str]]]]]:
    """Runs the example; gives the exit code, and for each test its name, failure text and properties."""
    command = [sys.executable, "-m", "pytest", "-q", "--bench", "builtin:gateway", "-p", "no:cacheprovider"]
    command += ["--fieldrig-out", str(out), f"--junitxml={out / 'junit.xml'}", str(EXAMPLE)]
    environment = {**os.environ, "FIELDRIG_GATEWAY": gateway}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert (out / "junit.xml").exists(), done.stdout + done.stderr
    found = []
    for case in ET.parse(out / "junit.xml").iter("testcase"):
        failure = next(iter(case.iter("failure")), None)
        properties = [(one.get("name") or "", one.get("value") or "") for one in case.iter("property")]
        found.append((case.get("name") or "", "" if failure is None else failure.text or "", properties))
    return done.returncode, found


def test_it_passes_with_the_same_figures_each_time(tmp_path: Path) -> None:
    code, first = run(tmp_path / "one")
    assert (code, len(first)) == (0, 3), first
    assert [name for name, _ in first[0][2] if "forward_latency" in name]
    assert run(tmp_path / "two") == (code, first)


def test_a_starving_gateway_is_blamed(tmp_path: Path) -> None:
    code, cases = run(tmp_path, "bugs.py:Starves")
    assert code == 1
    assert [text.split(":")[0] for _, text, _ in cases] == ["DUT"] * 3
