"""Drives an emulated meter and judges a foreign Modbus server.

Example: fieldrig demo --out results

Everything is emulated or started here: nothing is needed, no address outside this machine is used. The exit code is
that of the meter's suite; what the conformance suite finds in the foreign server is shown, and is the server's affair.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Sequence
from pathlib import Path

from fieldrig.report import Chapter, known_value, limits, render

from .exits import Exit
from .output import Output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: a new one)")


def run(options: argparse.Namespace, output: Output) -> int:
    """Runs both halves and says what came of them."""
    from fieldrig.demo import FOLDER, stages

    began = time.monotonic()
    out: Path = options.out or _new_folder()
    out.mkdir(parents=True, exist_ok=True)
    output.say(output.style("1. An emulated energy meter, on a serial line, MQTT and a console", "title"))
    output.say(f"   bench, model and tests: {FOLDER}")
    meter, code = stages.run_meter(out, output)
    output.say()
    output.say(
        output.style("2. A Modbus server made with pymodbus, judged by `fieldrig conform modbus-server`", "title")
    )
    foreign = stages.judge_foreign(out / "conform", output)
    report = out / "report.html"
    report.write_text(render([meter, foreign], "fieldrig demo"), encoding="utf-8")
    _close([meter, foreign], report, output)
    output.say(f"\nmeter: exit code {code} ({Exit(code).name.lower()}), after {time.monotonic() - began:.1f} s")
    return code


def _close(chapters: Sequence[Chapter], report: Path, output: Output) -> None:
    meter = chapters[0]
    output.say()
    output.say(output.style("Tests", "title"))
    output.table([(entry.name, entry.verdict) for entry in meter.entries], ["test", "verdict"], 1)
    output.say(output.style("Measurements", "title"))
    taken = [measurement for entry in meter.entries for measurement in entry.measurements]
    rows = [(one.name, known_value(one), limits(one), one.verdict) for one in taken]
    output.table(rows, ["measurement", "value", "limit", "verdict"], 3)
    output.say(output.style("Verdicts", "title"))
    counted = [
        (chapter.title, verdict, str(count)) for chapter in chapters for verdict, count in chapter.counts().items()
    ]
    output.table(counted, ["run", "verdict", "count"], 1)
    output.say(output.style("Files", "title"))
    files = [(chapter.title, kind, path) for chapter in chapters for kind, path in chapter.files.items()]
    output.table([("both", "report", str(report)), *files], ["run", "kind", "path"])
    output.record(
        "demo",
        report=str(report),
        files=[{"run": chapter.title, **chapter.files} for chapter in chapters],
        counts={chapter.title: chapter.counts() for chapter in chapters},
    )


def _new_folder() -> Path:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("fieldrig-runs") / f"demo-{now}"
