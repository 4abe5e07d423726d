"""Drives an emulated meter and judges a foreign Modbus server; or judges an emulated gateway (`demo gateway`).

Example: fieldrig demo --out results

Everything is emulated or started here: nothing is needed, no address outside this machine is used. The exit code is
that of the suite; what the conformance suite finds in the foreign server is shown, and is the server's affair.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Sequence
from pathlib import Path

from fieldrig.errors import BenchError, UsageError
from fieldrig.report import Chapter, known_value, limits, render

from .exits import Exit
from .output import Output


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("what", nargs="?", choices=("meter", "gateway"), default="meter", help="default: meter")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results (default: a new one)")
    parser.add_argument("--bug", metavar="NAME", help="gateway only: one that is broken on purpose; `list` lists them")


def run(options: argparse.Namespace, output: Output) -> int:
    """Runs the demo and says what came of it."""
    if options.what == "gateway":
        return _gateway(options, output)
    if options.bug is not None:
        raise UsageError("--bug is for `fieldrig demo gateway`")
    return _meter(options, output)


def _meter(options: argparse.Namespace, output: Output) -> int:
    from fieldrig.demo import FOLDER, stages

    began = time.monotonic()
    out = _folder(options)
    output.say(output.style("1. An emulated energy meter, on a serial line, MQTT and a console", "title"))
    output.say(f"   bench, model and tests: {FOLDER}")
    meter, code = stages.run_meter(out, output)
    output.say()
    output.say(
        output.style("2. A Modbus server made with pymodbus, judged by `fieldrig conform modbus-server`", "title")
    )
    foreign = stages.judge_foreign(out / "conform", output)
    _close([meter, foreign], out, output)
    output.say(f"\nmeter: exit code {code} ({Exit(code).name.lower()}), after {time.monotonic() - began:.1f} s")
    return code


def _gateway(options: argparse.Namespace, output: Output) -> int:
    from fieldrig.demo import gateway, stages

    bugs = gateway.broken()
    if options.bug == "list":
        output.table(list(bugs.items()), ["bug", "what is wrong"])
        return Exit.PASS
    if options.bug is not None and options.bug not in bugs:
        raise UsageError(f"there is no bug {options.bug!r}", hint=f"there are: {', '.join(bugs)}")
    began = time.monotonic()
    out = _folder(options)
    title = "An emulated gateway: it polls three meters over RS-485 and publishes over MQTT, on virtual time"
    output.say(output.style(title, "title"))
    output.say(f"   bench and models: {gateway.FOLDER}")
    if options.bug is not None:
        output.say(f"   broken on purpose: {options.bug}: {bugs[options.bug]}")
    with gateway.chosen(options.bug):
        chapter, code = stages.run_gateway(out, output)
    _close([chapter], out, output)
    output.say(f"\ngateway: exit code {code} ({Exit(code).name.lower()}), after {time.monotonic() - began:.1f} s")
    return code


def _folder(options: argparse.Namespace) -> Path:
    out: Path = options.out or _new_folder()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{out} cannot be made: {error.strerror}", hint="--out DIR names another folder") from None
    return out


def _close(chapters: Sequence[Chapter], out: Path, output: Output) -> None:
    """Writes the report, and tables of what came of it all."""
    report = out / "report.html"
    report.write_text(render(chapters, "fieldrig demo"), encoding="utf-8")
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
    output.table([("all", "report", str(report)), *files], ["run", "kind", "path"])
    output.record(
        "demo",
        report=str(report),
        files=[{"run": chapter.title, **chapter.files} for chapter in chapters],
        counts={chapter.title: chapter.counts() for chapter in chapters},
    )


def _new_folder() -> Path:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("fieldrig-runs") / f"demo-{now}"
