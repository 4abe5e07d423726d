"""The devices of the bench as fixtures, and which of them a test uses."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from .state import bench_of, plan_of

if TYPE_CHECKING:
    from fieldrig.bench import Bench, BenchPlan


def fixtures(plan: BenchPlan) -> ModuleType:
    """A module with one session fixture for each device of the bench, for pytest to collect."""
    module = ModuleType("fieldrig_devices", "The devices of the bench.")
    for name in plan.devices:
        setattr(module, name, _fixture(name))
    return module


def _fixture(name: str) -> Any:
    @pytest.fixture(scope="session", name=name)
    def provide(bench: Bench) -> Any:
        return usable(bench, name)

    provide.__doc__ = f"The device `{name}` of the bench."
    return provide


def usable(bench: Bench, name: str) -> Any:
    """A device of the bench; a test that asks for one that cannot be used under its profile is not run."""
    device = bench.device(name)
    if device.not_run:
        pytest.skip(f"not run: {name}: {device.not_run}")
    return device


def named(item: pytest.Item, plan: BenchPlan) -> list[str]:
    """The devices of the bench, judged or peer, that a test names as fixtures, directly or through others."""
    names = list(getattr(item, "fixturenames", ()))
    chosen = _parameters(item).get("dut")
    if chosen is not None and next(item.iter_markers("each_dut"), None) is not None:
        names.append(str(chosen))
    return [name for name in plan.devices if name in names]


def judged(item: pytest.Item) -> list[str]:
    """The judged devices that a test uses: those it names, all if it names the bench, those it asked for as it ran."""
    plan = plan_of(item.config)
    if plan is None:
        return []
    if _names_bench(item, plan):
        return list(plan.profiles)
    known = set(named(item, plan))
    opened = bench_of(item.config)
    if opened is not None:
        known |= {name for name in plan.profiles if opened.device(name).used}
    return [name for name in plan.profiles if name in known]


def _names_bench(item: pytest.Item, plan: BenchPlan) -> bool:
    """Whether a test names the bench itself: every device brings it along, so for most tests this says nothing."""
    needed = set(getattr(item, "fixturenames", ()))
    if not needed & {*plan.devices, "dut"}:
        return "bench" in needed
    function = getattr(item, "function", None)
    return function is not None and "bench" in inspect.signature(function).parameters


def _parameters(item: pytest.Item) -> dict[str, object]:
    return getattr(getattr(item, "callspec", None), "params", {})


def each_dut(metafunc: pytest.Metafunc) -> None:
    """Parametrises the fixture `dut` of a test marked `each_dut`.

    Raises:
        pytest.Collector.CollectError: the mark is wrong, or the test does not take `dut`.
    """
    mark = metafunc.definition.get_closest_marker("each_dut")
    if mark is None:
        return
    if mark.args or set(mark.kwargs) - {"tag", "link"}:
        raise pytest.Collector.CollectError('USAGE: each_dut takes tag=".." and link="..", and nothing else')
    if "dut" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(
            f"USAGE: {metafunc.function.__name__} is marked each_dut, but does not take the fixture `dut`"
        )
    plan = plan_of(metafunc.config)
    if plan is None:
        return
    tag, link = mark.kwargs.get("tag"), mark.kwargs.get("link")
    found: list[Any] = [name for name in plan.profiles if _fits(plan, name, tag, link)]
    if not found:
        wanted = " and ".join(f"the {kind} `{value}`" for kind, value in (("tag", tag), ("link", link)) if value)
        reason = f"not run: no device that the bench {plan.name} judges has {wanted or 'a name'}"
        found = [pytest.param("none", marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize("dut", found, indirect=True, scope="session")


def _fits(plan: BenchPlan, name: str, tag: str | None, link: str | None) -> bool:
    device = plan.devices[name]
    return (tag is None or tag in device.tags) and (link is None or link in {one.name for one in device.links})
