"""From what a test raised to a verdict, and to a failure text that begins with who is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fieldrig.errors import BenchError, DutError, FieldrigError, InconclusiveError, UsageError
from fieldrig.expect import LINES

if TYPE_CHECKING:
    from .results import Case


def judged(error: BaseException, uses_dut: bool) -> tuple[str, str]:
    """The verdict and the blame of what a test raised.

    An assertion in a test that uses a device accuses the device; any other foreign exception is a broken test.
    """
    if isinstance(error, InconclusiveError):
        return "inconclusive", "INCONCLUSIVE"
    if isinstance(error, BenchError):
        return "inconclusive", "BENCH"
    if isinstance(error, DutError):
        return "fail", "DUT"
    if isinstance(error, UsageError):
        return "error", "USAGE"
    if isinstance(error, AssertionError):
        return "fail", "DUT" if uses_dut else ""
    if isinstance(error, pytest.fail.Exception):
        return "fail", "DUT" if uses_dut else ""
    return "error", ""


def rewrite(report: pytest.TestReport, item: pytest.Item, case: Case, error: BaseException, blame: str) -> None:
    """Makes the failure text of a report begin with the blame."""
    place = _place(report, item)
    if isinstance(error, FieldrigError):
        # What was measured before it stands in the notes.
        case.text = shortened("\n".join([str(error), *getattr(error, "__notes__", ())]))
        report.longrepr = f"{case.text}\n  test: {place}"
    elif blame:
        text = shortened("\n".join([str(error) or type(error).__name__, *getattr(error, "__notes__", ())]))
        case.text = f"{blame}: {text}"
        report.sections.insert(0, ("fieldrig", f"{blame}: {text}\n  test: {place}"))
        if isinstance(error, AssertionError):
            shown = report.longreprtext
            report.longrepr = f"{blame}: {text}\n  test: {place}\n\n{shown}"
            del report.sections[0]
    else:
        case.text = f"{type(error).__name__}: {error}"


def shortened(text: str) -> str:
    """A failure text of 24 lines at most, without control characters; the place of the test is the 25th."""
    lines = ["".join(char if char.isprintable() else repr(char)[1:-1] for char in line) for line in text.split("\n")]
    if len(lines) > LINES - 1:
        lines[LINES - 4 : -2] = [f"  ... {len(lines) - LINES + 2} lines left out"]
    return "\n".join(lines)


def skip_inconclusive(report: pytest.TestReport, item: pytest.Item) -> None:
    """Turns a red inconclusive report into a skip, on the user's explicit wish."""
    path, line, _ = item.location
    report.outcome = "skipped"
    report.longrepr = (path, (line or 0) + 1, f"Skipped: {report.longreprtext}")


def _place(report: pytest.TestReport, item: pytest.Item) -> str:
    """File and line of the statement in the user's test that raised."""
    trace = getattr(report.longrepr, "reprtraceback", None)
    path, line, _ = item.location
    for entry in getattr(trace, "reprentries", ()):
        where = getattr(entry, "reprfileloc", None)
        if where is not None and str(where.path).endswith(path.rsplit("/", 1)[-1]):
            return f"{path}:{where.lineno} {item.name}"
    return f"{path}:{(line or 0) + 1} {item.name}"
