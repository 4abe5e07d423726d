"""The links of a bench: what is heard on a wire, and what the bench does to a wire or a meeting point.

::

    outage = bench.uplink.down(how="refused")               # devices lose the broker; clients of the test do not
    poll = bench.bus485.expect(request_to=meter, after=change, within="10s")
    bench.bus485.down()                                     # nothing gets through, both ways
    bench.bus485.up()

What is done to a link is a stimulus for every judged device on it, and ends with the test that did it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, runtime_checkable

from ._core import Rig, Span
from .errors import UsageError
from .expect import Timeline, since
from .frames import Ears, FrameSource, WireObserver
from .permission import permit
from .power import Action

if TYPE_CHECKING:
    from .dut import Dut

How = Literal["refused", "stalled"]


Fault = Literal[
    "drop", "corrupt", "bits", "duplicate", "delay", "jitter",
    "parity", "framing", "overrun", "break", "cut", "short",
]  # fmt: skip
Direction = Literal["requests", "responses"]


class Controls(Protocol):
    """What the native core can do to a link: `fieldrig._core.bench.LinkEnd`."""

    def gate(self, state: How | Literal["open"], /) -> object:
        """``open``, ``refused`` (connections are reset) or ``stalled`` (nothing is taken and nothing given)."""

    def fault(
        self,
        name: Fault,
        *,
        p: float | None = None,
        count: int | None = None,
        after: int | None = None,
        direction: Direction | None = None,
        delay: str | Span | None = None,
    ) -> object: ...
    def clear_faults(self) -> object: ...
    @property
    def disturbed(self) -> bool:
        """The bench file disturbs it, in every test."""

    def look(self) -> object:
        """Takes what has arrived at the real ports that are joined to the link, without waiting."""


class HasDoubt(Protocol):
    """An end of a link, or who listens on it."""

    def doubt(self, reason: str | None, /) -> None:
        """Says why what does not come is held against nobody for now; None: it counts again."""


@runtime_checkable
class Listens(HasDoubt, Protocol):
    """An end to which the device comes by itself, when it will."""

    def doubt_until_heard(self, reason: str, /) -> None:
        """What does not come is held against nobody until something has come."""


class Link:
    """A link of the bench."""

    def __init__(
        self,
        name: str,
        rig: Rig,
        timeline: Timeline,
        devices: tuple[str, ...],
        units: Mapping[str, int],
        controls: Controls,
    ) -> None:
        """``devices`` are on it, ``units`` are the unit ids of those that have one."""
        self.name = name
        self.timeline = timeline
        self._rig = rig
        self.devices = devices
        """The names of the devices on it."""
        self._units = dict(units)
        self._controls = controls
        self._is_down = False
        self._is_faulty = False
        self._is_reset = False
        self._members: list[Dut] = []

    def add(self, device: Dut) -> None:
        """A device is on it: while the test itself disturbs the link, silence on that device's end accuses nobody."""
        self._members.append(device)

    def down(self, how: How = "refused") -> Action:
        """Takes the link away until `up()`, or until the test ends; a stimulus.

        Args:
            how: ``refused``: connections are reset, and new ones, too; ``stalled``: they stay, and nothing gets
                through. On a wire both mean that it is cut.

        Raises:
            UsageError: `how` is neither; the bench has no hand on this link (both its ends are outside); a real device
                on it may not be silenced.
        """
        if how not in ("refused", "stalled"):
            raise UsageError(f'{self.name}.down(): how= is "refused" or "stalled", not {how!r}')
        self._permit()
        done = self._act(f"down ({how})", lambda controls: controls.gate(how))
        self._is_down = True
        self._is_reset = self._is_reset or how == "refused"
        self._doubt()
        return done

    def up(self) -> Action:
        """Gives the link back; a stimulus."""
        done = self._act("up", lambda controls: controls.gate("open"))
        self._is_down = False
        self._doubt()
        return done

    def fault(
        self,
        name: Fault,
        *,
        p: float | None = None,
        count: int | None = None,
        after: int | None = None,
        direction: Direction | None = None,
        delay: str | Span | None = None,
    ) -> Action:
        """Disturbs the bytes on the link until the test ends; a stimulus. Seeded: the same run gives the same faults.

        Args:
            name: ``drop``, ``corrupt``, ``bits``, ``duplicate``, ``delay``, ``jitter`` or ``cut``; on a wire in memory
                also ``parity``, ``framing``, ``overrun``, ``break`` and ``short``: see :meth:`fieldrig.Rig.fault_wire`.
            p: the probability for each byte; without it every byte.
            count: only so many times.
            after: only behind so many bytes.
            direction: only ``requests`` (towards the devices that answer) or only ``responses``; both if not given.
            delay: for ``delay`` and ``jitter``: how long.

        Raises:
            UsageError: an unknown fault or a value that does not fit; no bytes of this link pass through the bench; a
                real device on it may not be silenced.
        """
        self._permit()

        def set_it(controls: Controls) -> object:
            return controls.fault(name, p=p, count=count, after=after, direction=direction, delay=delay)

        done = self._act(f"fault {name}", set_it)
        self._is_faulty = True
        self._doubt()
        return done

    def restart(self) -> None:
        """A new test begins: the link is there, and nothing disturbs it.

        A device that lost it waits as long as it likes before it comes back. The test that took the link away can say
        how long that may be; for the next one its silence is nobody's fault until something came from it.
        """
        if not (self._is_down or self._is_faulty):
            if self._controls.disturbed:
                self._doubt()
            return
        if self._is_down:
            self._controls.gate("open")
        if self._is_faulty:
            self._controls.clear_faults()
        self._is_down = self._is_faulty = False
        self._doubt()
        self._reconnect()
        for end in self._ends():
            if isinstance(end, Listens):
                end.doubt_until_heard(f"a test took the link {self.name} away, and nothing came over it since")
        if self._controls.disturbed:
            self._doubt()

    def close(self) -> None:
        """Nothing to do: the link ends with the bench."""

    def _reconnect(self) -> None:
        """Opens our own connections anew that were reset: the first request of a test would take that for a loss."""
        on = [device for device in self._members if self._is_reset and device.is_connected(self.name)]
        self._is_reset = False
        for device in on:
            device.close_link(self.name)
        for device in on:
            device.open_link(self.name)

    def _permit(self) -> None:
        """Refuses what the bench file of a real device on this link does not allow."""
        for device in self._members:
            permit(device, "silence")

    def _doubt(self) -> None:
        what = "the test has taken it down" if self._is_down else "the test disturbs it" if self._is_faulty else None
        if what is None and self._controls.disturbed:
            what = "the bench file disturbs it"
        reason = f"the link {self.name} does not work now: {what}" if what else None
        for end in self._ends():
            end.doubt(reason)

    def _ends(self) -> list[HasDoubt]:
        return [end for device in self._members if (end := device.end(self.name)) is not None]

    def _act(self, what: str, act: Callable[[Controls], object]) -> Action:
        at = self.timeline.approach() or self._rig.now()
        try:
            act(self._controls)
        except UsageError as error:
            error.message = f"{self.name}: {error.message}"
            raise
        done = self._rig.now()
        self.timeline.stimulus(at)
        self._rig.log("link", link=self.name, action=what)
        return Action(f"{self.name} {what}", since(at, done), done)

    def __repr__(self) -> str:
        return f"<link {self.name}, devices: {', '.join(self.devices) or 'none'}>"


