"""One run of a suite from the command line: every row told while it is judged, the sums at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldrig import own_pytest

from .outcome import VERDICTS, Row
from .report import exit_code

if TYPE_CHECKING:
    from fieldrig import Rig
    from fieldrig.conform import Display

_LISTED = ("fail", "advice", "inconclusive")


class Told:
    """Tells rows to people, machines and the run log, and keeps them.

    Args:
        lines: a row for people.
        record: a row for machines.
        of: how many rows there are.
    """

    def __init__(
        self,
        display: Display,
        rig: Rig,
        lines: Callable[[Row], list[str]],
        record: Callable[[Row], dict[str, Any]],
        of: int,
    ) -> None:
        self.rows: list[Row] = []
        self._display = display
        self._rig = rig
        self._lines = lines
        self._record = record
        self._of = of

    def __call__(self, row: Row) -> None:
        self.rows.append(row)
        self._rig.log("conform.row", requirement=row.requirement.id, verdict=row.verdict, says=row.says)
        for line in self._lines(row):
            self._display.say(line)
        self._display.record("row", **self._record(row))
        self._display.progress(f"{len(self.rows)} of {self._of} rows")


def run_rows(suite: Path, name: str, plugin: object, junit: Path | None) -> None:
    """Runs the tests of the folder of a suite with its plug-in."""
    settings = ["--assert=plain", "-o", "junit_logging=system-out", "-o", f"junit_suite_name={name}"]
    settings += [f"--junitxml={junit.absolute()}"] if junit else []
    own_pytest.run(suite, settings, [plugin])


def say_coverage(
    rows: Sequence[Row],
    counts: Mapping[str, Mapping[str, int]],
    table: Sequence[Sequence[str]],
    files: Mapping[str, Path | None],
    display: Display,
) -> None:
    """The sums, the rows to look at, and the files that were written."""
    display.say()
    display.table(table, ["section", "", *VERDICTS])
    for verdict in _LISTED:
        ids = [row.requirement.id for row in rows if row.verdict == verdict]
        if ids:
            display.say(f"{verdict}: {', '.join(ids)}")
    written = {name: str(path) for name, path in files.items() if path is not None}
    for name, path in written.items():
        display.say(f"{name}: {path}")
    display.record("coverage", sections=counts, exit=exit_code(rows), files=written)
