"""What the plug-in keeps with pytest's configuration and with each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .results import Case, Results

if TYPE_CHECKING:
    from fieldrig.bench import Bench, BenchPlan
    from fieldrig.measure import Measure

    from .._core import LineCounts, Secrets
    from .again import Attempts
    from .gates import Gates

PLAN: pytest.StashKey[BenchPlan] = pytest.StashKey()
RESULTS: pytest.StashKey[Results] = pytest.StashKey()
BENCH: pytest.StashKey[Bench] = pytest.StashKey()
GATES: pytest.StashKey[Gates] = pytest.StashKey()
SECRETS: pytest.StashKey[Secrets] = pytest.StashKey()

MEASURE: pytest.StashKey[Measure | None] = pytest.StashKey()
PROPERTIES: pytest.StashKey[int] = pytest.StashKey()
NODEID: pytest.StashKey[str] = pytest.StashKey()
LINES: pytest.StashKey[dict[str, LineCounts]] = pytest.StashKey()
ENDED: pytest.StashKey[bool] = pytest.StashKey()
AGAIN: pytest.StashKey[Attempts] = pytest.StashKey()


def plan_of(config: pytest.Config) -> BenchPlan | None:
    """The bench file of the run, read and resolved; None without one."""
    return config.stash.get(PLAN, None)


def bench_of(config: pytest.Config) -> Bench | None:
    """The bench of the run if it is open."""
    return config.stash.get(BENCH, None)


def name_of(item: pytest.Item) -> str:
    """The node id of a test as its author knows it: without the group that pytest-xdist appends."""
    return item.stash.get(NODEID, item.nodeid)


def case_of(item: pytest.Item) -> Case:
    """The entry of a test in the results of the run."""
    return item.config.stash[RESULTS].case(name_of(item))
