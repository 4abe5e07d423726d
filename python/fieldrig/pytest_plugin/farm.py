"""Several workers: pytest-xdist.

Rules of this file:

- The controller deals the bench files to the workers. A bench with real devices has one worker at a time: if there are
  more workers, everything that may use it goes to the same one (`--dist loadgroup`). An emulated bench exists once in
  each worker that uses it.
- Each worker writes its own folder, below that of the run.
- A worker sends the case of a test with each report, and all cases at its end; the controller puts them together, so
  that summary, gates and report are made in one place. The test in which a worker dies is the bench's error.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .results import Attempt, Case, Results
from .state import GATES, NODEID, RESULTS

if TYPE_CHECKING:
    from fieldrig.bench import BenchPlan


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is a worker of pytest-xdist."""
    return hasattr(config, "workerinput")


def is_controller(config: pytest.Config) -> bool:
    """Whether this process deals tests to workers of pytest-xdist, and runs none itself."""
    deals = config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))
    return deals and not is_worker(config) and not config.getoption("collectonly")


def given(config: pytest.Config) -> dict[str, Any]:
    """What the controller gave to this worker; empty outside of a worker."""
    found: dict[str, Any] = getattr(config, "workerinput", {}).get("fieldrig", {})
    return found


def is_exclusive(plan: BenchPlan) -> bool:
    """Whether only one process at a time can use a bench: it has real devices, or ports that are locked."""
    real = any(device.profile == "real" and not device.not_run for device in plan.devices.values())
    return real or plan.locks


def tell_who_uses_the_bench(config: pytest.Config, items: list[pytest.Item], plan: BenchPlan) -> None:
    """In a worker, before its tests are dealt: tells the controller which of them must go to the worker of the bench.

    A test that can ask for fixtures as it runs is one of them, too.
    """
    path = given(config).get("bound")
    if path:
        names = {"bench", "request", "dut", *plan.devices}
        bound = [item.nodeid for item in items if names & set(getattr(item, "fixturenames", ()))]
        Path(path).write_text(json.dumps(bound), encoding="utf-8")