class MeetingLink(Link):
    """A link on which devices meet at a broker."""


class WireLink(Link, WireObserver):
    """A link on which the bench listens: requests and responses can be expected."""

    def __init__(
        self,
        name: str,
        rig: Rig,
        timeline: Timeline,
        devices: tuple[str, ...],
        units: Mapping[str, int],
        controls: Controls,
        source: FrameSource,
        others: frozenset[str] | None,
    ) -> None:
        """``others``: which kinds of frame the far side of a real wire sends; None for a wire in memory."""
        Link.__init__(self, name, rig, timeline, devices, units, controls)
        self._source = source
        WireObserver.__init__(self, name, Ears(source, rig.now, others), timeline, self._unit)
        self.show_to(timeline)

    def seen_by(self, timeline: Timeline, name: str) -> WireObserver:
        """The same wire for a device that is the client on it: with cursors of its own."""
        self.show_to(timeline)
        return WireObserver(name, self._ears, timeline, self._unit)

    def show_to(self, timeline: Timeline) -> None:
        """What is heard here is shown in failure texts of others, too, and looked at before they act."""
        # In this order: what a real port has is on the wire then.
        timeline.look_with(self._controls.look)
        timeline.look_with(self._source.look)
        timeline.observe(self.arrivals)

    def restart(self) -> None:
        """A new test begins."""
        Link.restart(self)
        WireObserver.restart(self)

    def _ends(self) -> list[HasDoubt]:
        return [*Link._ends(self), self]

    def close(self) -> None:
        """Ends the listening."""
        self._source.close()

    def _unit(self, given: Dut | str | int, argument: str) -> tuple[int, str]:
        """The unit id of a device on this link, and how a failure calls it."""
        if isinstance(given, bool) or not isinstance(given, int):
            device = given if isinstance(given, str) else str(getattr(given, "name", given))
            if device not in self._units:
                known = ", ".join(self._units) or "none"
                raise UsageError(f"{self.name}: {argument}={device!r} is not on this link; it has: {known}")
            unit = self._units[device]
            return unit, f"{device} (unit {unit})"
        if not 0 <= given <= 255:
            raise UsageError(f"{self.name}: {argument}= is a device or a unit id from 0 to 255, not {given}")
        names = [device for device, unit in self._units.items() if unit == given]
        return given, f"{names[0]} (unit {given})" if names else f"unit {given}"


class QuietLink(Link):
    """A link on which nobody listens: the test talks to the devices itself, through their own attributes."""

    def expect(self, **_given: object) -> NoReturn:
        """There is nothing to hear.

        Raises:
            UsageError: always.
        """
        raise self._deaf("expect")

    def expect_none(self, **_given: object) -> NoReturn:
        """There is nothing to hear.

        Raises:
            UsageError: always.
        """
        raise self._deaf("expect_none")

    def _deaf(self, call: str) -> UsageError:
        return UsageError(
            f"{self.name}.{call}(): nobody listens on this link",
            hint='requests are heard on wires with role = "devices", "listen" or "proxy"',
        )
