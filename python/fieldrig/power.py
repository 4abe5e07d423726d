"""The power of a device, and what was done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _core
from ._core import Span, Stamp
from .errors import BenchError, UsageError
from .expect import since
from .life.qmp import QmpSwitch
from .life.switch import STATES, Switch
from .permission import permit
from .units import nanoseconds

if TYPE_CHECKING:
    from .bench import Bench
    from .dut import Dut


class Action:
    """Something done to a device."""

    def __init__(self, action: str, at: Stamp, done: Stamp) -> None:
        self.action = action
        self.at = at
        self.done = done

    def until(self, later: Any) -> Span:
        """The span from this action to something later."""
        return self.at.until(later)

    def __repr__(self) -> str:
        return f"<{self.action}>"


def times_of(at: Stamp, done: Stamp) -> dict[str, int]:
    """What the run log says of when an action was issued and when it was over, as of the steps of programs."""
    return {"issued_ns": at.earliest_ns, "returned_ns": done.latest_ns}


class Power:
    """The power of a device: its model when emulated, the switch of the bench file when real.

    Every action of a switch has a time limit and is read back where the bench file offers a way, and each is a line in
    the run log. A switch that fails is the bench's fault.
    """

    def __init__(self, dut: Dut, bench: Bench, native: _core.bench.Dut) -> None:
        self._dut = dut
        self._bench = bench
        self._switch: Switch | None = None
        self._settle: str | None = None
        if dut.emulated is None and dut.judged:
            self._switch, self._settle = bench.life.switch(native)
        self._switched = False
        self.last: str | None = None
        """The state into which it was switched last: `on`, `off`, or None."""

    @property
    def actions(self) -> tuple[str, ...]:
        """What can be done; empty for a real device without a switch."""
        if self._dut.emulated is not None:
            return STATES
        return self._switch.actions if self._switch is not None else ()

    def on(self) -> Action:
        """Switches on. A real device without a switch is on already: nothing is done.

        Raises:
            BenchError: the switch failed, took too long, or reads back otherwise.
        """
        if self._dut.emulated is None and "on" not in self.actions:
            at = self._bench.rig.now()
            return Action("power on", at, at)
        return self._do("on")

    def off(self) -> Action:
        """Switches off.

        Raises:
            UsageError: the bench file names no switch for this real device, or does not allow to restart it.
            BenchError: the switch failed, took too long, or reads back otherwise.
        """
        return self.do("off")

    def cycle(self, off: str | Span = "1s") -> Action:
        """Switches off, waits, switches on. ``.at`` is the instant at which power went, ``.done`` when it was back.

        Raises:
            UsageError: the bench file names no switch for this real device, or does not allow to restart it.
            BenchError: the switch failed, took too long, or reads back otherwise.
        """
        permit(self._dut, "restart")
        return self.recover(off)

    def recover(self, off: str | Span = "1s") -> Action:
        """The same for ``recover`` of the bench file, which does not ask what tests may do."""
        pause = nanoseconds(off, "off")
        down = self._do("off")
        self._bench.rig.sleep(f"{pause}ns")
        up = self.on()
        return Action("power cycle", down.at, up.done)

    def peek(self, address: int, length: int) -> bytes:
        """What stands in the memory of a device that QEMU runs, at a physical address. It goes on meanwhile.

        Raises:
            UsageError: the bench file names no ``qmp`` for this device, or there is nothing to look at.
            BenchError: QEMU cannot be asked, or has no memory there.
        """
        if not isinstance(self._switch, QmpSwitch):
            hint = 'power = { qmp = "unix:///PATH" } in the bench file, under the profile `real`'
            raise UsageError(f"{self._dut.name}.power: nobody can look into the memory of this device", hint=hint)
        if address < 0 or length < 1:
            raise UsageError(f"{self._dut.name}.power.peek(): {length} bytes at {address:#x} are no place in memory")
        at = self._bench.rig.now()
        found = self._switch.peek(address, length)
        times = times_of(at, self._bench.rig.now())
        self._dut.used = True
        self._bench.rig.log("peek", device=self._dut.name, address=address, data=found, **times)
        return found

    def do(self, action: str) -> Action:
        """Does any action of the bench file's ``actions``; a stimulus.

        Raises:
            UsageError: the bench file names no switch for this real device, the switch has no such action, or the bench
                file has ``allow`` without ``restart`` for it.
            BenchError: the switch failed, took too long, or reads back otherwise.
        """
        if action not in ("on", "status", "resume"):
            permit(self._dut, "restart")
        return self._do(action)

    def _do(self, action: str) -> Action:
        drive = self._driver(action)
        self._switched = True
        now, log = self._bench.rig.now, self._bench.rig.log
        at = self._dut.timeline.approach() or now()
        facts = {"device": self._dut.name, "action": action}
        try:
            did = drive(action)
            done = now()
            read = self._switch.confirm(action) if self._switch is not None else None
        except BaseException as error:
            # Nobody knows in which state it is now, and what was done may have had its effect.
            self.last = None
            self._dut.timeline.stimulus(at)
            self._note(Action(f"power {action}", at, now()))
            log("power.failed", **facts, error=str(error) or type(error).__name__, **times_of(at, now()))
            raise
        driven = did if isinstance(did, Action) else Action(f"power {action}", since(at, done), done)
        self._dut.timeline.stimulus(driven.at)
        self._note(Action(f"power {action}", driven.at, driven.done))
        self.last = self._switch.leaves(action) if isinstance(self._switch, QmpSwitch) else self._left_by(action)
        log("power", **facts, **({"read_back": read} if read is not None else {}), **times_of(driven.at, driven.done))
        return driven

    def _note(self, action: Action) -> None:
        """What the device was doing ends here, unless it was only asked, or goes on as it was."""
        on_already = action.action == "power on" and self.last == "on"
        if not on_already and action.action not in ("power status", "power resume"):
            self._dut.timeline.restarted = action

    def _left_by(self, action: str) -> str | None:
        return action if action in STATES else self.last

    def status(self) -> str | None:
        """``"on"`` or ``"off"`` as it is read back now; None for a real device of which it cannot be read.

        Raises:
            BenchError: the switch failed or took too long.
        """
        if self._dut.emulated is not None:
            return "off" if self._dut.emulated.power == "off" else "on"
        return self._switch.status() if self._switch is not None else None

    def left_off(self) -> bool:
        """Whether it is off, or nobody knows, after it was switched; and can be switched on."""
        if self._dut.emulated is not None:
            return self._dut.emulated.power == "off"
        return self._switched and self.last != "on" and "on" in self.actions

    def wait_until_up(self) -> None:
        """Waits until the device can be used: its model has booted, or it had the time to settle of the bench file.

        Raises:
            BenchError: the model has not booted within a minute, or broke.
        """
        sleep = self._bench.rig.sleep
        if self._dut.emulated is None:
            if self._switch is not None and self._settle is not None:
                sleep(self._settle)
            self._dut.timeline.restarted = None
            return
        for _ in range(12_000):
            if self._dut.emulated.power == "run":
                self._dut.timeline.restarted = None
                return
            broken = self._dut.broken_model()
            if broken is not None:
                raise broken
            sleep("5ms")
        raise BenchError(f"{self._dut.name}: its model has not booted within a minute", hint="[boot] time in the model")

    def _driver(self, action: str) -> Callable[[str], object]:
        """What does the action.

        Raises:
            UsageError: nothing does.
        """
        name, emulated = f"{self._dut.name}.power", self._dut.emulated
        if emulated is not None:
            if action not in STATES:
                raise UsageError(f"{name}: an emulated device can be switched `on` and `off`, not `{action}`")
            return lambda wanted: emulated.power_on() if wanted == "on" else emulated.power_off()
        if self._switch is None:
            hint = 'power = { command = .. }, { modbus = LINK, .. }, { line = "rts", .. } in the bench file'
            raise UsageError(f"{name}: the bench file does not say how this real device is switched", hint=hint)
        if action not in self._switch.actions:
            known = ", ".join(self._switch.actions)
            raise UsageError(f"{name}: the bench file has no action `{action}` for it; it has: {known}")
        return self._switch.drive
