"""Runs one row of a suite and says what it came to.

The rules, in the order in which they are applied:
1. A row that is not for this subject (its carrier, what its maker declares) is `not applicable`.
2. A row is judged only if the plainest exchange works before it; otherwise it is `not tested`.
3. What the row forbids, and what was seen, fails it. A `should` row that is missed is `advice`: it is shown in its own
   column and does not fail the run. A row of kind `report` is `reported`, whatever it saw.
4. Something that did not come is tried once more, with more time. If it comes then, the row is `inconclusive`. If
   not, it is held against the subject only if the plainest exchange works afterwards too, or if the subject is gone,
   which only its own fault can cause. What the bench is to blame for (`setbacks`) is never held against anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeVar

from .outcome import (
    Absent,
    Exchange,
    Excluded,
    Inapplicable,
    Missed,
    NotRun,
    Requirement,
    Row,
    Undecided,
    Verdict,
)

Health = Literal["answers", "silent", "refused", "unreachable"]


class Subject(Protocol):
    """Who is judged, as far as a judge must know it."""

    lost: bool
    """The plainest exchange did not work any more before the latest row."""
    exchanges: list[Exchange]
    notes: list[str]

    @property
    def plain(self) -> str:
        """What is said if the plainest exchange does not work: `a plain read was not answered`."""

    @property
    def tries(self) -> int:
        """How often at most a row is tried that could not be decided."""

    @property
    def over(self) -> str:
        """The name of the carrier."""

    @property
    def setbacks(self) -> tuple[type[Exception], ...]:
        """What rows raise when the bench is to blame."""

    @property
    def setback(self) -> str:
        """What is said then: `a connection could not be made`."""

    @property
    def stalled(self) -> bool:
        """This machine stood still since the row began."""

    def begin(self) -> None:
        """Begins a row."""

    def end(self) -> None:
        """Ends one try of a row."""

    def declares(self, name: str) -> bool:
        """Whether its maker declares a capability."""

    def health(self) -> Health:
        """Tries the plainest exchange."""

    def patient(self) -> AbstractContextManager[None]:
        """More time, for the second try of a row."""


S = TypeVar("S", bound=Subject)


def judge(requirement: Requirement, test: Callable[[S], None], subject: S) -> Row:
    """Judges one row."""
    subject.begin()
    carrier = subject.over
    if carrier not in requirement.carriers:
        return Row(requirement, "not applicable", f"a row for {', '.join(requirement.carriers)}", carrier=carrier)
    lacking = [name for name in requirement.needs if not subject.declares(name)]
    if lacking:
        return Row(requirement, "not applicable", f"not declared: {', '.join(lacking)}", carrier=carrier)
    health = _health(subject, 1 if subject.lost else 3)
    subject.lost = health != "answers"
    if subject.lost:
        return Row(requirement, "not tested", f"before this row {subject.plain} ({health})", carrier=carrier)
    verdict, says = _judged(test, subject)
    if verdict == "fail" and requirement.level != "must":
        verdict = "advice"
    if requirement.kind == "report" and verdict in ("pass", "fail", "advice"):
        verdict = "reported"
    return Row(requirement, verdict, says, tuple(subject.exchanges), carrier)


def _judged(test: Callable[[S], None], subject: S) -> tuple[Verdict, str]:
    verdict, first, _ = _attempt(test, subject)
    for _ in range(subject.tries - 1):
        if verdict != "inconclusive":
            break
        with subject.patient():
            subject.notes.clear()
            verdict, first, _ = _attempt(test, subject)
    if verdict is not None:
        return verdict, first
    with subject.patient():
        subject.notes.clear()
        verdict, says, reached = _attempt(test, subject)
    if verdict == "pass":
        stall = " (this machine stood still meanwhile)" if subject.stalled else ""
        return "inconclusive", f"only the second, slower try succeeded; the first: {first}{stall}"
    if verdict is not None:
        return verdict, says
    health = _health(subject)
    if not reached and health != "refused":
        return "inconclusive", says
    if health == "answers":
        return "fail", says
    if health == "refused":
        return "fail", f"{says}; afterwards connections are refused"
    return "inconclusive", f"{says}; afterwards {subject.plain} either ({health})"


def _attempt(test: Callable[[S], None], subject: S) -> tuple[Verdict | None, str, bool]:
    """One try: verdict (none if something was absent), explanation, and whether the bench worked."""
    try:
        test(subject)
    except Absent as absent:
        return None, str(absent), True
    except Missed as missed:
        return "fail", str(missed), True
    except Undecided as undecided:
        return "inconclusive", str(undecided), True
    except Inapplicable as inapplicable:
        return "not applicable", str(inapplicable), True
    except Excluded as excluded:
        return "excluded by probe", str(excluded), True
    except NotRun as unrun:
        return "not run", str(unrun), True
    except subject.setbacks as error:
        return None, f"{subject.setback}: {error}", False
    finally:
        subject.end()
    return "pass", "; ".join(subject.notes) or "as it should be", True


def _health(subject: Subject, tries: int = 3) -> Health:
    health: Health = "silent"
    for _ in range(tries):
        health = subject.health()
        if health == "answers":
            break
    return health
