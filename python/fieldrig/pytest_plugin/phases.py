"""The set-up of a test: its case begins, the bench is made ready for it, and only then the test's own set-up runs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from . import again, devices, lines, marks, measuring
from .state import MEASURE, PROPERTIES, bench_of, case_of, plan_of


def setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Set-up. A test that is run again begins anew."""
    case = case_of(item)
    case.begin()
    case.requirements = cited(item)
    item.stash[MEASURE] = None
    del item.user_properties[item.stash.setdefault(PROPERTIES, len(item.user_properties)) :]
    item.user_properties.extend(("requirement", name) for name in case.requirements)
    try:
        return (yield)
    except BaseException as raised:
        measuring.after(item, raised)
        raise


def cited(item: pytest.Item) -> list[str]:
    """The requirements that a test judges."""
    return [str(name) for mark in item.iter_markers("requirement") for name in mark.args]


class Ready:
    """Makes the open bench ready for a test, as the first step of its set-up; not before that of any other plug-in."""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Raises what `ready` does; a skip, if the test must not be run again."""
        again.refuse_if_spoiled(item)
        ready(item)


def ready(item: pytest.Item) -> None:
    """Makes the open bench ready for a test.

    Raises:
        UsageError: a mark of the test is wrong, or for a bench, and there is none.
        BenchError: what the test needs went down in an earlier test and could not be recovered.
    """
    marks.check(item)
    plan, opened = plan_of(item.config), bench_of(item.config)
    if plan is not None and opened is not None:
        opened.check_up(item.nodeid, devices.named(item, plan))
        opened.restart(item.nodeid)
        lines.begin(item, opened)
