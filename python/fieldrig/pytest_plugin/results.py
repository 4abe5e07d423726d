"""What a run found, test by test: the one source for the summary, the report and the exit code of the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fieldrig.measure import Measurement

VERDICTS = ("none", "pass", "inconclusive", "fail", "error")
"""In order: a verdict only gets worse."""


def worse(one: str, other: str) -> str:
    """The worse of two verdicts."""
    return max(one, other, key=VERDICTS.index)


@dataclass
class Case:
    """One test."""

    nodeid: str
    verdict: str = "none"
    blame: str = ""
    text: str = ""
    not_run: str = ""
    duration: float = 0.0
    requirements: list[str] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)

    def worsen(self, verdict: str, blame: str, text: str) -> None:
        """Takes a further judgement; the worse one stays, and its text with it."""
        if VERDICTS.index(verdict) > VERDICTS.index(self.verdict):
            self.blame, self.text = blame, text
        self.verdict = worse(self.verdict, verdict)


@dataclass
class Results:
    """All tests of a run, in the order in which they ran."""

    cases: dict[str, Case] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    bench: str = ""
    folder: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def case(self, nodeid: str) -> Case:
        """The entry of a test."""
        return self.cases.setdefault(nodeid, Case(nodeid))

    def counts(self) -> dict[str, int]:
        """How many tests ended how; `not run` counts what was judged by nobody."""
        found: dict[str, int] = {}
        for case in self.cases.values():
            word = "not run" if case.verdict == "none" else case.verdict
            found[word] = found.get(word, 0) + 1
        return found

    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 usage, 3 bench error, 4 inconclusive, 5 nothing judged.

        A fail outweighs everything: what was proven stays proven. Then comes a broken test, then the bench.
        """
        verdicts = {case.verdict for case in self.cases.values()}
        broken = {case.blame for case in self.cases.values() if case.verdict == "error"}
        unsure = {case.blame for case in self.cases.values() if case.verdict == "inconclusive"}
        if "fail" in verdicts:
            return 1
        if "error" in verdicts:
            return 2 if broken == {"USAGE"} else 1
        if "inconclusive" in verdicts:
            return 3 if "BENCH" in unsure else 4
        return 0 if "pass" in verdicts else 5
