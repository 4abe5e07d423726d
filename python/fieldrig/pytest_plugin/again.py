"""Inconclusive tests that are run again: ``--fieldrig-retry-inconclusive=N``.

Rules of this file:

- Only what proved nothing is run again (``INCONCLUSIVE:``), and only the whole test. A fail never is, nor a bench
  error: so no pass comes after a fail.
- Without the option nothing is run again. The ini value counts where no hardware is touched; on a bench with a real
  device only the command line can say so, since whatever the test does to the device is done to it once more.
- Whether a test is run again is decided before its tear-down: fixtures of the module and the session stay as they are.
  What turns out in the tear-down ends that: the test is not run again, and what was found stays.
- Every attempt is reported: for pytest it is a skip that is counted apart (`run again`), with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from . import farm
from .results import Case
from .state import AGAIN, bench_of, case_of, plan_of


@dataclass
class Attempts:
    """The attempts at one test.

    Attributes:
        limit: so often it may be run again.
        made: so often it was.
        coming: the attempt that is under way proved nothing: another one follows.
        spoiled: what came after that decision forbids it: why.
    """

    limit: int
    made: int = 0
    coming: bool = False
    spoiled: str = ""


def add(parser: pytest.Parser, group: Any) -> None:
    """Adds the option and the ini value."""
    group.addoption(
        "--fieldrig-retry-inconclusive",
        type=int,
        metavar="N",
        help="run a test that was inconclusive again, N times at most; every attempt is reported (default: 0)",
    )
    parser.addini("fieldrig_retry_inconclusive", "the same; counts only on benches without real devices", default="0")


def check(config: pytest.Config) -> None:
    """Refuses numbers that are none.

    Raises:
        pytest.UsageError: the option or the ini value is no number from 0 on.
    """
    ini = str(config.getini("fieldrig_retry_inconclusive"))
    if not ini.isdecimal():
        raise pytest.UsageError(f"fieldrig_retry_inconclusive = {ini} is no number of attempts: write 0, 1, 2, ..")
    given = config.getoption("--fieldrig-retry-inconclusive")
    if given is not None and given < 0:
        raise pytest.UsageError(f"--fieldrig-retry-inconclusive={given} is no number of attempts: write 0, 1, 2, ..")


def run(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """The protocol of a test that may be run again; None leaves it to pytest and to other plug-ins."""
    if item.stash.get(AGAIN, None) is not None:
        return None  # within our own call below
    limit = _limit(item)
    if not limit:
        return None
    attempts = item.stash[AGAIN] = Attempts(limit)
    try:
        while True:
            may_follow = attempts.made < attempts.limit and not attempts.spoiled
            then = _Next.of(item, nextitem, attempts) if may_follow else nextitem
            attempts.coming = False
            item.ihook.pytest_runtest_protocol(item=item, nextitem=then)
            if not attempts.coming:
                return True
            attempts.made += 1
    finally:
        del item.stash[AGAIN]


def _limit(item: pytest.Item) -> int:
    given = item.config.getoption("--fieldrig-retry-inconclusive")
    if given is not None:
        return int(given)
    plan = plan_of(item.config)
    if plan is not None and farm.is_exclusive(plan):
        return 0
    return int(item.config.getini("fieldrig_retry_inconclusive"))


class _Next(pytest.Item):
    """What pytest is told comes next, so that it tears down the right things: the same test, or the one behind it."""

    real: pytest.Item | None
    attempts: Attempts

    @classmethod
    def of(cls, item: pytest.Item, real: pytest.Item | None, attempts: Attempts) -> _Next:
        """Stands before ``real``, as long as no other attempt at ``item`` comes."""
        assert item.parent is not None
        made: _Next = cls.from_parent(item.parent, name=item.name)
        made.real, made.attempts = real, attempts
        return made

    def runtest(self) -> None:
        """It is never run: it is only named."""
        raise NotImplementedError

    def listchain(self) -> list[Any]:
        """The nodes that stay set up: those above the test, or above the next one."""
        if self.attempts.coming:
            return super().listchain()
        return self.real.listchain() if self.real is not None else []


def refuse_if_spoiled(item: pytest.Item) -> None:
    """In set-up: the attempt does not take place if the tear-down of the one before it found something.

    Raises:
        pytest.skip.Exception: it did.
    """
    attempts = item.stash.get(AGAIN, None)
    if attempts is not None and attempts.spoiled:
        pytest.skip(f"not run again: {attempts.spoiled}")


def take(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Looks at what a phase came to, once it is judged: is another attempt to follow?"""
    attempts = item.stash.get(AGAIN, None)
    if attempts is None:
        return
    case = case_of(item)
    unproven = case.verdict == "inconclusive" and case.blame == "INCONCLUSIVE"
    if call.when != "teardown":
        over = item.session.shouldstop or item.session.shouldfail
        attempts.coming = unproven and attempts.made < attempts.limit and not over
    elif attempts.coming and (not unproven or not _is_inconclusive(call)):
        attempts.spoiled = case.text.partition("\n")[0] if not unproven else "its tear-down failed"
    if attempts.coming and not attempts.spoiled and call.excinfo is not None and _is_inconclusive(call):
        _show(item, report, case, attempts)


def _is_inconclusive(call: pytest.CallInfo[None]) -> bool:
    """Whether a phase ended well, or proved nothing."""
    from fieldrig.errors import InconclusiveError

    return call.excinfo is None or isinstance(call.excinfo.value, InconclusiveError)


def _show(item: pytest.Item, report: pytest.TestReport, case: Case, attempts: Attempts) -> None:
    from .verdicts import show_as_skip

    said = case.text.partition("\n")[0]
    show_as_skip(report, item, f"{said} (run again: attempt {attempts.made + 1} of {attempts.limit + 1})")
    report.fieldrig_again = True  # type: ignore[attr-defined]
    opened = bench_of(item.config)
    if opened is not None and report.when != "teardown":
        opened.rig.log("test.again", test=case.nodeid, attempt=attempts.made + 1, of=attempts.limit + 1, why=said)


def status(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """How pytest counts and shows the report of an attempt after which another follows."""
    if getattr(report, "fieldrig_again", False):
        return "run again", "r", ("RUN AGAIN", {"yellow": True})
    return None
