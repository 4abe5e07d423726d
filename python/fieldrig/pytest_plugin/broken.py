"""Models and handlers that broke: whatever a test says after that, the bench was not what it should have been.

Rules of this file:

- What a test raises after a model or handler broke may be its consequence: it is the bench's error, and what the test
  said is a note of that. That holds for an accusation of the device, too: it is the word of a test that looked at a
  broken bench.
- A measurement that failed before any model broke is proven: it stays the verdict, and the bench's error is its note.
  A measurement that fails afterwards is inconclusive when it is taken (``Measure``).
- A fail of an earlier phase stays what it is.
- A device that is a program, and has ended by itself, proves nothing: neither a fail nor a pass of a test that uses it
  stands. Of an error of the bench the end of the program is a note.
- An accusation of the device whose line had errors meanwhile is inconclusive in the same way (``lines.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any

import pytest

from fieldrig.errors import BenchError, LimitExceeded

from . import devices, lines
from .state import ENDED, MEASURE, bench_of

ENDING = 0.5
"""A program that has closed its sockets has so many seconds to be gone."""


def phase(item: pytest.Item, inner: Generator[None, Any, Any]) -> Generator[None, Any, Any]:
    """A phase of a test, and then whether a model broke in it.

    Raises:
        BenchError: one did, in the place of what the test says, which is kept as a note: a device whose surroundings
            are broken must not be accused. Not in the place of a measurement that had failed before.
    """
    try:
        result = yield from inner
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException as raised:
        problem = _problem(item)
        ended = _ended(item, ENDING) if problem is None else None
        if ended is not None and isinstance(raised, BenchError):
            raised.add_note(f"  because: {ended.message}")
            raise
        problem = problem or ended
        doubted = _doubt(item, raised) if problem is None else None
        problem = problem or doubted
        if problem is None or problem is raised:
            raise
        if isinstance(raised, LimitExceeded) and _is_proven(item) and doubted is None and ended is None:
            raised.add_note(f"  then: {problem}")
            raise
        text = str(raised).partition("\n")[0]
        problem.add_note(f"  then: {text or type(raised).__name__}")
        raise problem from raised
    problem = _problem(item) or _ended(item)
    if problem is not None:
        raise problem
    return result


def why_before(item: pytest.Item) -> str | None:
    """What broke so far, in short; None if nothing did. Asking takes nothing away."""
    opened = bench_of(item.config)
    model = opened.why_broken() if opened is not None else None
    handling = sys.modules.get("fieldrig.handling")
    handler: str | None = handling.why_broken() if handling is not None else None
    return model or handler


def _doubt(item: pytest.Item, raised: BaseException) -> Exception | None:
    """Why an accusation of the device cannot stand although no model broke: the bench's own line had errors."""
    from .verdicts import accuses

    return lines.doubt(item) if accuses(raised, bool(devices.judged(item))) else None


def begin(item: pytest.Item) -> None:
    """A test begins, or is run again."""
    item.stash[ENDED] = False


def _ended(item: pytest.Item, wait: float = 0) -> BenchError | None:
    """Which program that is a device of the test has ended by itself, or does within a time (s); told once in a test.

    A test may see its sockets closed before the process is gone.
    """
    opened = bench_of(item.config)
    if opened is None or not opened.life.programs or item.stash.get(ENDED, False):
        return None
    problem = opened.life.ended_program(devices.judged(item), wait)
    item.stash[ENDED] = problem is not None
    return problem


def _is_proven(item: pytest.Item) -> bool:
    taken = item.stash.get(MEASURE, None)
    return taken is not None and taken.proven


def _problem(item: pytest.Item) -> Exception | None:
    opened = bench_of(item.config)
    model = opened.broken_models() if opened is not None else None
    handling = sys.modules.get("fieldrig.handling")
    handler: BenchError | None = handling.take() if handling is not None else None
    if model is not None and handler is not None:
        model.add_note(f"  and: {handler.message}")
    return model or handler
