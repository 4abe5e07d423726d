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
    if plan._native.clock == "virtual":
        message = f"the bench {plan.name} is on virtual time, in which no other program can take part"
        raise UsageError(message, hint='write clock = "real" under [bench]')
    output.secrets = plan.secrets
    with _folder(options.out) as folder, _core.Rig(folder=folder, name=plan.name, secrets=plan.secret_texts) as rig:
        running = _core.bench.bring_up(rig, plan._native)
        started = _start(plan, running)
        if not started:
            message = f"the bench {plan.name} has no device that can be emulated"
            raise UsageError(message, hint='give one a `model = ".."`')
        places = Places(rig, running)
        while any(device.power == "boot" for device in started.values()):
            rig.sleep("5ms")
        _say_where(plan, places, started, output)
        view = LiveView(rig, options.show == "all", places.twice(plan, started))
        try:
            _watch(rig, view, length, lambda event: _show(event, options.show, output))
        finally:
            places.close()
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


class Places:
    """Where other programs find what is emulated. A wire that several devices share gets a pty of its own."""

    def __init__(self, rig: _core.Rig, running: _core.bench.Running) -> None:
        self._rig = rig
        self._running = running
        self._exposed: dict[str, _core.JoinedPort] = {}
        self._hear_the_same: set[str] = set()

    def find(self, device: str, link: _core.bench.DeviceLink, line: str | None) -> str:
        """The URL for a link of a device; empty if there is nothing that others could open."""
        url = self._url(device, link)
        scheme, _, wire = url.partition("://")
        if scheme != "wire":
            return url
        query = f"?line={line.replace(' ', '+')}" if line else ""
        if wire not in self._exposed:
            self._exposed[wire] = _core.JoinedPort(self._rig, wire, f"pty://{query}", name=f"{wire}.pty")
        else:
            self._hear_the_same.add(f"{device}/{link.face}")
        return f"serial://{self._exposed[wire].address}{query}"

    def _url(self, device: str, link: _core.bench.DeviceLink) -> str:
        if link.tested:
            return self._running.resolve(device, link.name).url
        found = None if link.private else self._running.link(link.name).url
        return found or ""

    def twice(self, plan: BenchPlan, started: Iterable[str]) -> set[str]:
        """Links of the trace that show again what another one shows.

        An embedded broker hears what devices say; the first device on a wire hears what all others say.
        """
        brokers = {f"{name}/{link.name}" for name in started for link in plan.devices[name].links if _meets(link)}
        return (
            brokers | self._hear_the_same | {f"{wire}.pty/{side}" for wire in self._exposed for side in ("wire", "pty")}
        )

    def close(self) -> None:
        """Takes the ptys away."""
        for wire in self._exposed.values():
            wire.close()


def _say_where(plan: BenchPlan, places: Places, started: Iterable[str], output: Output) -> None:
    shared = {link.name: link for link in plan._native.links}
    rows = []
    for name in started:
        for link in plan.devices[name].links:
            on = None if link.private else shared.get(link.name)
            url = places.find(name, link, on.line if on is not None else None)
            base = on.base if on is not None else ""
            unit = link.unit if link.protocol.startswith("modbus") else None
            asks = link.role == "client" and not _meets(link)
            output.record(
                "address",
                device=name,
                link=link.name,
                protocol=link.protocol,
                role=link.role,
                url=url,
                unit=unit,
                base=base,
            )
            says = [unit and f"unit {unit}", base, asks and "asks there"]
            rows.append((name, link.name, link.protocol, url or "-", ", ".join(str(each) for each in says if each)))
    output.table(rows, ["device", "link", "protocol", "address", ""])
    output.say()
    output.say("Ctrl-C ends it.")


def _meets(link: _core.bench.DeviceLink) -> bool:
    """Devices meet at a broker there."""
    return link.protocol.startswith("mqtt")


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
