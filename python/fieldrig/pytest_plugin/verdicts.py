"""From what a test raised to a verdict, and to a failure text that begins with who is to blame."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fieldrig.errors import BenchError, DutError, FieldrigError, InconclusiveError, UsageError
from fieldrig.failing import LINES

from .results import VERDICTS

_OTHERS = 3


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
    if isinstance(error, AssertionError | pytest.fail.Exception):
        return "fail", "DUT" if uses_dut else ""
    return "error", "USAGE" if uses_dut else ""


def accused(error: BaseException, uses_dut: bool) -> BaseException:
    """Of several exceptions that were raised together (in tear-downs, in tasks) one that accuses the device, if any.

    Else the one with the worst verdict. The others stand in its notes.
    """
    leaves = list(_leaves(error))
    if len(leaves) == 1:
        return leaves[0]
    fails = [one for one in leaves if judged(one, uses_dut)[0] == "fail"]
    worst = max(fails or leaves, key=lambda one: VERDICTS.index(judged(one, uses_dut)[0]))
    others = [one for one in leaves if one is not worst]
    for other in others[:_OTHERS]:
        worst.add_note(f"  and: {_first_line(other)}")
    if len(others) > _OTHERS:
        worst.add_note(f"  and {len(others) - _OTHERS} more")
    return worst


def accuses(error: BaseException, uses_dut: bool) -> bool:
    """Whether what a test raised, or any of what it raised together, accuses the device."""
    return any(judged(one, uses_dut)[1] == "DUT" for one in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return text if isinstance(error, FieldrigError) else f"{type(error).__name__}: {text}".removesuffix(": ")


def rewrite(report: pytest.TestReport, item: pytest.Item, error: BaseException, blame: str) -> str:
    """Makes the failure text of a report begin with the blame; gives that text."""
    place = _place(report, item)
    notes = getattr(error, "__notes__", ())  # what was measured before it, or raised together with it
    if isinstance(error, FieldrigError):
        text = shortened("\n".join([str(error), *notes]))
        report.longrepr = f"{text}\n  test: {place}"
        return text
    if not blame:
        return f"{type(error).__name__}: {error}"
    said = str(error) or type(error).__name__
    if not isinstance(error, AssertionError | pytest.fail.Exception):
        who = "the test" if report.when == "call" else f"a fixture ({report.when} of the test)"
        said = f"{who} raised {type(error).__name__}: {error}".removesuffix(": ")
    text = shortened("\n".join([f"{blame}: {said}", *notes]))
    report.longrepr = f"{text}\n  test: {place}\n\n{report.longreprtext}"
    return text


def shortened(text: str) -> str:
    """A failure text of 24 lines at most, without control characters; the place of the test is the 25th."""
    lines = ["".join(char if char.isprintable() else repr(char)[1:-1] for char in line) for line in text.split("\n")]
    if len(lines) > LINES - 1:
        lines[LINES - 4 : -2] = [f"  ... {len(lines) - LINES + 2} lines left out"]
    return "\n".join(lines)


def show_as_skip(report: pytest.TestReport, item: pytest.Item, reason: str) -> None:
    """Turns a red report into a skip: an inconclusive one on the user's explicit wish, a fail that is waived."""
    path, line, _ = item.location
    report.outcome = "skipped"
    report.longrepr = (path, (line or 0) + 1, f"Skipped: {reason}")


def _place(report: pytest.TestReport, item: pytest.Item) -> str:
    """File and line of the statement in the user's test that raised."""
    trace = getattr(report.longrepr, "reprtraceback", None)
    path, line, _ = item.location
    for entry in getattr(trace, "reprentries", ()):
        where = getattr(entry, "reprfileloc", None)
        if where is not None and str(where.path).endswith(path.rsplit("/", 1)[-1]):
            return f"{path}:{where.lineno} {item.name}"
    return f"{path}:{(line or 0) + 1} {item.name}"
