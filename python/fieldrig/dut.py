"""A device of a bench, with its links as attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _core
from ._core.device import Change
from .ends import check_name, did_you_mean, open_end
from .errors import BenchError, FieldrigError, NoSuchLink, Stopped, UsageError
from .expect import Timeline, since
from .frames import WireObserver
from .power import Action, Power
from .restart import Restart

if TYPE_CHECKING:
    from .bench import Bench
    from .life.identity import Identity
    from .life.lost import Down
    from .modbus import Client


class Dut:
    """A device of the bench. Its links are attributes, named as in the bench file.

    A peer (``judged=False``) can be set, looked into, switched and made to misbehave, but has no links for the test:
    what it says on them is for the devices that are judged, and its failure is the bench's.
    """

    def __init__(self, bench: Bench, native: _core.bench.Dut, judged: bool = True) -> None:
        self.judged = judged
        self.name: str = native.name
        self.profile: str = native.profile
        self.not_run: str | None = native.not_run
        self.used = False  # whether the test that runs asked for one of its links, or looked into it
        self.timeline = Timeline(bench.rig.now, bench.rig.stalls)
        self.timeline.mask = bench.plan.secrets.mask
        self.timeline.trace = bench.files().get("trace")
        self.emulated = bench._running.device(native.name)
        self.power = Power(self, bench, native)
        self.restart = Restart(self, bench, native)
        self._bench = bench
        self._native = native
        self._links: dict[str, Any] = {}
        self._habits: set[tuple[str, str]] = set()
        self._handled: set[str] = set()
        self.down_links: dict[str, Down] = {}
        """Links that are not used any more in this run, and since which test."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that the bench file gives it."""
        return self._native.tags

    @property
    def unit(self) -> int | None:
        """Its unit id on the first link that has one."""
        return next((link.unit for link in self._native.links if link.unit is not None), None)

    def start(self) -> None:
        """Waits until the device is up, then opens its links. The bench does this once.

        Raises:
            BenchError: the device does not get up, or a port cannot be opened.
        """
        self.power.wait_until_up()
        self.open_links()
        self.timeline.restart()

    def protocols(self) -> dict[str, str]:
        """The links on which the test has an end of its own: name and protocol."""
        there = self._native.links if self.judged and not self.not_run else ()
        return {link.name: link.protocol for link in there if link.tested}

    def on_links(self) -> tuple[str, ...]:
        """The links that it is on."""
        return tuple(link.name for link in self._native.links)

    def open_links(self) -> None:
        """Opens every link that is not open.

        Raises:
            BenchError: a port cannot be opened.
        """
        for link in self._native.links if self.judged and not self.not_run else ():
            if link.name not in self._links:
                self.open_link(link.name)

    def open_link(self, name: str) -> None:
        """Opens our end of a link; one that is open is fine.

        Raises:
            BenchError: its port cannot be opened.
        """
        if name in self._links:
            return
        link = next(link for link in self._native.links if link.name == name)
        check_name(self, f"the device `{self.name}`", name)
        try:
            end = open_end(self, self._bench, link)
        except FieldrigError as error:
            error.message = f"{self.name}.{name}: {error.message.removeprefix(f'{self.name}.{name}: ')}"
            raise
        if end is not None:
            self._links[name] = end
            try:
                self._bench.life.link_opened(self, name)
            except BaseException:
                self.close_link(name)
                raise

    def close_link(self, name: str) -> None:
        """Closes our end of a link; one that is not open is fine."""
        link = self._links.pop(name, None)
        if link is not None:
            link.close()
            self._bench.close_unused()

    def end(self, link: str) -> Any:
        """What is open on a link of this name, or None."""
        return self._links.get(link)

    def ends(self) -> tuple[Any, ...]:
        """What is open of its links."""
        return tuple(self._links.values())

    def close_links(self) -> None:
        """Closes our end of every link."""
        for name in tuple(self._links):
            self.close_link(name)

    def modbus_clients(self) -> dict[str, Client]:
        """Those of its open links that are Modbus clients of ours, by name."""
        return {name: link for name, link in self._links.items() if isinstance(link, _core.modbus.Client)}

    def is_connected(self, link: str) -> bool:
        """Whether our end of a link is the client of a connection, which can be reset, and not of a line."""
        client = self.modbus_clients().get(link)
        return client is not None and client.url.startswith(("tcp://", "memory://"))

    @property
    def identity(self) -> Identity:
        """Who a real device is: name and value of what the bench file reads from it; empty for an emulated one."""
        return self._bench.life.identity(self)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__.get("_links", {}):
            self.used = True
        return self.borrow(name)

    def borrow(self, name: str) -> Any:
        """Our end of a link, as the bench itself uses it: that says not that the test uses the device.

        Raises:
            LinkDown: it was lost in an earlier test.
            NoSuchLink: there is none of this name.
        """
        links = self.__dict__.get("_links", {})
        if name in links:
            return links[name]
        down = self.__dict__.get("down_links", {}).get(name)
        if down is not None:
            raise down.error()
        known = ", ".join(links) or "none"
        hint = did_you_mean(name, links)
        raise NoSuchLink(f"the device `{self.name}` has no link `{name}`; it has: {known}", hint=hint)

    def set(self, point: str, value: float | bool | str) -> Any:
        """Sets a point of an emulated device, as its surroundings would; a stimulus.

        Raises:
            UsageError: the device is not emulated, or has no such point.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.set(): only an emulated device can be set by the test; this one is real")
        at = self.timeline.approach()
        change = self.emulated.set(point, value)
        if at is not None:
            change = Change(change.point, change.value, since(at, change.at))
        self.timeline.stimulus(change.at)
        return change

    def fault(self, name: str, value: object = None, link: str | None = None) -> Action:
        """Makes an emulated device misbehave until the test ends; a stimulus for all that share a link with it.

        The same as `habit`, for a device whose link need not be named: ``bench.peers["meter2"].fault("no_answer")``.

        Args:
            name: the habit; `fieldrig.modbus.HABITS` lists those of Modbus.
            value: what it takes; without one the habit is switched on.
            link: the link; needed only if the device has several.

        Raises:
            UsageError: the device is not emulated; it has several links; an unknown link or habit, a wrong value.
        """
        names = [used.name for used in self._native.links]
        if link is None and len(names) != 1:
            raise UsageError(f"{self.name}.fault(): link= is missing; it has: {', '.join(names) or 'none'}")
        return self.habit(names[0] if link is None else link, name, value)

    def habit(self, link: str, name: str, value: object = None) -> Action:
        """Makes an emulated device misbehave on one of its links until the test ends; a stimulus.

        Args:
            link: the link (the face of the model).
            name: the habit; `fieldrig.modbus.HABITS` lists those of Modbus.
            value: what it takes; without one the habit is switched on, ``"default"`` is the standard's way.

        Raises:
            UsageError: the device is not emulated; an unknown link or habit (the text lists all), a wrong value.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.habit(): only an emulated device has habits; this one is real")
        at = self.timeline.approach() or self._bench.rig.now()
        face = self._face(link)
        try:
            self.emulated.habit(face, name, value)
        except UsageError as error:
            known = [habit for habit, _ in _core.modbus.HABITS]
            hint = error.hint or (None if name in known else did_you_mean(name, known))
            raise UsageError(error.message, hint=hint) from None
        self._habits.add((face, name))
        done = self._bench.rig.now()
        self.timeline.stimulus(at)
        self._bench.rig.log("habit", device=self.name, link=link, habit=name, value=str(value))
        return Action(f"habit {name}", since(at, done), done)

    def rule(self, link: str, /, **keys: object) -> _core.modbus.Rule:
        """Adds a rule to an emulated Modbus server until the test ends; a stimulus::

            slow = meter.rule("modbus", when={"address": 7}, delay="300ms", count=2)

        Args:
            link: the link (the face of the model).
            keys: the keys of a rule, as in a model file; `from_` stands for `from`. docs/modbus.md lists them.

        Returns:
            The rule: `on()`, `off()`, `remove()`, `matched`, `applied`.

        Raises:
            UsageError: the device is not emulated; the link is no Modbus server; what is wrong with the rule.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.rule(): only an emulated device has rules; this one is real")
        at = self.timeline.approach() or self._bench.rig.now()
        rule = self.emulated.rule(self._face(link), **keys)
        self.timeline.stimulus(at)
        self._bench.rig.log("rule", device=self.name, link=link, rule=rule.name, what=rule.what)
        return rule

    def rules(self, link: str, /) -> dict[str, _core.modbus.Rule]:
        """The rules of an emulated Modbus server by name, those of its model first.

        Raises:
            UsageError: the device is not emulated; the link is no Modbus server.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.rules(): only an emulated device has rules; this one is real")
        return self.emulated.rules(self._face(link))

    def handle(self, link: str, handler: Callable[[Any], Any] | None, /) -> None:
        """Has a function answer the requests to an emulated device until the test ends; a stimulus::

            meter.handle("modbus", lambda request: modbus.Refuse(4) if request.address == 7 else None)

        Args:
            link: the link (the face of the model).
            handler: takes a request and gives a reply, as that of `modbus.Device` or `protocol.Device`; None: the
                device answers again.

        Raises:
            UsageError: the device is not emulated; nobody can be asked there; the handler cannot be called.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.handle(): only an emulated device has handlers; this one is real")
        at = self.timeline.approach() or self._bench.rig.now()
        face = self._face(link)
        self.emulated.handle(face, handler)
        self._handled.add(face)
        self.timeline.stimulus(at)
        name = None if handler is None else getattr(handler, "__qualname__", type(handler).__qualname__)
        self._bench.rig.log("handler", device=self.name, link=link, handler=str(name))

    def begin_test(self) -> None:
        """A new test begins: its habits are those of the standard again, it has no handlers, its rules are those of
        its model and begin anew, its points go back if the bench file says so.

        The bench lets the cursors start anew once all devices are put back.
        """
        if self.emulated is not None:
            for face, name in self._habits:
                self.emulated.habit(face, name, "default")
            for face in self._handled:
                self.emulated.handle(face, None)
            self.emulated.reset_rules()
            if "points" in self._native.reset:
                self.emulated.reset_points()
        for end in self._links.values():
            if isinstance(end, WireObserver):
                end.restart()
        self._habits.clear()
        self._handled.clear()
        self.used = False

    def _face(self, link: str) -> str:
        """The face of the model on a link; what is no link may be the name of a face."""
        return next((used.face for used in self._native.links if used.name == link), link)

    def get(self, point: str) -> Any:
        """The value of a point of an emulated device.

        Raises:
            UsageError: the device is not emulated, or has no such point.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.get(): only an emulated device can be looked into; this one is real")
        self.used = True
        return self.emulated.get(point)

    def broken_model(self) -> BenchError | None:
        """What is wrong with the bench if the device's model, written in Python, broke since this was asked last."""
        if self.emulated is None:
            return None
        try:
            raised = self.emulated.raised
        except Stopped:
            return None  # the bench is closed, and was asked before
        if raised is None:
            return None
        self.emulated.clear_raised()
        return BenchError(
            f"the model of {self.name} broke, and {self.name} lost power with it: {raised}",
            hint="the traceback stands in the run log, under model.traceback",
        )

    def model_is_broken(self) -> bool:
        """Whether `broken_model` has something to say."""
        try:
            return self.emulated is not None and self.emulated.raised is not None
        except Stopped:
            return False

    def close(self) -> None:
        """Closes the links."""
        self.close_links()

    def __repr__(self) -> str:
        kind = "device" if self.judged else "peer"
        return f"<{kind} {self.name}, {self.profile}, links: {', '.join(self._links) or 'none'}>"
