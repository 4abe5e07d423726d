"""Waivers: failures that are known and accepted for a while, each with a ticket and an expiry.

::

    strict = true                       # a waiver that is not needed makes the run red; by default it is only listed

    [[waiver]]
    test = "test_alarm.py::test_overtemp_alarm_is_fast"       # or: requirement = "METER-ALARM"
    ticket = "FW-1183"
    expires = 2026-12-31                # the last day on which it holds
    reason = "the alarm task starves while the log is flushed; mended in firmware 2.4"

A waived failure is `waived`, never a pass. Only what the device is blamed for can be waived. A test falls under a
waiver of a requirement only if every requirement that it judges is waived. An expired waiver waives nothing.
"""

from __future__ import annotations

import datetime
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldrig.errors import UsageError

from .names import matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .results import Case

_KEYS = ("test", "requirement", "ticket", "expires", "reason")


@dataclass(frozen=True)
class Waiver:
    """One accepted failure: of a test, or of all tests of a requirement."""

    ticket: str
    expires: datetime.date
    reason: str
    test: str = ""
    requirement: str = ""

    def describe(self) -> str:
        """Its ticket and its last day: `waived (FW-1183 until 2026-12-31)`."""
        return f"waived ({self.ticket} until {self.expires})"

    @property
    def target(self) -> str:
        """What it is for, as people say it."""
        return f"test {self.test}" if self.test else f"requirement {self.requirement}"

    def concerns(self, nodeid: str, requirements: Iterable[str]) -> bool:
        """Whether a test falls under it, be it alone or with other waivers."""
        return matches(self.test, nodeid) if self.test else self.requirement in requirements


@dataclass
class Waivers:
    """The waivers of a run, as of a day."""

    today: datetime.date
    listed: list[Waiver] = field(default_factory=list)
    strict: bool = False
    file: str = ""

    @classmethod
    def load(cls, path: Path, today: datetime.date) -> Waivers:
        """Reads a file of waivers.

        Args:
            path: the TOML file.
            today: the day on which they are judged.

        Raises:
            UsageError: the file is missing or wrong; the message says where.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"the waivers cannot be read: {path}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: not TOML: {error}") from None
        for key in data:
            if key not in ("strict", "waiver"):
                raise UsageError(f"{path}: unknown key `{key}`; it has: strict, waiver")
        strict, rows = data.get("strict", False), data.get("waiver", [])
        if not isinstance(strict, bool):
            raise UsageError(f"{path}: strict = {strict!r}: it is true or false")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise UsageError(f"{path}: a waiver begins with [[waiver]]")
        waivers = [_waiver(f"{path}: waiver {number}", row) for number, row in enumerate(rows, 1)]
        return cls(today, waivers, strict, str(path))

    def expired(self, waiver: Waiver) -> bool:
        """Whether its last day is over."""
        return waiver.expires < self.today

    def covering(self, case: Case) -> Waiver | None:
        """The waiver that accepts the failure of a test; None if it must be red."""
        valid = [waiver for waiver in self.listed if not self.expired(waiver)]
        for waiver in valid:
            if waiver.test and waiver.concerns(case.nodeid, ()):
                return waiver
        by_requirement = {waiver.requirement: waiver for waiver in valid if waiver.requirement}
        if case.requirements and all(name in by_requirement for name in case.requirements):
            return by_requirement[case.requirements[0]]
        return None

    def remarks(self, cases: Iterable[Case], collected: Iterable[str]) -> tuple[list[str], list[str]]:
        """What is to be said about the waivers at the end of a run.

        Args:
            cases: what was run.
            collected: the names of all tests that were collected, those that were deselected, too.

        Returns:
            What makes the run red (expired waivers; with `strict` those nobody needs), and what is only worth a line.
        """
        known, names = list(cases), list(collected)
        red: list[str] = []
        notes: list[str] = []
        for waiver in self.listed:
            concerned = [case for case in known if waiver.concerns(case.nodeid, case.requirements)]
            if self.expired(waiver):
                red.append(f"the waiver {waiver.ticket} for the {waiver.target} expired on {waiver.expires}")
                continue
            needless = _needless(waiver, concerned, names)
            if needless:
                (red if self.strict else notes).append(f"the waiver {waiver.ticket}: {needless}")
        return red, notes


def _needless(waiver: Waiver, concerned: list[Case], names: list[str]) -> str:
    if not concerned:
        if waiver.test and any(matches(waiver.test, name) for name in names):
            return ""  # it was deselected
        return f"no test of this run falls under it ({waiver.target}); remove it, unless only a part was run"
    if all(case.word == "pass" for case in concerned):
        return f"{concerned[0].nodeid} passes; remove it"
    return ""


def _waiver(place: str, row: dict[str, Any]) -> Waiver:
    for key in row:
        if key not in _KEYS:
            raise UsageError(f"{place}: unknown key `{key}`; it has: {', '.join(_KEYS)}")
    expires = row.get("expires")
    if isinstance(expires, datetime.datetime) or not isinstance(expires, datetime.date):
        raise UsageError(f"{place}: expires must be a day, as in expires = 2026-12-31")
    texts = {key: row[key] for key in _KEYS if key in row and key != "expires"}
    for key, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise UsageError(f"{place}: {key} must be a text")
    for key in ("ticket", "reason"):
        if key not in texts:
            raise UsageError(f"{place}: it has no {key}")
    if ("test" in texts) == ("requirement" in texts):
        raise UsageError(f"{place}: it is either for a test or for a requirement: give one of the two")
    return Waiver(expires=expires, **texts)
