"""The report of a run: one plain HTML file that needs nothing else: no script, no font, no address.

::

    chapter = Chapter("energy meter", facts={"bench": "demo"}, entries=[Entry("test_voltage", "pass")])
    Path("report.html").write_text(render([chapter], title="fieldrig demo"), encoding="utf-8")

A chapter is one run: a pytest session on a bench, or a conformance suite against one device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from . import __version__
from .units import human

if TYPE_CHECKING:
    from .measure import Measurement
    from .pytest_plugin.requirements import Row
    from .pytest_plugin.results import Results

WORST_FIRST = (
    *("error", "fail", "failed", "bench error", "inconclusive", "waived", "advice"),
    *("unknown", "untested", "not tested", "not run", "not applicable", "reported", "pass", "passed"),
)
UNFOLDED = 10
"""With no more details than these, all of them are open: a page that is printed shows them, and nobody has to click."""
TIMING_CLASSES = {
    "A": "A: real-time scheduling",
    "B": "B: ordinary scheduling with a short time slice",
    "C": "C: ordinary scheduling",
    "V": "V: virtual time, every figure is exact",
}


@dataclass(frozen=True)
class Entry:
    """A test, or a row of a suite.

    Attributes:
        name: its name or id.
        verdict: pass, fail, inconclusive, error, or a not-run state.
        says: one line for people.
        detail: more lines: the failure text, the bytes.
        requirements: ids of the requirements it judges.
        measurements: what it measured.
        seconds: how long it took; None if nobody knows.
    """

    name: str
    verdict: str
    says: str = ""
    detail: str = ""
    requirements: Sequence[str] = ()
    measurements: Sequence[Measurement] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class Chapter:
    """One run: its name, the facts about it (bench, profiles, timing class, address), what was judged, its files."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    entries: Sequence[Entry] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    matrix: Sequence[Row] = ()
    """The user's requirements, and what the run says about each."""

    def counts(self) -> dict[str, int]:
        """How many entries ended how, the worst first."""
        found = dict.fromkeys(sorted({entry.verdict for entry in self.entries}, key=_badness), 0)
        for entry in self.entries:
            found[entry.verdict] += 1
        return found

    def sections(self) -> dict[str, dict[str, int]]:
        """For the rows of a suite, which are requirements themselves: how many of each section ended how."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if list(entry.requirements) == [entry.name]:
                found.setdefault(entry.name.rpartition("-")[0], []).append(entry)
        return {name: Chapter(name, entries=entries).counts() for name, entries in found.items()}

    def coverage(self) -> dict[str, list[Entry]]:
        """Which entries judge which requirement."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            for requirement in entry.requirements:
                found.setdefault(requirement, []).append(entry)
        return found


def chapter_of(
    results: Results, title: str, facts: Mapping[str, str] | None = None, matrix: Sequence[Row] = ()
) -> Chapter:
    """The chapter of a pytest run."""
    profiles = ", ".join(f"{name} = {profile}" for name, profile in results.profiles.items())
    known = {"bench": results.bench, "profiles": profiles}
    entries = [
        Entry(
            name=case.nodeid.rpartition("/")[2],
            verdict=case.word,
            says=case.says,
            detail=case.told,
            requirements=case.requirements,
            measurements=case.measurements,
            seconds=case.duration,
        )
        for case in results.cases.values()
    ]
    problems = {"red": "; ".join(results.problems)}
    return Chapter(title, {**known, **results.facts, **problems, **(facts or {})}, entries, dict(results.files), matrix)


def worst(verdicts: Iterable[str]) -> str:
    """The worst of several verdicts."""
    return min(verdicts, key=_badness, default="not run")


def limits(measurement: Measurement) -> str:
    """The band a measurement must lie in, for people."""
    bounds = []
    if measurement.min is not None:
        bounds.append(f"min {amount(measurement.min, measurement.unit)}")
    if measurement.max is not None:
        bounds.append(f"max {amount(measurement.max, measurement.unit)}")
    return ", ".join(bounds) or "no limit"


def known_value(measurement: Measurement) -> str:
    """What was measured, with both ends where they differ visibly."""
    low, high = (amount(end, measurement.unit) for end in (measurement.low, measurement.high))
    return low if low == high else f"{low} .. {high}"


def amount(value: float, unit: str) -> str:
    """A number with its unit; seconds as people say them."""
    return human(round(value * 1e9)) if unit == "s" else f"{value:.6g} {unit}".rstrip()


