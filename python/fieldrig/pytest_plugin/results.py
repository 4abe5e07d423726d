"""What a run found, test by test: the one source for the summary, the report and the exit code of the command line.

Rules of this file:

- A verdict only gets worse within an attempt. A test that is run again keeps every attempt; the last one counts if it
  judged (pass or fail), else the worst of all: a skip or a bench error in a later attempt hides no fail.
- Beside the verdicts stand the states of what was not judged: `not run`, `not applicable`, `waived`.
- Everything here can be sent from a worker of pytest-xdist to its controller as plain data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fieldrig.measure import Measurement

VERDICTS = ("none", "pass", "inconclusive", "fail", "error")
"""In order: a verdict only gets worse."""

WORDS = ("error", "fail", "bench error", "inconclusive", "waived", "pass", "not run", "not applicable")
"""The words of a summary, the worst first. A `bench error` is an inconclusive test whose cause is known: the bench."""


def worse(one: str, other: str) -> str:
    """The worse of two verdicts."""
    return max(one, other, key=VERDICTS.index)


@dataclass
class Attempt:
    """One go at a test that was run again."""

    verdict: str = "none"
    blame: str = ""
    text: str = ""
    not_run: str = ""
    duration: float = 0.0

    def __str__(self) -> str:
        text = self.text or self.not_run
        word = "not run" if self.verdict == "none" else self.verdict
        return f"{word}: {text}" if text else word


@dataclass
class Case:
    """One test.

    Attributes:
        nodeid: its name.
        verdict: the verdict of what was run last; `settled` is what counts.
        blame: the first word of its failure text.
        text: its failure text.
        not_run: why it was not judged.
        waived: the waiver that its failure fell under: ticket and expiry.
        duration: seconds, of all phases of the last attempt.
        requirements: the ids of what it judges.
        measurements: what it measured.
        attempts: what came of it before it was run again.
        devices: the judged devices that it uses.
        bench: the bench it ran on.
        worker: the worker of pytest-xdist that ran it.
    """

    nodeid: str
    verdict: str = "none"
    blame: str = ""
    text: str = ""
    not_run: str = ""
    waived: str = ""
    duration: float = 0.0
    requirements: list[str] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    bench: str = ""
    worker: str = ""
    begun: bool = False

    def begin(self) -> None:
        """The test is run; again, if it was run before: what came of that is kept as an attempt."""
        if self.begun:
            self.attempts.append(Attempt(self.verdict, self.blame, self.text, self.not_run, self.duration))
            self.verdict, self.blame, self.text, self.not_run, self.waived = "none", "", "", "", ""
            self.duration = 0.0
            self.measurements = []
        self.begun = True

    def worsen(self, verdict: str, blame: str, text: str) -> None:
        """Takes a further judgement; the worse one stays, and its text with it."""
        if VERDICTS.index(verdict) > VERDICTS.index(self.verdict):
            self.blame, self.text = blame, text
        self.verdict = worse(self.verdict, verdict)

    @property
    def settled(self) -> Attempt:
        """What counts: the last attempt if it judged or was waived, else the worst of all."""
        last = Attempt(self.verdict, self.blame, self.text, self.not_run, self.duration)
        if self.verdict in ("pass", "fail") or self.waived:
            return last
        return max((last, *self.attempts), key=lambda attempt: VERDICTS.index(attempt.verdict))

    @property
    def word(self) -> str:
        """What a summary calls it: one of `WORDS`."""
        settled = self.settled
        if self.waived and settled.verdict in ("none", "pass"):
            return "waived"
        if settled.verdict == "none":
            return "not applicable" if self.not_run.startswith("not applicable") else "not run"
        if settled.verdict == "inconclusive" and settled.blame == "BENCH":
            return "bench error"
        return settled.verdict

    @property
    def says(self) -> str:
        """One line for people."""
        settled = self.settled
        line = (settled.text or settled.not_run).partition("\n")[0]
        if self.word == "waived":
            line = f"{self.waived}: {line}"
        return f"{line} ({self.history()})".lstrip() if self.attempts else line

    def history(self) -> str:
        """How its attempts ended: `attempts: fail, pass`; nothing for a test that was run once."""
        if not self.attempts:
            return ""
        verdicts = [*(attempt.verdict for attempt in self.attempts), self.verdict]
        return "attempts: " + ", ".join("not run" if verdict == "none" else verdict for verdict in verdicts)

    @property
    def unproven(self) -> int:
        """How many attempts proved nothing and were run again."""
        return sum(attempt.verdict == "inconclusive" for attempt in self.attempts)

    @property
    def told(self) -> str:
        """The failure text that counts; of a test that was run again, what came of each attempt."""
        if not self.attempts:
            return self.text
        last = Attempt(self.verdict, self.blame, self.text, self.not_run, self.duration)
        return "\n".join(f"attempt {number}: {one}" for number, one in enumerate((*self.attempts, last), 1))

    def plain(self) -> dict[str, Any]:
        """This case as plain data, for another process."""
        data = asdict(self)
        for taken in data["measurements"]:
            for name in ("low", "high", "min", "max"):
                if taken[name] is not None:
                    taken[name] = float(taken[name])
        return data

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Case:
        """The case of another process."""
        known = dict(data)
        known["attempts"] = [Attempt(**attempt) for attempt in data["attempts"]]
        if data["measurements"]:
            from fieldrig.measure import Measurement

            known["measurements"] = [Measurement(**taken) for taken in data["measurements"]]
        return cls(**known)


@dataclass
class Results:
    """All tests of a run, in the order in which they ran."""

    cases: dict[str, Case] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)
    bench: str = ""
    folder: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    doubt: str = ""
    """Why nothing that passed with a device proves anything."""
    problems: list[str] = field(default_factory=list)
    """What makes the run red beside its tests: a required test that was not judged, an expired waiver."""

    def case(self, nodeid: str) -> Case:
        """The entry of a test."""
        return self.cases.setdefault(nodeid, Case(nodeid))

    def counts(self) -> dict[str, int]:
        """How many tests ended how, the worst first; a bench error is counted apart from other inconclusive tests."""
        words = [case.word for case in self.cases.values()]
        return {word: words.count(word) for word in WORDS if word in words}

    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 usage, 3 bench error, 4 inconclusive, 5 nothing judged.

        A fail outweighs everything: what was proven stays proven. Then comes a broken test, then the bench.
        """
        settled = [case.settled for case in self.cases.values()]
        words = {case.word for case in self.cases.values()}
        broken = {attempt.blame for attempt in settled if attempt.verdict == "error"}
        if "fail" in words:
            return 1
        if "error" in words:
            return 2 if broken == {"USAGE"} else 1
        if "bench error" in words:
            return 3
        if "inconclusive" in words:
            return 4
        if self.problems:
            return 3 if any(problem.startswith("BENCH") for problem in self.problems) else 1
        return 0 if words & {"pass", "waived"} else 5
