"""Measurements within the phases of a test: what was measured in a phase is judged at its end.

What was measured in set-up and test is judged at the end of the test, what is measured after it at the end of
tear-down. Nothing that ends a phase early hides a measurement that failed: a skip, an xfail, a bench error, and the
end of the whole run neither.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from . import broken
from .state import MEASURE, bench_of, case_of

if TYPE_CHECKING:
    from fieldrig.measure import Measure


def of(item: pytest.Item) -> Measure:
    """What the fixture `measure` gives to a test."""
    from fieldrig.measure import Measure

    known = item.stash.get(MEASURE, None)
    if known is not None:
        return known
    opened = bench_of(item.config)
    declared = {str(name): dict(mark.kwargs) for mark in item.iter_markers("measures") for name in mark.args}
    stalled = opened.stalled_since_restart if opened is not None else lambda length_ns: 0
    note = opened.note_measurement if opened is not None else lambda measurement: None
    made = item.stash[MEASURE] = Measure(stalled, note, declared, partial(broken.why_before, item))
    return made


def phase(item: pytest.Item) -> Generator[None, Any, Any]:
    """A phase of a test, and then what its measurements say."""
    try:
        result = yield
    except BaseException as raised:
        after(item, raised)
        raise
    outcome = _outcome(item)
    if outcome is not None:
        raise outcome
    return result


def after(item: pytest.Item, raised: BaseException) -> None:
    """A measurement that failed is not hidden by what ended the phase.

    Raises:
        LimitExceeded: in the place of a skip, an xfail or a bench error.
    """
    from fieldrig.errors import BenchError, LimitExceeded

    taken = item.stash.get(MEASURE, None)
    outcome = taken.settle(cut_short=True) if taken is not None and taken.taken else None
    if isinstance(raised, pytest.exit.Exception | KeyboardInterrupt):
        _at_the_end_of_the_run(item, outcome, raised)
    if not isinstance(outcome, LimitExceeded):
        return
    if isinstance(raised, pytest.skip.Exception | pytest.xfail.Exception | BenchError):
        raise LimitExceeded(f"{outcome.message}\n  then: {raised}") from raised
    raised.add_note(str(outcome))


def _at_the_end_of_the_run(item: pytest.Item, outcome: Exception | None, raised: BaseException) -> None:
    """pytest makes no report of a test in which the run is ended: its verdict is taken here."""
    from fieldrig.errors import LimitExceeded

    case = case_of(item)
    case.not_run = f"the run was ended in it: {raised or type(raised).__name__}"
    if isinstance(outcome, LimitExceeded):
        case.worsen("fail", outcome.blame, str(outcome))
    opened = bench_of(item.config)
    if opened is not None:
        opened.note_verdict(case.nodeid, case.settled.verdict, case.text or case.not_run)


def _outcome(item: pytest.Item) -> Exception | None:
    """What the measurements say that were taken since they were asked last."""
    declared = next(item.iter_markers("measures"), None) is not None
    taken = item.stash.get(MEASURE, None)
    if taken is None:
        return of(item).settle() if declared else None
    return taken.settle()