class Controller:
    """The part of the plug-in that runs in the controller of pytest-xdist."""

    def __init__(self, plans: list[BenchPlan], folder: Path) -> None:
        self._plans = plans
        self._folder = folder
        self._dealt: dict[str, BenchPlan] = {}
        self._shared: Path | None = None
        """Where workers say which tests use the bench, if it has one worker and there are more."""
        self._bound: set[str] = set()
        self._lost: dict[str, list[Attempt]] = {}
        """What dead workers made of tests that others run again."""
        self._each = False

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: list[Any]) -> None:
        """Checks that the workers can share the benches."""
        dist = str(config.getoption("dist"))
        self._each = dist == "each"
        exclusive = [plan for plan in self._plans if is_exclusive(plan)]
        workers = len(specs)
        if workers < len(self._plans):
            raise pytest.UsageError(
                f"{len(self._plans)} benches for {workers} workers: each bench needs one; use -n {len(self._plans)}"
            )
        if exclusive and workers > len(self._plans) == len(exclusive):
            if len(self._plans) > 1:
                raise pytest.UsageError(
                    f"{workers} workers cannot share {len(exclusive)} benches of real devices; use -n {len(exclusive)}"
                )
            if dist != "loadgroup":
                raise pytest.UsageError(
                    f"{workers} workers cannot share the real devices of the bench {exclusive[0].name}: use "
                    "--dist loadgroup (all tests with a device go to one worker), -n 1, or one --bench for each worker"
                )
            self._shared = Path(tempfile.mkdtemp(prefix="fieldrig-"))
        if not self._each:
            _same_devices(self._plans)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Deals a bench to a worker: the one with the fewest workers; one with real devices only if it has none."""
        worker = node.gateway.id
        input_ = {"folder": str((self._folder / worker).absolute())}
        if self._shared is not None:
            input_["bound"] = str(self._shared / worker)
        if self._plans:
            plan = min(self._plans, key=self._load)
            self._dealt[worker] = plan
            input_["bench"] = str(plan.path.absolute())
        node.workerinput["fieldrig"] = input_

    def _load(self, plan: BenchPlan) -> tuple[bool, int]:
        workers = sum(dealt is plan for dealt in self._dealt.values())
        return (workers > 0 and is_exclusive(plan) and self._shared is None, workers)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """One worker for the bench. The groups of pytest-xdist itself get lost under pytest 9.2 and newer."""
        if self._shared is None:
            return None
        from .scheduler import BenchScheduling

        return BenchScheduling(config, log, self._bound)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Takes what the worker said about its tests."""
        if self._shared is not None:
            self._bound.update(json.loads((self._shared / node.gateway.id).read_text(encoding="utf-8")))

    def pytest_unconfigure(self) -> None:
        """Forgets it again."""
        if self._shared is not None:
            shutil.rmtree(self._shared, ignore_errors=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker ended: what it says at its end, or that its bench is free for the worker in its place."""
        worker = node.gateway.id
        self._dealt.pop(worker, None)
        said = getattr(node, "workeroutput", {}).get("fieldrig")
        if said is None:
            return
        config = node.config
        results, gates = config.stash[RESULTS], config.stash[GATES]
        for data in said["cases"]:
            self.take(results, data)
        for nodeid, cited in said["collected"].items():
            gates.collected[self._key(nodeid, worker, said["bench"])] = cited
        gates.selected.update(self._key(nodeid, worker, said["bench"]) for nodeid in said["selected"])
        results.problems += [problem for problem in said["problems"] if problem not in results.problems]
        results.files.update({f"{kind} of {worker}": path for kind, path in said["files"].items()})
        results.facts.update({f"{name} of {worker}": value for name, value in said["facts"].items()})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the case that came with a report."""
        node = getattr(report, "node", None)
        if node is None:
            return
        results = node.config.stash[RESULTS]
        data = getattr(report, "fieldrig", None)
        if data is not None:
            self.take(results, data)
        elif report.when not in ("setup", "call", "teardown"):
            self._crashed(results, report, node.gateway.id)

    def take(self, results: Results, data: dict[str, Any]) -> None:
        """Takes a case of a worker; what another worker made of the same test before stays as an attempt."""
        case = Case.from_plain(data)
        case.nodeid = self._key(case.nodeid, case.worker, case.bench)
        before = results.cases.get(case.nodeid)
        if before is not None and before.worker != case.worker:
            before.begin()
            self._lost[case.nodeid] = before.attempts
        case.attempts = [*self._lost.get(case.nodeid, ()), *case.attempts]
        results.cases[case.nodeid] = case

    def _crashed(self, results: Results, report: pytest.TestReport, worker: str) -> None:
        name, at, group = report.nodeid.rpartition("@")
        nodeid = report.nodeid if not at or "]" in group or "::" in group else name
        plan = self._dealt.get(worker)
        case = results.case(self._key(nodeid, worker, plan.name if plan else ""))
        case.begun, case.worker = True, worker
        case.worsen("inconclusive", "BENCH", f"BENCH: the process of the worker {worker} ended in this test")

    def _key(self, nodeid: str, worker: str, bench: str) -> str:
        return f"{nodeid}[{worker} {bench}]" if self._each else nodeid


def _same_devices(plans: list[BenchPlan]) -> None:
    def offers(plan: BenchPlan) -> dict[str, tuple[bool, tuple[str, ...], frozenset[str]]]:
        return {
            name: (name in plan.profiles, tuple(sorted(device.tags)), frozenset(link.name for link in device.links))
            for name, device in plan.devices.items()
        }

    for plan in plans[1:]:
        if offers(plan) != offers(plans[0]):
            raise pytest.UsageError(
                f"the benches {plans[0].name} and {plan.name} do not have the same devices (names, tags, links), so "
                "their workers cannot share the tests: use --dist each, which runs every test on every bench"
            )


def leave(config: pytest.Config) -> None:
    """In a worker, at its end: everything that the controller needs to know."""
    results, gates = config.stash[RESULTS], config.stash[GATES]
    output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
    output["fieldrig"] = {
        "bench": results.bench,
        "cases": [case.plain() for case in results.cases.values()],
        "collected": gates.collected,
        "selected": sorted(gates.selected),
        "problems": results.problems,
        "files": results.files,
        "facts": results.facts,
    }


def attach(report: pytest.TestReport, item: pytest.Item, case: Case) -> None:
    """In a worker: sends the case along with the report."""
    config = item.config
    case.worker = str(config.workerinput["workerid"])  # type: ignore[attr-defined]
    case.bench = config.stash[RESULTS].bench
    report.fieldrig = case.plain()  # type: ignore[attr-defined]


def remember(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps the names of all tests before pytest-xdist appends groups to them, and before any is deselected."""
    from .phases import cited

    gates = config.stash[GATES]
    for item in items:
        item.stash[NODEID] = item.nodeid
        gates.collected[item.nodeid] = cited(item)
