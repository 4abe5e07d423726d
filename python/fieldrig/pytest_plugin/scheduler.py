"""How tests are dealt when several workers have one bench with real devices: imported only under pytest-xdist."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling


class BenchScheduling(LoadGroupScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """`--dist loadgroup`, in which all tests that may use the bench are one group."""

    def __init__(self, config: pytest.Config, log: Any, bound: Set[str]) -> None:
        super().__init__(config, log)
        self._bound = bound

    def _split_scope(self, nodeid: str) -> str:
        return "the bench" if nodeid in self._bound else super()._split_scope(nodeid)
