"""Starts the emulated devices and brokers of a bench, for any client to play with.

Example: fieldrig emulate bench.toml

Prints where each device is found (loopback ports, ptys, brokers), then every change and message as it happens, until
Ctrl-C ends it. All devices are emulated, whatever profile the bench file names: no real port is opened.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import _core
from .._core.device import Device
from ..bench import BenchPlan
from ..errors import UsageError
from .exits import Exit
from .live import LiveView, describe
from .output import Output
from .place import bench_file

_POLL = "100ms"


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("bench", nargs="?", default="bench.toml", metavar="BENCH", help="bench file (bench.toml)")
    parser.add_argument("--for", dest="length", metavar="TIME", help='end after this time, such as "10s"')
    parser.add_argument("--show", choices=("all", "changes", "nothing"), default="all", help="what is shown (all)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep run log and trace here")


def run(options: argparse.Namespace, output: Output) -> int:
    """Starts everything and shows what happens until it is told to end."""
    length = _core.duration(options.length) if options.length is not None else None
    plan = BenchPlan.load(bench_file(options.bench), ["emulated"])
    output.secrets = plan.secrets
    with _folder(options.out) as folder, _core.Rig(folder=folder, name=plan.name, secrets=plan.secret_texts) as rig:
        running = _core.bench.bring_up(rig, plan._native)
        started = _start(plan, running)
        while any(device.power == "boot" for device in started.values()):
            rig.sleep("5ms")
        if not started:
            raise UsageError(
                f"the bench {plan.name} has no device that can be emulated", hint='give one a `model = ".."`'
            )
        _say_where(plan, running, started, output)
        # What an embedded broker hears is not shown a second time where the device says it.
        twice = {f"{name}/{link.name}" for name in started for link in plan.devices[name].links if _meets(link)}
        view = LiveView(rig, options.show == "all", twice)
        try:
            _watch(rig, view, length, lambda event: _show(event, options.show, output))
        finally:
            running.close()
            view.close()
    return Exit.PASS


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="fieldrig-") as folder:
        yield Path(folder)


def _start(plan: BenchPlan, running: _core.bench.Running) -> dict[str, Device]:
    """Switches every emulated device on, by name."""
    found = {}
    for name in plan.devices:
        device = running.device(name)
        if device is not None:
            if device.power == "off":
                device.power_on()
            found[name] = device
    return found


def _meets(link: _core.bench.DeviceLink) -> bool:
    return link.protocol.startswith("mqtt")


def _say_where(plan: BenchPlan, running: _core.bench.Running, started: Iterable[str], output: Output) -> None:
    rows = []
    for name in started:
        for link in plan.devices[name].links:
            at = running.resolve(name, link.name)
            says = ", ".join(
                filter(None, [at.line, f"unit {at.unit}" if link.protocol.startswith("modbus") else "", at.base])
            )
            rows.append((name, link.name, link.protocol, at.url, says))
            output.record(
                "address", device=name, link=link.name, protocol=link.protocol, url=at.url, unit=at.unit, base=at.base
            )
    output.table(rows, ["device", "link", "protocol", "address", ""])
    output.say()
    output.say("Ctrl-C ends it.")


def _watch(rig: _core.Rig, view: LiveView, length: float | None, show: Callable[[dict[str, Any]], None]) -> None:
    """Shows what happens until the time is over or Ctrl-C comes."""
    end = None if length is None else rig.now().latest + length
    try:
        while end is None or rig.now().latest < end:
            rig.sleep(_POLL)
            for event in view.lines():
                show(event)
    except KeyboardInterrupt:
        end = rig.now().latest
    rig.stop()  # completes the trace
    for event in view.lines(everything=True):
        if end is None or event["t"] <= end:
            show(event)


def _show(event: dict[str, Any], what: str, output: Output) -> None:
    if what != "nothing":
        output.say(describe(event))
        output.record("event", event=event)
