"""The two halves of the demo. Each tells a display what happens and gives a chapter for the report."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fieldrig import _core, own_pytest
from fieldrig.errors import BenchError
from fieldrig.pytest_plugin import results
from fieldrig.report import Chapter, Entry, chapter_of, known_value, limits

from . import SUITE, builtin_bench

if TYPE_CHECKING:
    from fieldrig.cli.output import Output


# The server is on this machine and answers within a millisecond: short waits, each repeated with three times the time.
ANSWER, SILENCE = "300ms", "80ms"
_FILES = {
    "junit": "junit.xml",
    "log": "run.jsonl",
    "trace": "trace.pcapng",
    "what the server said": "server.log",
}


def run_meter(out: Path, output: Output) -> tuple[Chapter, int]:
    """Runs the shipped suite on the built-in bench; gives its chapter and its exit code.

    Args:
        out: the folder for run log, trace and junit.xml.
        output: who is told about progress.

    Raises:
        BenchError: the suite could not be run.
    """
    return _run_suite(SUITE, str(builtin_bench()), "the demo's energy meter", out, output)


def run_gateway(out: Path, output: Output) -> tuple[Chapter, int]:
    """Runs the shipped gateway suite on the gateway that the environment chooses; gives its chapter and its exit code.

    Raises:
        BenchError: the suite could not be run.
    """
    from fieldrig.suites.gateway import FOLDER as suite
    from fieldrig.suites.gateway import conftest

    return _run_suite(suite, "builtin:gateway", "the demo's gateway", out, output, [conftest])


def _run_suite(
    suite: Path, bench: str, title: str, out: Path, output: Output, plugins: Sequence[object] = ()
) -> tuple[Chapter, int]:
    listener = _Listener(output)
    junit = out / "junit.xml"
    options = ["--bench", bench, "--fieldrig-out", str(out), f"--junitxml={junit}"]
    own_pytest.run(suite, options, [listener, *plugins])
    assert listener.config is not None
    found = results(listener.config)
    found.files.pop("report", None)  # the demo makes one of both halves
    found.files = {"junit": str(junit), **found.files, **_exported(found.files)}
    return chapter_of(found, title), found.exit_code()


def _exported(files: dict[str, str]) -> dict[str, str]:
    """The trace as JSON lines, beside the trace itself."""
    if "trace" not in files:
        return {}
    lines = Path(files["trace"]).with_suffix(".jsonl")
    _core.export_trace(files["trace"], lines)
    return {"trace as text": str(lines)}


class _Listener:
    """Tells the display about every test as it ends."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.config: pytest.Config | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._output.progress(f"{_short(nodeid)} ..")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        assert self.config is not None
        case = results(self.config).case(nodeid)
        verdict = "not run" if case.verdict == "none" else case.verdict
        self._output.say(f"  {self._output.style(verdict, verdict)}  {_short(nodeid)}  {case.duration:.2f} s")
        for taken in case.measurements:
            self._output.say(f"        {taken.name} = {known_value(taken)} ({limits(taken)})")
        for line in (case.text or case.not_run).splitlines():
            self._output.say(f"        {line}")
        self._output.record("test", name=_short(nodeid), verdict=verdict, seconds=case.duration, text=case.text)


def judge_foreign(out: Path, output: Output) -> Chapter:
    """Judges a pymodbus server, in a process of its own, by the conformance suite.

    Raises:
        BenchError: the server did not start.
    """
    title = "a Modbus server made with pymodbus"
    if importlib.util.find_spec("pymodbus") is None:
        reason = "pymodbus is not installed: pip install 'fieldrig[demo]'"
        output.say(f"  not run: {reason}")
        return Chapter(title, {"not run": reason}, [Entry("modbus-server", "not run", reason)])
    from fieldrig.conform import Options, run

    judge = _Judge(output)
    out.mkdir(parents=True, exist_ok=True)
    files = {kind: str(out / name) for kind, name in _FILES.items()}
    with _foreign_server(Path(files["what the server said"])) as url:
        run(Options(url=url, unit=1, answer=ANSWER, silence=SILENCE, junit=Path(files["junit"]), out=out), judge)
    return Chapter(title, judge.facts, judge.entries, files)


class _Judge:
    """Takes what the conformance suite says; shows only what was missed and the coverage."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.facts: dict[str, str] = {}
        self.entries: list[Entry] = []

    def say(self, text: str = "") -> None:
        """Lines for people are made here from the records instead."""

    def progress(self, text: str) -> None:
        self._output.progress(text)

    def complain(self, text: str) -> None:
        self._output.complain(text)

    def record(self, kind: str, **fields: Any) -> None:
        self._output.record(kind, **fields)
        if kind == "server":
            self.facts = {
                "address": f"{fields['url']} unit {fields['unit']}",
                "answers within": f"{fields['latency'] * 1000:.1f} ms",
                "reads": f"function {fields['function']:02} at address {fields['address']}",
            }
        elif kind == "row":
            self.entries.append(_entry(fields))
            if fields["verdict"] in ("fail", "inconclusive", "advice"):
                verdict = self._output.style(fields["verdict"], fields["verdict"])
                self._output.say(f"  {verdict}  {fields['id']}  {fields['says']}")

    def table(self, rows: Any, headings: Any, verdict: int | None = None) -> None:
        self._output.table(rows, headings, verdict)


def _entry(row: dict[str, Any]) -> Entry:
    lines = [f"{row['text']} ({row['spec']}, {row['level']})", row["says"]]
    for exchange in row["exchanges"]:
        arrow = {"sent": ">", "received": "<"}.get(exchange["what"], "-")
        shown = exchange.get("bytes", exchange.get("text", ""))
        lines.append(f"[{exchange['connection']}] {arrow} {shown}")
        lines += [f"      {line}" for line in exchange.get("dissected", "").splitlines()]
    return Entry(row["id"], row["verdict"], row["says"], "\n".join(lines), requirements=[row["id"]])


@contextlib.contextmanager
def _foreign_server(log: Path) -> Iterator[str]:
    """The server's address. What it says on standard error goes to a file, so that it never waits for a reader."""
    command = [sys.executable, "-m", "fieldrig.demo.foreign_server"]
    with log.open("w") as said, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as server:
        assert server.stdout is not None
        try:
            port = server.stdout.readline().strip()
            if not port:
                raise BenchError("the pymodbus server did not start", hint=f"it said why in {log}")
            yield f"tcp://127.0.0.1:{port}"
        finally:
            server.kill()


def _short(nodeid: str) -> str:
    return nodeid.rpartition("::")[2]
