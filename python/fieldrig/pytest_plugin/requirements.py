"""The user's own requirements, and what the run says about each: the requirement matrix.

A file of requirements is CSV with the columns `id` and `text`, or TOML::

    [[requirement]]
    id = "METER-ALARM"
    text = "An over-temperature is told within 500 ms."

Tests cite them: ``@pytest.mark.requirement("METER-ALARM")``.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldrig.errors import UsageError

if TYPE_CHECKING:
    from .results import Case

STATES = ("failed", "error", "inconclusive", "waived", "passed", "not run", "untested", "unknown")
"""What a requirement can come to, the worst first. `untested`: no test cites it. `unknown`: only tests know it."""

_STATE_OF = {
    "error": "error",
    "fail": "failed",
    "bench error": "inconclusive",
    "inconclusive": "inconclusive",
    "waived": "waived",
    "pass": "passed",
    "not run": "not run",
    "not applicable": "not run",
}


@dataclass
class Row:
    """A requirement and what the run says about it."""

    id: str
    text: str
    state: str
    tests: dict[str, str] = field(default_factory=dict)
    """The tests that cite it, each with its word: `pass`, `fail`, `not run`, .."""

    @property
    def judged(self) -> bool:
        """Whether it was judged: passed, failed, or failed and was waived."""
        return self.state in ("passed", "failed", "waived")

    def note(self) -> str:
        """How many of its tests did not run, if it was judged by the others."""
        missing = sum(_STATE_OF[word] == "not run" for word in self.tests.values())
        return f"{missing} of {len(self.tests)} tests not run" if missing and self.state != "not run" else ""

    def plain(self) -> dict[str, Any]:
        """This row as plain data."""
        return {"id": self.id, "text": self.text, "state": self.state, "tests": self.tests}


def load(path: Path) -> dict[str, str]:
    """Reads a file of requirements: the text of each id, in the order of the file.

    Raises:
        UsageError: the file is missing or wrong, or names an id twice; the message says where.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"the requirements cannot be read: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8") from None
    rows = _from_toml(path, text) if path.suffix == ".toml" else _from_csv(path, text)
    found: dict[str, str] = {}
    for place, name, says in rows:
        if not name:
            raise UsageError(f"{place}: a requirement without an id")
        if name in found:
            raise UsageError(f"{place}: the requirement `{name}` is listed twice")
        found[name] = says
    return found


def _from_csv(path: Path, text: str) -> Iterable[tuple[str, str, str]]:
    # The separator of a spreadsheet follows its language.
    head = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=";" if head.count(";") > head.count(",") else ",")
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    if "id" not in columns:
        raise UsageError(f"{path}:1: the first line names the columns; there is no `id` among them: {head.strip()!r}")
    reader.fieldnames = columns
    for row in reader:
        yield f"{path}:{reader.line_num}", (row["id"] or "").strip(), (row.get("text") or "").strip()


def _from_toml(path: Path, text: str) -> Iterable[tuple[str, str, str]]:
    try:
        rows = tomllib.loads(text).get("requirement", [])
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not TOML: {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path}: a requirement begins with [[requirement]]")
    for number, row in enumerate(rows, 1):
        place = f"{path}: requirement {number}"
        for key, value in row.items():
            if key in ("id", "text") and not isinstance(value, str):
                raise UsageError(f"{place}: {key} must be a text")
        yield place, row.get("id", "").strip(), row.get("text", "").strip()


def matrix(known: Mapping[str, str], cases: Iterable[Case]) -> list[Row]:
    """What a run says about each requirement: those of the file in its order, then those that only tests know.

    The worst of its tests decides; tests that did not run do not count beside others that did.
    """
    words: dict[str, dict[str, str]] = {}
    for case in cases:
        for name in case.requirements:
            words.setdefault(name, {})[case.nodeid] = case.word
    rows = [Row(name, text, _state(words.get(name, {})), words.get(name, {})) for name, text in known.items()]
    return rows + [Row(name, "", "unknown", tests) for name, tests in words.items() if name not in known]


def judged_state(row: Row) -> str:
    """What the tests of a requirement came to, also if only tests know it."""
    return _state(row.tests)


def _state(tests: Mapping[str, str]) -> str:
    if not tests:
        return "untested"
    return min((_STATE_OF[word] for word in tests.values()), key=STATES.index)


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many requirements came to what, the worst first."""
    states = [row.state for row in rows]
    return {state: states.count(state) for state in STATES if state in states}
