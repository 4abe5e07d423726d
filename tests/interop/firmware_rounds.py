"""Runs the suite of examples/firmware against its firmware in QEMU, again and again, while the host is busy.

``python -m tests.interop.firmware_rounds --rounds 50 --busy 2`` (``make firmware-rounds``) ends with 0 if every round
was green. What a busy host spoiled is inconclusive and run again, at most `AGAIN` times; it is counted, never hidden.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FIRMWARE = Path(__file__).parents[2] / "examples" / "firmware"
AGAIN = 5
"""So often a test may be run again in a round."""


@dataclass
class Round:
    """What one run of the suite came to."""

    code: int
    passed: int = 0
    red: list[str] = field(default_factory=list)
    again: Counter[str] = field(default_factory=Counter)
    not_run: int = 0
    output: str = ""


def run(out: Path, *arguments: str) -> Round:
    """Runs the suite once, in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FIELDRIG"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    command += ["--bench", "bench.toml", f"--fieldrig-retry-inconclusive={AGAIN}", f"--fieldrig-out={out}"]
    command += [f"--junitxml={out / 'junit.xml'}", *arguments]
    ended = subprocess.run(command, cwd=FIRMWARE, env=environment, capture_output=True, text=True)
    found = Round(ended.returncode, output=ended.stdout + ended.stderr)
    if (out / "junit.xml").exists():
        for case in ElementTree.parse(out / "junit.xml").iter("testcase"):
            _add(found, case)
    return found


def _add(found: Round, case: ElementTree.Element) -> None:
    name = case.get("name") or ""
    red = case.find("failure") if case.find("failure") is not None else case.find("error")
    skipped = case.find("skipped")
    if red is not None:
        found.red.append(f"{name}: {(red.get('message') or red.text or '').strip().partition(chr(10))[0]}")
    elif skipped is None:
        found.passed += 1
    elif "run again" in (skipped.get("message") or ""):
        found.again[name] += 1
    else:
        found.not_run += 1


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that never rest, one on each CPU in turn."""
    cpus = sorted(os.sched_getaffinity(0))
    children = []
    try:
        for number in range(processes):
            child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            children.append(child)
            os.sched_setaffinity(child.pid, {cpus[number % len(cpus)]})
        yield
    finally:
        for child in children:
            child.kill()
            child.wait()


def main() -> int:
    """The rounds, with one line each and a sum."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.firmware_rounds", description="See the module.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--busy", type=int, default=len(os.sched_getaffinity(0)), help="processes that never rest")
    parser.add_argument("--profile", default="real", choices=["real", "emulated"])
    options = parser.parse_args()
    again: Counter[str] = Counter()
    green = passed = 0
    with tempfile.TemporaryDirectory() as folder, busy(options.busy):
        for number in range(1, options.rounds + 1):
            found = run(Path(folder) / str(number), "--profile", options.profile)
            green += found.code == 0
            passed += found.passed
            again.update(found.again)
            spoiled = f", inconclusive and run again: {found.again.total()}" if found.again else ""
            print(
                f"round {number}: {'green' if found.code == 0 else 'RED'}: {found.passed} passed{spoiled}", flush=True
            )
            for line in found.red or ([] if found.code == 0 else found.output.splitlines()[-15:]):
                print(f"  {line}", flush=True)
    print(f"{green} of {options.rounds} rounds green; {passed} tests passed; {again.total()} attempts inconclusive")
    for name, times in again.most_common():
        print(f"  {times} x {name}")
    return 0 if green == options.rounds else 1


if __name__ == "__main__":
    sys.exit(main())
