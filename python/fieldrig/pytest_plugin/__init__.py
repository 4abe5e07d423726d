"""The pytest plug-in: bench file, profiles, devices as fixtures, measurements, verdicts.

Rules of this plug-in:

- Inert when unused: without a bench file it changes nothing and loads no native code.
- A device of the bench is a session fixture of its name; before each test its cursors start anew.
- The worst verdict of a test is its verdict: a later skip or teardown error never hides a recorded fail. What was
  measured in set-up and test is judged at the end of the test, what is measured after it at the end of tear-down.
- pytest's own exit codes stay pytest's.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from .results import Case, Results

if TYPE_CHECKING:
    from fieldrig.bench import Bench, BenchPlan
    from fieldrig.measure import Measure

PLAN = pytest.StashKey["BenchPlan"]()
RESULTS = pytest.StashKey[Results]()
BENCH = pytest.StashKey["Bench"]()
MEASURE = pytest.StashKey["Measure | None"]()
PROPERTIES = pytest.StashKey[int]()

MARKS = (
    "requirement(id, ...): the requirements this test judges",
    "measures(name, ..., min=None, max=None, unit=None): measurements this test must take; left unset, it fails",
)
TAKEN_NAMES = frozenset(
    "bench measure cache capsys capsysbinary capfd capfdbinary caplog doctest_namespace monkeypatch pytestconfig "
    "record_property record_testsuite_property record_xml_attribute recwarn request tmp_path tmp_path_factory "
    "tmpdir tmpdir_factory subtests worker_id testrun_uid".split()
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fieldrig", "fieldrig: devices, benches, verdicts")
    group.addoption("--bench", metavar="FILE", help="bench file; else $FIELDRIG_BENCH, ini fieldrig_bench, bench.toml")
    group.addoption(
        "--profile",
        action="append",
        metavar="[DUT=]PROFILE",
        help="how devices are provided: emulated or real; repeat with DUT=PROFILE to mix",
    )
    group.addoption(
        "--fieldrig-inconclusive",
        choices=("fail", "skip"),
        default="fail",
        help="what pytest shows for an inconclusive test (default: fail)",
    )
    group.addoption("--fieldrig-out", metavar="DIR", help="folder of the run: run log and trace (default: a new one)")
    group.addoption(
        "--fieldrig-trace",
        choices=("full", "ring", "counts"),
        default="full",
        help="what is kept of the frames on all links (default: full)",
    )
    parser.addini("fieldrig_bench", "bench file, relative to the ini file")


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    config.stash[RESULTS] = Results()
    path = _bench_file(config)
    if path is None:
        if config.getoption("--profile"):
            raise pytest.UsageError("--profile is given, but there is no bench: name one with --bench FILE")
        return
    plan = _load(config, path)
    config.stash[PLAN] = plan
    results = config.stash[RESULTS]
    results.bench = plan.name
    results.profiles = dict(plan.profiles)
    config.pluginmanager.register(_device_fixtures(plan), "fieldrig-devices")


def pytest_report_header(config: pytest.Config) -> list[str]:
    plan = config.stash.get(PLAN, None)
    if plan is None:
        return []
    return [plan.header()]


def pytest_unconfigure(config: pytest.Config) -> None:
    bench = config.stash.get(BENCH, None)
    if bench is not None:
        bench.close()


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The bench of the run, opened: its devices, links and run log.

    Raises:
        pytest.UsageError: no bench file was named or found.
    """
    config = request.config
    plan = config.stash.get(PLAN, None)
    if plan is None:
        raise pytest.UsageError("there is no bench: name one with --bench FILE, or put bench.toml beside the ini file")
    opened = plan.open(out=config.getoption("--fieldrig-out"), trace=config.getoption("--fieldrig-trace"))
    config.stash[BENCH] = opened
    results = config.stash[RESULTS]
    results.folder = str(opened.folder)
    results.files.update(opened.files())
    note = request.getfixturevalue("record_testsuite_property")
    for name, value in opened.properties():
        note(name, value)
    yield opened
    timing = opened.rig.timing_class
    if timing is not None:  # known once the lines were used
        note("timing_class", timing)
        results.facts["timing class"] = timing
    opened.close()


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Takes measurements: ``measure("alarm_latency", command.until(alarm), max="500ms")``; judged at the end."""
    return _measure(request.node)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    case = _results(item).case(item.nodeid)
    case.requirements = [str(name) for mark in item.iter_markers("requirement") for name in mark.args]
    # A test that is run again begins anew.
    item.stash[MEASURE] = None
    del item.user_properties[item.stash.setdefault(PROPERTIES, len(item.user_properties)) :]
    item.user_properties.extend(("requirement", name) for name in case.requirements)
    opened = item.config.stash.get(BENCH, None)
    if opened is not None:
        opened.restart(item.nodeid)
    try:
        return (yield)
    except BaseException as raised:
        _with_measurements(item, raised)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _with_outcome(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _with_outcome(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    raised = call.excinfo
    report = yield
    _restore(report, call, raised)
    case = _results(item).case(item.nodeid)
    case.duration += report.duration
    if call.excinfo is not None:
        _judge(item, call.excinfo.value, report, case)
    elif call.when == "call" and report.passed:
        case.worsen("pass", "", "")
    elif report.failed:
        case.worsen("error", "", str(report.longrepr))
    if call.when == "teardown":
        _close_case(item, case)
        report.user_properties = list(item.user_properties)
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    plan = config.stash.get(PLAN, None)
    results = config.stash[RESULTS]
    if plan is None or not results.cases:
        return
    counts = ", ".join(f"{count} {word}" for word, count in results.counts().items())
    terminalreporter.section("fieldrig", sep="-")
    terminalreporter.line(f"{plan.header()}: {counts}")
    for name, value in results.facts.items():
        terminalreporter.line(f"{name}: {value}")
    for kind, path in results.files.items():
        terminalreporter.line(f"{kind}: {path}")


def _judge(item: pytest.Item, error: BaseException, report: pytest.TestReport, case: Case) -> None:
    from .verdicts import judged, rewrite, skip_inconclusive

    if report.skipped:
        waived = getattr(report, "wasxfail", None)
        case.not_run = str(error) if waived is None else f"expected to fail: {waived}"
        return
    if not report.failed or isinstance(error, KeyboardInterrupt):
        return
    if isinstance(error, pytest.FixtureLookupError):
        error = _no_such_device(item, error)
    verdict, blame = judged(error, _uses_device(item))
    before = case.verdict
    text = case.text
    rewrite(report, item, case, error, blame)
    new_text, case.text = case.text, text
    case.worsen(verdict, blame, new_text)
    only_inconclusive = verdict == "inconclusive" and before in ("none", "pass", "inconclusive")
    if only_inconclusive and item.config.getoption("--fieldrig-inconclusive") == "skip":
        skip_inconclusive(report, item)


def _no_such_device(item: pytest.Item, missing: pytest.FixtureLookupError) -> BaseException:
    """A fixture that nobody knows may be a device: says what the bench has, or that a test of ours has no bench."""
    from fieldrig.errors import UsageError

    message = f"there is no fixture `{missing.argname}`"
    plan = item.config.stash.get(PLAN, None)
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


def _close_case(item: pytest.Item, case: Case) -> None:
    """Puts verdict and measurements into the properties and the run log."""
    taken = item.stash.get(MEASURE, None)
    if taken is not None:
        case.measurements = taken.taken
        for measurement in case.measurements:
            item.user_properties.extend(measurement.properties())
    if case.verdict != "none":
        item.user_properties.append(("verdict", case.verdict))
    opened = item.config.stash.get(BENCH, None)
    if opened is not None:
        opened.note_verdict(item.nodeid, case.verdict, case.text or case.not_run)


def _measure(item: pytest.Item) -> Measure:
    from fieldrig.measure import Measure

    known = item.stash.get(MEASURE, None)
    if known is not None:
        return known
    opened = item.config.stash.get(BENCH, None)
    declared = {str(name): dict(mark.kwargs) for mark in item.iter_markers("measures") for name in mark.args}
    stalled = opened.stalled_since_restart if opened is not None else lambda: 0
    note = opened.note_measurement if opened is not None else lambda measurement: None
    made = item.stash[MEASURE] = Measure(stalled, note, declared)
    return made


def _with_outcome(item: pytest.Item) -> Generator[None, Any, Any]:
    """A phase of a test, and then what its measurements say."""
    try:
        result = yield
    except BaseException as raised:
        _with_measurements(item, raised)
        raise
    outcome = _outcome(item)
    if outcome is not None:
        raise outcome
    return result


def _outcome(item: pytest.Item) -> Exception | None:
    """What the measurements say that were taken since they were asked last."""
    declared = next(item.iter_markers("measures"), None) is not None
    taken = item.stash.get(MEASURE, None)
    if taken is None:
        return _measure(item).settle() if declared else None
    return taken.settle()


def _restore(report: pytest.TestReport, call: pytest.CallInfo[None], raised: pytest.ExceptionInfo[Any] | None) -> None:
    """In a `unittest.TestCase` pytest puts what the test raised in the place of what its measurements said."""
    if raised is None or call.excinfo is None or raised is call.excinfo:
        return
    if isinstance(call.excinfo.value, pytest.skip.Exception):
        call.excinfo = raised
        report.outcome = "failed"
    else:
        call.excinfo.value.add_note(str(raised.value))


def _with_measurements(item: pytest.Item, raised: BaseException) -> None:
    """A measurement that failed is not hidden by a skip or a bench error that came after it."""
    from fieldrig.errors import BenchError, LimitExceeded

    taken = item.stash.get(MEASURE, None)
    outcome = taken.settle() if taken is not None and taken.taken else None
    if not isinstance(outcome, LimitExceeded):
        return
    if isinstance(raised, pytest.skip.Exception | pytest.xfail.Exception | BenchError):
        raise LimitExceeded(f"{outcome.message}\n  then: {raised}") from raised
    raised.add_note(str(outcome))


def _uses_device(item: pytest.Item) -> bool:
    plan = item.config.stash.get(PLAN, None)
    names = set(getattr(item, "fixturenames", ()))
    return plan is not None and bool(names & (set(plan.profiles) | {"bench"}))


def _results(item: pytest.Item) -> Results:
    return item.config.stash[RESULTS]


def _bench_file(config: pytest.Config) -> Path | None:
    """The bench file: option, environment, ini, `bench.toml` in the root folder; None if there is none."""
    given = config.getoption("--bench") or os.environ.get("FIELDRIG_BENCH")
    if given:
        if str(given).startswith("builtin"):
            from fieldrig.demo import builtin_bench

            return builtin_bench(str(given))
        path = config.invocation_params.dir / given
        if not path.is_file():
            raise pytest.UsageError(f"there is no bench file {given}")
        return path
    ini = str(config.getini("fieldrig_bench") or "")
    if ini:
        path = (config.inipath.parent if config.inipath else config.rootpath) / ini
        if not path.is_file():
            raise pytest.UsageError(f"there is no bench file {path} (ini fieldrig_bench)")
        return path
    found = config.rootpath / "bench.toml"
    return found if found.is_file() else None


def _load(config: pytest.Config, path: Path) -> BenchPlan:
    from fieldrig.bench import BenchPlan
    from fieldrig.errors import FieldrigError

    try:
        plan = BenchPlan.load(path, config.getoption("--profile") or [])
    except FieldrigError as error:
        raise pytest.UsageError(str(error)) from None
    clash = sorted({*plan.profiles, *plan.peers} & TAKEN_NAMES)
    if clash:
        raise pytest.UsageError(f"{path}: a device named `{clash[0]}` would hide the fixture of that name; rename it")
    return plan


def _device_fixtures(plan: BenchPlan) -> ModuleType:
    """A module with one session fixture for each device of the bench, for pytest to collect."""
    module = ModuleType("fieldrig_devices", "The devices of the bench.")
    for name in (*plan.profiles, *plan.peers):
        setattr(module, name, _device_fixture(name))
    return module


def _device_fixture(name: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def provide(bench: Bench) -> Any:
        device = bench.device(name)
        if device.not_run:
            pytest.skip(f"not run: {device.not_run}")
        return device

    provide.__doc__ = f"The device `{name}` of the bench."
    return provide


def results(config: pytest.Config) -> Results:
    """What the run of this configuration found: for command lines and reports."""
    return config.stash[RESULTS]
