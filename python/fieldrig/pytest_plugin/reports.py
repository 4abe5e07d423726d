"""From pytest's report of a phase to the verdict of a test."""

from __future__ import annotations

from typing import Any

import pytest

from . import devices, farm, lines
from .results import Case
from .state import GATES, MEASURE, bench_of, case_of, plan_of


def take(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, raised: Any) -> None:
    """Judges a phase, and closes the case after the last one."""
    _restore(report, call, raised)
    case = case_of(item)
    case.duration += report.duration
    if call.excinfo is not None:
        _judge(item, call.excinfo.value, report, case)
    elif call.when == "call" and report.passed:
        case.worsen("pass", "", "")
    elif report.failed:
        case.worsen("error", "", str(report.longrepr))
    if call.when == "teardown":
        _close(item, case)
        report.user_properties = list(item.user_properties)


def _restore(report: pytest.TestReport, call: pytest.CallInfo[None], raised: pytest.ExceptionInfo[Any] | None) -> None:
    """In a `unittest.TestCase` pytest puts what the test raised in the place of what its measurements said."""
    if raised is None or call.excinfo is None or raised is call.excinfo:
        return
    if isinstance(call.excinfo.value, pytest.skip.Exception):
        call.excinfo = raised
        report.outcome = "failed"
    else:
        call.excinfo.value.add_note(str(raised.value))


def _judge(item: pytest.Item, error: BaseException, report: pytest.TestReport, case: Case) -> None:
    from .verdicts import accused, judged, rewrite, show_as_skip

    if report.skipped:
        expected = getattr(report, "wasxfail", None)
        case.not_run = str(error) if expected is None else f"expected to fail: {expected}"
        return
    if not report.failed or isinstance(error, KeyboardInterrupt):
        return
    if isinstance(error, pytest.FixtureLookupError):
        error = _no_such_device(item, error)
    case.devices = devices.judged(item)
    error = accused(error, bool(case.devices))
    verdict, blame = judged(error, bool(case.devices))
    gates = item.config.stash[GATES]
    waiver = gates.waiver(case) if verdict == "fail" else None
    if waiver is None and verdict == "fail" and (remark := gates.expired(case)):
        error.add_note(f"  {remark}")
    text = rewrite(report, item, error, blame)
    _tell_bench(item, error, case)
    before = case.verdict
    if waiver is not None:
        case.waived, case.text = waiver, text
        show_as_skip(report, item, f"{waiver}: {text.partition(chr(10))[0]}")
        return
    case.worsen(verdict, blame, text)
    only_inconclusive = verdict == "inconclusive" and before in ("none", "pass", "inconclusive")
    if only_inconclusive and item.config.getoption("--fieldrig-inconclusive") == "skip":
        show_as_skip(report, item, report.longreprtext)


def _tell_bench(item: pytest.Item, error: BaseException, case: Case) -> None:
    """A link that was lost is recovered, or given up for the rest of the run."""
    opened = bench_of(item.config)
    if opened is not None:
        opened.after_error(error, case.nodeid)


def _no_such_device(item: pytest.Item, missing: pytest.FixtureLookupError) -> BaseException:
    """A fixture that nobody knows may be a device: says what the bench has, or that a test of ours has no bench."""
    from fieldrig.errors import UsageError

    message = f"there is no fixture `{missing.argname}`"
    plan = plan_of(item.config)
    if plan is not None:
        known = ", ".join(plan.profiles) or "none"
        return UsageError(f"{message}, and the bench {plan.name} has no such device; it has: {known}")
    beside = item.path.parent / "bench.toml"
    if beside.is_file():
        hint = f"{beside} is not in the root folder {item.config.rootpath}: name it with --bench"
    elif {"measure", "bench"} & set(getattr(item, "fixturenames", ())):
        hint = f"a device comes with its bench: --bench FILE, or bench.toml in {item.config.rootpath}"
    else:
        return missing
    return UsageError(f"{message}, and there is no bench", hint=hint)


def _close(item: pytest.Item, case: Case) -> None:
    """Puts verdict and measurements into the properties and the run log."""
    taken = item.stash.get(MEASURE, None)
    if taken is not None:
        case.measurements = taken.taken
        for measurement in case.measurements:
            item.user_properties.extend(measurement.properties())
    found = lines.properties(item)
    item.user_properties.extend(found)
    case.devices = devices.judged(item)
    verdict = "waived" if case.word == "waived" else case.settled.verdict
    if verdict != "none":
        item.user_properties.append(("verdict", verdict))
    if case.waived:
        item.user_properties.append(("waiver", case.waived))
    if case.attempts:
        item.user_properties.append(("attempts", case.history().removeprefix("attempts: ")))
    opened = bench_of(item.config)
    if opened is not None and farm.is_worker(item.config):
        item.user_properties.extend(opened.properties())  # the suite belongs to the controller, which has no bench
    if opened is not None:
        for _, text in found:
            opened.rig.log("line.errors", test=case.nodeid, text=text)
        opened.note_verdict(case.nodeid, verdict, case.text or case.not_run)
