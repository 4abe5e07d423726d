"""Secrets of the bench are masked in whatever pytest prints and writes of a test.

Not masked is what never comes to us: output of a test that pytest does not capture (``-s``), and names of tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from .state import SECRETS, case_of

if TYPE_CHECKING:
    from fieldrig._core import Secrets
    from fieldrig.bench import BenchPlan

    from .results import Results


def learn(config: pytest.Config, plans: Sequence[BenchPlan]) -> None:
    """Takes the secrets of the benches of the run."""
    if plans:
        from fieldrig._core import Secrets

        config.stash[SECRETS] = Secrets(secret for plan in plans for secret in plan.secret_texts)


def text(config: pytest.Config, text: str) -> str:
    """A text without the secrets of the run."""
    secrets = config.stash.get(SECRETS, None)
    return secrets.mask(text) if secrets else text


def whole(config: pytest.Config, results: Results) -> None:
    """Masks what was added to the results at the end of the run, beside the reports of tests."""
    results.problems = [text(config, problem) for problem in results.problems]
    for case in results.cases.values():
        case.text, case.not_run = text(config, case.text), text(config, case.not_run)
        for attempt in case.attempts:
            attempt.text, attempt.not_run = text(config, attempt.text), text(config, attempt.not_run)


def test(report: pytest.TestReport, item: pytest.Item) -> None:
    """Masks secrets in the report of a phase, and in the case of its test."""
    secrets = item.config.stash.get(SECRETS, None)
    if not secrets:
        return
    case = case_of(item)
    hide = secrets.mask
    case.text, case.not_run = hide(case.text), hide(case.not_run)
    report.sections[:] = [(hide(name), hide(text)) for name, text in report.sections]
    report.user_properties[:] = [(name, _masked(value, secrets)) for name, value in report.user_properties]
    if isinstance(report.longrepr, tuple):  # a skip
        path, line, reason = report.longrepr
        report.longrepr = (path, line, hide(reason))
    elif report.longrepr is not None:
        shown = report.longreprtext
        masked = hide(shown)
        if masked != shown:
            report.longrepr = masked


def _masked(value: Any, secrets: Secrets) -> Any:
    return secrets.mask(value) if isinstance(value, str) else value
