"""How pytest runs a suite: every test is one row; what it came to is judged by `judge` and told to a listener.

In pytest's own words a row that fails or is inconclusive raises (`DutError`, `InconclusiveError`), advice is an
expected failure (xfail), a row that is not applicable or not tested is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from fieldrig.errors import ExpectationFailed, InconclusiveError

from .judge import Subject, judge
from .outcome import Requirement, Row


class Conformance:
    """The plug-in of one run against one subject; a suite adds the fixture by which its rows get the subject.

    Args:
        subject: who is judged.
        requirements: those of the suite, by id, in order.
        lines: the row for people.
        listener: is told every judged row.
        only: the beginnings of the ids of the rows to judge; empty: all.
    """

    def __init__(
        self,
        subject: Subject,
        requirements: Mapping[str, Requirement],
        lines: Callable[[Row], list[str]],
        listener: Callable[[Row], None],
        only: Sequence[str] = (),
    ) -> None:
        self._subject = subject
        self._listener = listener
        self._only = only
        self._lines = lines
        self._requirements = requirements

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Rows run in the order of the requirements; `only` selects them by the beginning of their id."""
        order = list(self._requirements)
        items.sort(key=lambda item: order.index(self._requirement(item).id))
        if self._only:
            items[:] = [item for item in items if self._requirement(item).id.startswith(tuple(self._only))]

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> object:
        """Judges the row."""
        row = self.judged(self._requirement(pyfuncitem), pyfuncitem.obj)
        self._listener(row)
        pyfuncitem.user_properties += [("conformance", row.verdict), ("level", row.requirement.level)]
        pyfuncitem.add_report_section("call", "stdout", "\n".join(self._lines(row)) + "\n")
        text = f"{row.requirement.id}: {row.says}"
        match row.verdict:
            case "fail":
                raise ExpectationFailed(text)
            case "inconclusive":
                raise InconclusiveError(text)
            case "advice":
                pytest.xfail(f"advice: {text}")
            case "not applicable" | "excluded by probe" | "not run" | "not tested":
                pytest.skip(f"{row.verdict}: {text}")
        return True

    def judged(self, requirement: Requirement, test: Callable[[Any], None]) -> Row:
        """What a row comes to."""
        return judge(requirement, test, self._subject)

    def _requirement(self, item: pytest.Item) -> Requirement:
        mark = item.get_closest_marker("requirement")
        assert mark is not None, f"{item.nodeid} cites no requirement"
        return self._requirements[mark.args[0]]
