"""Opening the links of a bench: our end for each device, who listens on a wire, and who is reached by what is done."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from . import _core
from ._core import Rig
from .errors import BenchError, BenchFileError
from .expect import Timeline
from .link import Link, MeetingLink, QuietLink, WireLink
from .permission import guard_of, message_guard_of

if TYPE_CHECKING:
    from .bench import Bench
    from .dut import Dut
    from .modbus import Client


class _Common(TypedDict):
    """What every end of a link is made with."""

    rig: Rig
    timeline: Timeline
    name: str
    belongs_to: Literal["bench", "dut"]


def open_end(dut: Dut, bench: Bench, link: _core.bench.DeviceLink) -> Any:
    """Opens our end of a link: what it is follows from the protocol alone.

    Returns:
        The end; where the device is the client on a wire, what is heard there; None if the bench has no end.

    Raises:
        BenchError: its port cannot be opened.
    """
    name = f"{dut.name}.{link.name}"
    if not link.tested:
        heard = bench.links.get(link.name)
        return heard.seen_by(dut.timeline, name) if isinstance(heard, WireLink) else None
    at = bench._running.resolve(dut.name, link.name)
    common = _Common(rig=bench.rig, timeline=dut.timeline, name=name, belongs_to=at.belongs_to)
    if link.protocol.startswith("modbus"):
        return _modbus(dut, bench, at, common)
    if link.protocol.startswith("mqtt"):
        from . import mqtt

        return mqtt.Client(
            at.url, version=link.protocol, base=at.base, username=at.username, password=at.password, **common
        )
    if link.protocol == "console":
        from .serial import Console

        # The port of the device itself is the path; a line from a port of the bench may be cut.
        proven = dut.profile != "real" or at.belongs_to == "dut"
        return Console(at.url, proven=proven, **common, **at.client)
    defined = bench._running.protocol(link.protocol)
    if defined is not None:
        from .protocol import Client as DefinedClient

        return DefinedClient(at.url, defined, guard=message_guard_of(dut, link.name), **common)
    raise BenchError(f"{name}: nobody here can use the protocol {link.protocol}")


def _modbus(dut: Dut, bench: Bench, at: _core.bench.Resolved, common: _Common) -> Client:
    """A client of one device; several devices behind one connection or wire share it."""
    from .modbus import Client

    guard = guard_of(dut, at)
    if not at.shared:
        return Client(at.url, unit=at.unit, points=at.point_map, guard=guard, **common, **at.client)
    shared: Client | None = bench._shared.get(at.url)
    if shared is None:
        shared = Client(at.url, rig=bench.rig, name=at.link, belongs_to=at.belongs_to, **at.client)
        bench._shared[at.url] = shared
    return shared.share(
        unit=at.unit, points=at.point_map, timeline=common["timeline"], name=common["name"], guard=guard
    )


def open_links(bench: Bench, devices: tuple[Dut, ...]) -> dict[str, Link]:
    """The links of the bench file, each with the devices on it; whatever is done to one device is told to the others.

    Raises:
        BenchError: a wire cannot be listened on.
    """
    for planned in bench.plan._native.links:
        check_name(bench, "the bench", planned.name)
    links = {link.name: _open(bench, link, devices) for link in bench.plan._native.links}
    for device in devices:
        on = [used.name for used in device._native.links]
        others = (other for other in devices if other.judged and not device.judged)
        for other in others:
            if any(used.name in on for used in other._native.links):
                device.timeline.reach(other.timeline)
        for link in (links[name] for name in on if name in links):
            device.timeline.reach(link.timeline)
            link.add(device)
            if device.judged:
                link.timeline.reach(device.timeline)
                link.timeline.observe(device.timeline.arrivals)
                if isinstance(link, WireLink):
                    link.show_to(device.timeline)
    return links


def _open(bench: Bench, link: _core.bench.Link, devices: tuple[Dut, ...]) -> Link:
    used = {device.name: end for device in devices for end in device._native.links if end.name == link.name}
    units = {name: end.unit for name, end in used.items() if end.unit is not None}
    timeline = Timeline(bench.rig.now, bench.rig.stalls)
    timeline.trace = bench.files().get("trace")
    controls = bench._running.link(link.name)
    kind = MeetingLink if link.protocol.startswith("mqtt") else QuietLink
    url = controls.monitor_url
    if url is None or not link.protocol.startswith("modbus"):
        return kind(link.name, bench.rig, timeline, tuple(used), units, controls)
    monitor = _core.modbus.Monitor(url, rig=bench.rig, name=link.name)
    return WireLink(link.name, bench.rig, timeline, tuple(used), units, controls, monitor, _far_side(link))


def _far_side(link: _core.bench.Link) -> frozenset[str] | None:
    """Which kinds of frame come from outside on a real wire; None for a wire in memory."""
    if not link.real:
        return None
    kinds = {"devices": ("request",), "client": ("response",)}
    return frozenset(kinds.get(link.role, ("request", "response")))


def check_name(owner: object, what: str, link: str) -> None:
    """Refuses a link that could not be reached as an attribute, because its owner has one of that name already.

    Raises:
        BenchFileError: it has.
    """
    if hasattr(type(owner), link) or link in vars(owner):
        raise BenchFileError(f"a link cannot be named `{link}`: {what} has something else of that name; rename it")


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint for a misspelt name."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean `{close[0]}`?" if close else None