def render(chapters: Sequence[Chapter], title: str) -> str:
    """The whole file.

    Args:
        chapters: the runs, in order.
        title: the heading.

    Returns:
        HTML. It loads nothing and runs no script.
    """
    style = resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    body = "".join(_chapter(number, chapter) for number, chapter in enumerate(chapters, 1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n"
        f"<body><main>\n<h1>{escape(title)}</h1>\n{_overview(chapters)}{body}"
        f"<footer>fieldrig {escape(__version__)}</footer>\n</main></body></html>\n"
    )


def _overview(chapters: Sequence[Chapter]) -> str:
    rows = [
        [
            f'<a href="#run{number}">{escape(chapter.title)}</a>',
            _badge(worst(entry.verdict for entry in chapter.entries)),
            _counted(chapter.counts()),
            str(len(chapter.entries)),
        ]
        for number, chapter in enumerate(chapters, 1)
    ]
    return _table(["run", "verdict", "counts", "rows"], rows)


def _chapter(number: int, chapter: Chapter) -> str:
    known = {name: value for name, value in chapter.facts.items() if value}
    if name := known.get("timing class"):
        known["timing class"] = TIMING_CLASSES.get(name, name)
    facts = [[escape(name), escape(value)] for name, value in known.items()]
    measured = [(entry, taken) for entry in chapter.entries for taken in entry.measurements]
    parts = [f'<section id="run{number}">\n<h2>{escape(chapter.title)}</h2>\n', _table([], facts, "facts")]
    if measured:
        parts += ["<h3>Measurements</h3>\n", _measurements(measured)]
    sections, coverage = chapter.sections(), chapter.coverage()
    if chapter.matrix:
        parts += ["<h3>Requirements</h3>\n", _matrix(chapter.matrix)]
    elif coverage:
        shown = _sections(sections) if sections else _coverage(coverage)
        parts += ["<h3>Requirement coverage</h3>\n", shown]
    parts += ["<h3>Verdicts</h3>\n", _entries(chapter.entries, "suite" if sections else "tests")]
    if chapter.files:
        files = [[escape(kind), f"<code>{escape(path)}</code>"] for kind, path in chapter.files.items()]
        parts += ["<h3>Files</h3>\n", _table([], files, "facts")]
    return "".join(parts) + "</section>\n"


def _measurements(measured: Sequence[tuple[Entry, Measurement]]) -> str:
    rows = [
        [
            escape(taken.name),
            escape(known_value(taken)),
            escape(limits(taken)),
            _badge(taken.verdict),
            escape(taken.reason),
            escape(entry.name),
        ]
        for entry, taken in measured
    ]
    return _table(["measurement", "value", "limit", "verdict", "reason", "test"], rows, "measured")


def _entries(entries: Sequence[Entry], kind: str) -> str:
    timed = any(entry.seconds is not None for entry in entries)
    unfold = " open" if sum(bool(entry.detail) for entry in entries) <= UNFOLDED else ""
    rows = []
    for entry in entries:
        says = escape(entry.says)
        if entry.detail and entry.detail != entry.says:
            says = f"<details{unfold}><summary>{says or 'details'}</summary><pre>{escape(entry.detail)}</pre></details>"
        row = [escape(entry.name), _badge(entry.verdict), says]
        if timed:
            row.append("" if entry.seconds is None else f'<span class="time">{entry.seconds:.2f} s</span>')
        rows.append(row)
    return _table(["name", "verdict", "what was found", *(["time"] if timed else [])], rows, kind)


def _sections(sections: Mapping[str, Mapping[str, int]]) -> str:
    return _table(["section", "counts"], [[escape(name), _counted(counts)] for name, counts in sections.items()])


def _counted(counts: Mapping[str, int]) -> str:
    return " &ensp;".join(f"{_badge(verdict)}&nbsp;{count}" for verdict, count in counts.items())


def _coverage(coverage: Mapping[str, Sequence[Entry]]) -> str:
    rows = [
        [
            f"<code>{escape(requirement)}</code>",
            _badge(worst(entry.verdict for entry in entries)),
            "<br>".join(escape(entry.name) for entry in entries),
        ]
        for requirement, entries in coverage.items()
    ]
    return _table(["requirement", "verdict", "judged by"], rows)


def _matrix(rows: Sequence[Row]) -> str:
    cells = [
        [
            f"<code>{escape(row.id)}</code>",
            _badge(row.state),
            escape(row.text),
            "<br>".join(escape(f"{test}: {word}") for test, word in row.tests.items()),
        ]
        for row in rows
    ]
    return _table(["requirement", "state", "text", "tests"], cells, "matrix")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of cells that are HTML already; nothing if there are no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    top = f"<thead><tr>{head}</tr></thead>\n" if headings else ""
    return f'<div class="scroll"><table class="{kind}">\n{top}<tbody>\n{body}\n</tbody></table></div>\n'


def _badge(verdict: str) -> str:
    return f'<span class="verdict {verdict.replace(" ", "-")}">{escape(verdict)}</span>'


def _badness(verdict: str) -> int:
    return WORST_FIRST.index(verdict) if verdict in WORST_FIRST else 0
