"""Models that broke: whatever a test said meanwhile, the bench was not what it should have been."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from .state import bench_of


def phase(item: pytest.Item, inner: Generator[None, Any, Any]) -> Generator[None, Any, Any]:
    """A phase of a test, and then whether a model broke in it.

    Raises:
        BenchError: one did, in the place of what the test says, which is kept as a note: a device whose surroundings
            are broken must not be accused.
    """
    try:
        result = yield from inner
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException as raised:
        problem = _problem(item)
        if problem is None or problem is raised:
            raise
        text = str(raised).partition("\n")[0]
        problem.add_note(f"  then: {text or type(raised).__name__}")
        raise problem from raised
    problem = _problem(item)
    if problem is not None:
        raise problem
    return result


def _problem(item: pytest.Item) -> Exception | None:
    opened = bench_of(item.config)
    return opened.broken_models() if opened is not None else None
