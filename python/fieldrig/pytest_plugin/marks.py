"""Marks that say on which bench a test can run: `needs`, `real_only`, `emulated_only`.

A test that cannot run is not run, with the reason; it never passes, and no bench is opened for it. The marks look at
the devices that the test names as fixtures; for a test that names none, at all that the bench judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import devices
from .state import plan_of

if TYPE_CHECKING:
    from fieldrig import _core
    from fieldrig.bench import BenchPlan

NEEDS = ("link", "tag", "power", "restart", "memory")
OURS = ("needs", "each_dut", "real_only", "emulated_only")


def apply(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks as skipped what cannot run on this bench."""
    plan = plan_of(config)
    for item in items:
        reason = None if plan is None else why_not(item, plan)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"not run: {reason}"))


def check(item: pytest.Item) -> None:
    """Looks at the marks of a test before it is run; not earlier, because the test alone is wrong.

    Raises:
        UsageError: a mark needs something that nobody knows, or a bench, and there is none.
    """
    from fieldrig.errors import UsageError

    for mark in item.iter_markers("needs"):
        for need in mark.args:
            if not _known(str(need)):
                known = '"link:NAME", "tag:NAME", "power", "power:ACTION", "restart" or "memory"'
                raise UsageError(f"needs({str(need)!r}) is unknown: use {known}")
    if plan_of(item.config) is None:
        for name in OURS:
            if next(item.iter_markers(name), None) is not None:
                hint = f"--bench FILE, or bench.toml in {item.config.rootpath}"
                raise UsageError(f"the test is marked {name}, and there is no bench", hint=hint)


def why_not(item: pytest.Item, plan: BenchPlan) -> str | None:
    """Why a test cannot run on this bench; None if it can."""
    named = [plan.devices[name] for name in devices.named(item, plan)]
    for device in named:
        if device.not_run:
            return f"{device.name}: {device.not_run}"
    looked_at = named or [plan.devices[name] for name in plan.profiles]
    for mark in item.iter_markers("needs"):
        for need in mark.args:
            if _known(str(need)) and not any(_has(device, str(need)) for device in looked_at):
                return f"it needs {need}, which {_those(looked_at)} of the bench {plan.name} does not offer"
    judged = [device for device in looked_at if device.name in plan.profiles]
    for name, wrong in (("real_only", "emulated"), ("emulated_only", "real")):
        off = [device.name for device in judged if device.profile == wrong]
        if off and next(item.iter_markers(name), None) is not None:
            return f"it is marked {name}, and {', '.join(off)} {'is' if len(off) == 1 else 'are'} {wrong}"
    return None


def _known(need: str) -> bool:
    kind, colon, name = need.partition(":")
    return need in ("power", "restart", "memory") or (kind in NEEDS[:3] and bool(colon) and bool(name))


def _has(device: _core.bench.Dut, need: str) -> bool:
    kind, _, name = need.partition(":")
    if kind == "link":
        return name in {link.name for link in device.links}
    if kind == "tag":
        return name in device.tags
    life = getattr(device, "life", {})
    power = life.get("power") or {}
    if kind == "memory":
        return device.profile == "real" and "qmp" in power
    if kind == "restart":
        return device.profile == "emulated" or "restart" in life or "reset" in (power.get("actions") or ())
    if device.profile == "emulated":
        return name in ("", "on", "off")
    return bool(power) and name in ("", *(power.get("actions") or ("on", "off")))


def _those(devices: list[_core.bench.Dut]) -> str:
    return " or ".join(device.name for device in devices) or "no device"
