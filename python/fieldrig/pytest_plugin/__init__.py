"""The pytest plug-in: bench file, profiles, devices as fixtures, measurements, verdicts, waivers, requirements, farms.

Rules of this plug-in:

- Inert when unused: without a bench file it changes nothing and loads no native code.
- A device of the bench is a session fixture of its name; before each test its cursors start anew.
- The worst verdict of a test is its verdict: nothing that comes later hides a recorded fail.
- A test that was not run says why, and never passes.
- pytest's own exit codes stay pytest's; a run that must be red beside its tests ends as if a test had failed.

This file holds the hooks; each concern has a file: `options`, `devices`, `marks`, `phases` (set-up), `measuring`,
`reports` and `verdicts` (from exception to verdict), `again` (what proved nothing is run again), `results`, `session`
(the open bench), `gates` (with `waivers` and `requirements`), `farm` (pytest-xdist), `summary`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import again, broken, devices, farm, marks, masking, measuring, options, phases, reach, reports, summary
from . import gates as gates_
from . import session as session_
from .results import Results
from .state import GATES, PLAN, RESULTS, case_of, name_of, plan_of

if TYPE_CHECKING:
    from fieldrig.bench import Bench, BenchPlan
    from fieldrig.measure import Measure

HEADERS: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    for mark in options.MARKS:
        config.addinivalue_line("markers", mark)
    again.check(config)
    results = config.stash[RESULTS] = Results()
    plans = _plans(config)
    config.stash[HEADERS] = [plan.header() for plan in plans]
    masking.learn(config, plans)
    if plans:
        config.stash[PLAN] = plans[0]
        results.bench = ", ".join(plan.name for plan in plans)
        for plan in plans:
            prefix = f"{plan.name}." if len(plans) > 1 else ""
            results.profiles.update({f"{prefix}{name}": profile for name, profile in plan.profiles.items()})
        config.pluginmanager.register(devices.fixtures(plans[0]), "fieldrig-devices")
    config.pluginmanager.register(phases.Ready(), "fieldrig-ready")
    config.stash[GATES] = gates_.load(config, plan_of(config))
    if farm.is_controller(config):
        folder = _folder(config)
        results.folder = str(folder) if plans else ""
        config.pluginmanager.register(farm.Controller(plans, folder), "fieldrig-farm")


def _plans(config: pytest.Config) -> list[BenchPlan]:
    """The benches of the run: in a worker the one dealt to it, in the controller all, else the only one."""
    dealt = farm.given(config).get("bench")
    paths = [Path(dealt)] if dealt else options.bench_files(config)
    if not paths:
        if config.getoption("--profile"):
            raise pytest.UsageError("--profile is given, but there is no bench: name one with --bench FILE")
        return []
    plans = [options.load(config, path) for path in paths]
    if len(plans) > 1 and not farm.is_controller(config):
        if not config.getoption("collectonly"):
            raise pytest.UsageError(f"{len(plans)} benches need as many workers: pytest-xdist with -n {len(plans)}")
        del plans[1:]
    return plans


def _folder(config: pytest.Config) -> Path:
    from fieldrig.bench import new_folder

    given = config.getoption("--fieldrig-out")
    return Path(given) if given else new_folder()


def pytest_report_header(config: pytest.Config) -> list[str]:
    plan = plan_of(config)
    timing = [] if plan is None else [reach.header(plan.clock == "virtual")]
    return config.stash[HEADERS] + timing


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    devices.each_dut(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    farm.remember(config, items)
    marks.apply(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    config = session.config
    config.stash[GATES].selected = {name_of(item) for item in session.items}
    plan = plan_of(config)
    if plan is not None:
        farm.tell_who_uses_the_bench(config, session.items, plan)


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The bench of the run, opened: its devices, links and run log.

    Raises:
        UsageError: no bench file was named or found.
    """
    out = farm.given(request.config).get("folder") or request.config.getoption("--fieldrig-out")
    note = request.getfixturevalue("record_testsuite_property")
    yield from session_.use(request.session, note, None if out is None else Path(out))


@pytest.fixture(scope="session")
def dut(request: pytest.FixtureRequest) -> Any:
    """A device of the bench: in a test marked `each_dut` each of them in turn.

    Raises:
        UsageError: the test is not marked `each_dut`.
    """
    from fieldrig.errors import UsageError

    name = getattr(request, "param", None)
    if name is None:
        hint = "@pytest.mark.each_dut(), or the name of a device as the fixture"
        raise UsageError("the fixture `dut` is for tests that are marked each_dut", hint=hint)
    return devices.usable(request.getfixturevalue("bench"), str(name))


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Takes measurements: ``measure("alarm_latency", command.until(alarm), max="500ms")``; judged at the end."""
    return measuring.of(request.node)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    return again.run(item, nextitem)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> Any:
    return again.status(report)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    broken.begin(item)
    return (yield from broken.phase(item, phases.setup(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from broken.phase(item, measuring.phase(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from broken.phase(item, measuring.phase(item)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    raised = call.excinfo
    report = yield
    reports.take(item, call, report, raised)
    again.take(item, call, report)
    masking.test(report, item)
    if farm.is_worker(item.config):
        farm.attach(report, item, case_of(item))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Asks the gates, after all fixtures were torn down and before the summary is printed."""
    result = yield
    session_.doubt(session.config.stash[RESULTS])
    if farm.is_worker(session.config):
        farm.leave(session.config)
    else:
        _settle(session)
    return result


def _settle(session: pytest.Session) -> None:
    config = session.config
    results, gates = config.stash[RESULTS], config.stash[GATES]
    if config.getoption("collectonly"):
        return
    gates.settle(results)
    masking.whole(config, results)
    if gates_.is_red(results, config.getoption("--fieldrig-inconclusive") == "skip") and session.exitstatus in (
        pytest.ExitCode.OK,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    folder = results.folder or (config.getoption("--fieldrig-out") if gates.used else "")
    if folder and results.cases:
        results.files.update(gates.write(Path(folder), results))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    results, gates = config.stash[RESULTS], config.stash[GATES]
    if not results.cases or not (plan_of(config) is not None or gates.used or results.problems):
        return
    headers = config.stash[HEADERS]
    terminalreporter.section("fieldrig", sep="-")
    for line in summary.lines(headers, results, gates):
        terminalreporter.line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    session_.close(config)


def results(config: pytest.Config) -> Results:
    """What the run of this configuration found: for command lines and reports."""
    return config.stash[RESULTS]
