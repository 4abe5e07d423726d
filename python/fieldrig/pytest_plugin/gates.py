"""What a run is held to beside its tests: required tests, requirements, waivers, no lost fail."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import names
from .requirements import Row, judged_state, matrix
from .requirements import load as load_requirements
from .waivers import Waivers

if TYPE_CHECKING:
    from fieldrig.bench import BenchPlan

    from .results import Case, Results

RED = ("error", "fail", "bench error", "inconclusive")


class Gates:
    """What the run must come to; asked once at its end."""

    def __init__(self, waivers: Waivers | None, known: dict[str, str] | None, required: list[str]) -> None:
        self.waivers = waivers
        self.known = known
        self.required = required
        self.collected: dict[str, list[str]] = {}
        """All tests that were collected, with the requirements they cite; also those that were deselected."""
        self.selected: set[str] = set()
        """Those of them that were to be run."""
        self.rows: list[Row] = []
        self.notes: list[str] = []

    @property
    def used(self) -> bool:
        """Whether the user asked for any of them."""
        return self.waivers is not None or self.known is not None or bool(self.required)

    def waiver(self, case: Case) -> str | None:
        """The waiver under which a failure falls: ticket and last day."""
        found = self.waivers.covering(case) if self.waivers is not None else None
        return None if found is None else found.describe()

    def expired(self, case: Case) -> str:
        """The expired waiver of a test that failed, for its text."""
        for waiver in self.waivers.listed if self.waivers is not None else ():
            concerned = waiver.concerns(case.nodeid, case.requirements)
            if concerned and self.waivers is not None and self.waivers.expired(waiver):
                return f"its waiver {waiver.ticket} expired on {waiver.expires}"
        return ""

    def settle(self, results: Results) -> None:
        """At the end of the run: what was never run, the matrix, and what makes the run red."""
        for nodeid in self.collected:
            if nodeid in self.selected and nodeid not in results.cases:
                case = results.case(nodeid)
                case.not_run = "the run ended before it"
                case.requirements = list(self.collected[nodeid])
        cases = list(results.cases.values())
        deselected = self._deselected(results)
        if self.known is not None:
            self.rows = matrix(self.known, [*cases, *deselected])
        if self.waivers is not None:
            red, self.notes = self.waivers.remarks(cases, self.collected)
            results.problems += red
        results.problems += [f"required, but not judged: {missing}" for missing in self._missing([*cases, *deselected])]

    def _deselected(self, results: Results) -> list[Case]:
        from .results import Case

        return [
            Case(nodeid, not_run="deselected", requirements=cited)
            for nodeid, cited in self.collected.items()
            if nodeid not in results.cases
        ]

    def _missing(self, known: list[Case]) -> Iterable[str]:
        rows = {row.id: judged_state(row) for row in matrix({}, known)}
        for name in self.required:
            if names.is_test(name):
                concerned = [case for case in known if names.matches(name, case.nodeid)]
                bad = [case for case in concerned if case.word not in ("pass", "fail", "waived")]
                if not concerned:
                    yield f"{name} (no such test in this run)"
                elif bad:
                    yield f"{name} ({bad[0].word}{_of(bad[0], name)})"
            elif rows.get(name, "untested") not in ("passed", "failed", "waived"):
                yield f"{name} ({rows.get(name, 'no test of this run cites it')})"

    def write(self, folder: Path, results: Results) -> dict[str, str]:
        """Writes the report, and the matrix as JSON, into the folder of the run; gives kind and path of each."""
        from fieldrig.report import chapter_of, render

        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        if self.known is not None:
            data = {"requirements": [row.plain() for row in self.rows]}
            text = json.dumps(data, indent=1, ensure_ascii=False) + "\n"
            files["requirements"] = _written(folder / "requirements.json", text)
        title = f"bench {results.bench}" if results.bench else "tests"
        html = render([chapter_of(results, title, matrix=self.rows)], title=f"fieldrig: {title}")
        return {**files, "report": _written(folder / "report.html", html)}


def is_red(results: Results, inconclusive_is_skipped: bool) -> bool:
    """Whether the run must be red whatever pytest saw: its tests accuse somebody, or it missed one of its gates."""
    red = [word for word in RED if not (inconclusive_is_skipped and word in ("bench error", "inconclusive"))]
    accused = any(case.word in red and case.settled.blame for case in results.cases.values())
    return accused or bool(results.problems)


def _written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _of(case: Case, name: str) -> str:
    reason = f": {case.not_run}" if case.not_run else ""
    return f" in {case.nodeid}{reason}" if case.nodeid != name else reason


def load(config: pytest.Config, plan: BenchPlan | None) -> Gates:
    """The gates of a run, from its options and its bench file.

    Raises:
        pytest.UsageError: one of the files is missing or wrong.
    """
    from fieldrig.errors import UsageError

    def file(option: str, of_bench: Path | None = None) -> Path | None:
        given = config.getoption(option)
        return config.invocation_params.dir / str(given) if given else of_bench

    try:
        waivers = file("--fieldrig-waivers", None if plan is None else plan.waivers)
        known = file("--fieldrig-requirements", None if plan is None else plan.requirements)
        required = file("--fieldrig-require")
        return Gates(
            None if waivers is None else Waivers.load(waivers, datetime.date.today()),
            None if known is None else load_requirements(known),
            [] if required is None else _required(required),
        )
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _required(path: Path) -> list[str]:
    """The names in a file, one on a line; `#` begins a remark."""
    from fieldrig.errors import UsageError

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"--fieldrig-require: {path} cannot be read: {error.strerror}") from None
    found = [name for line in lines if (name := line.partition(" #")[0].strip()) and not name.startswith("#")]
    if not found:
        raise UsageError(f"--fieldrig-require: {path} names nothing")
    return found
