"""A bench: the devices of a bench file with their links, ready to be used by a test.

::

    plan = BenchPlan.load("bench.toml", ["real"])          # read and resolved; nothing is opened yet
    with plan.open() as bench:
        meter = bench.device("meter")
        meter.modbus.write("setpoint", 85.0)                # links are attributes, named as in the bench file

Under the profile ``emulated`` a device is built from its model and reached through loopback ports and ptys; under
``real`` it is reached through the ports the bench file names. The test sees the same links either way.
"""

from __future__ import annotations

import datetime
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict

from . import __version__, _core
from ._core import Rig, Span, Stamp, duration
from ._core.device import Change
from .errors import BenchError, FieldrigError, UsageError
from .expect import Timeline, since
from .units import nanoseconds

if TYPE_CHECKING:
    from .measure import Measurement

Level = Literal["full", "ring", "counts"]


class BenchPlan:
    """A bench file, read and resolved for the chosen profiles."""

    def __init__(self, native: _core.bench.Plan, path: Path) -> None:
        self._native = native
        self.path = path
        self.name: str = native.name
        self.profiles: dict[str, str] = {device.name: device.profile for device in native.duts}
        self.peers: tuple[str, ...] = tuple(device.name for device in native.peers)

    @classmethod
    def load(cls, path: str | os.PathLike[str], profiles: Sequence[str] = ()) -> BenchPlan:
        """Reads a bench file.

        Args:
            path: the TOML file.
            profiles: ``"real"`` for all devices, ``"meter=real"`` for one; later ones win.

        Raises:
            BenchFileError: the file is wrong, or has no device that `profiles` names; the message says where.
            UsageError: a profile is unknown.
        """
        return cls(_core.bench.load(os.fspath(path), list(profiles)), Path(path))

    def header(self) -> str:
        """One line that names the bench and the profile of every device."""
        devices = ", ".join(f"{name}={profile}" for name, profile in self.profiles.items())
        return f"fieldrig {__version__}: bench {self.name}, {devices}"

    def open(self, out: str | os.PathLike[str] | None = None, trace: Level = "full") -> Bench:
        """Opens every link and starts every emulated device.

        Args:
            out: folder for run log and trace; by default a new one below ``fieldrig-runs``.
            trace: ``full``, ``ring`` or ``counts``.

        Raises:
            BenchError: a port is missing, busy or refuses.
        """
        return Bench(self, Path(out) if out is not None else _new_folder(), trace)


def _new_folder() -> Path:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("fieldrig-runs") / f"{now}-{os.getpid()}"


class Bench:
    """An open bench. Close it, or use it as a context manager."""

    def __init__(self, plan: BenchPlan, folder: Path, trace: Level) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchError(f"the folder of the run cannot be made: {error}") from None
        self.plan = plan
        self.folder = folder
        self.rig = Rig(folder=str(folder), trace=trace, name=plan.name)
        self._devices: dict[str, Dut] = {}
        self._started = self.rig.now()
        try:
            self._running = _core.bench.bring_up(self.rig, plan._native)
            for device in plan._native.duts:
                self._devices[device.name] = Dut(self, device)
            for device in plan._native.peers:
                self._devices[device.name] = Dut(self, device, judged=False)
            runs = [dut for dut in self._devices.values() if dut.not_run is None]
            for dut in runs:
                dut.power.on()
            for dut in runs:
                dut.start()
        except BaseException as error:
            self.rig.log("bench.failed", error=str(error) or type(error).__name__)
            self.close()
            raise

    @property
    def peers(self) -> dict[str, Dut]:
        """The devices that are needed, but not judged, by name."""
        return {name: self._devices[name] for name in self.plan.peers}

    def device(self, name: str) -> Dut:
        """A device of the bench, judged or peer.

        Raises:
            UsageError: the bench has no device of this name.
        """
        try:
            return self._devices[name]
        except KeyError:
            known = ", ".join(self._devices) or "none"
            raise UsageError(f"the bench {self.plan.name} has no device `{name}`; it has: {known}") from None

    def restart(self, test: str) -> None:
        """A new test begins: cursors start anew, and habits are those of the standard again."""
        self._started = self.rig.now()
        self.rig.log("test.start", test=test)
        for device in self._devices.values():
            device.restart()

    def stalled_since_restart(self) -> int:
        """For how long the host stood still since the test began, in nanoseconds."""
        return sum(stall.latest_ns for stall in self.rig.stalls(self._started))

    def note_measurement(self, measurement: Measurement) -> None:
        """Writes a measurement into the run log."""
        self.rig.log(
            "measurement",
            name=measurement.name,
            low=measurement.low,
            high=measurement.high,
            unit=measurement.unit,
            verdict=measurement.verdict,
        )

    def note_verdict(self, test: str, verdict: str, text: str) -> None:
        """Writes a verdict into the run log."""
        self.rig.log("test.verdict", test=test, verdict=verdict, text=text)

    def files(self) -> dict[str, str]:
        """What the run leaves behind: kind and path."""
        return dict(self.rig.files())

    def properties(self) -> list[tuple[str, str]]:
        """What a report says about the bench: name and value."""
        found = [("bench", self.plan.name), ("fieldrig", __version__)]
        found += [(f"profile.{name}", profile) for name, profile in self.plan.profiles.items()]
        return found

    def close(self) -> None:
        """Drives every device to its end, closes every port, ends every thread. May be called twice."""
        for device in self._devices.values():
            device.close()
        self.rig.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
        self.timeline = Timeline(bench.rig.now, bench.rig.stalls)
        self.timeline.trace = bench.files().get("trace")
        self.emulated = bench._running.device(native.name)
        self.power = Power(self, bench, native)
        self._bench = bench
        self._native = native
        self._links: dict[str, Any] = {}
        self._habits: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Waits until the device is up, then opens its links. The bench does this once.

        Raises:
            BenchError: the device does not get up, or a port cannot be opened.
        """
        self.power.wait_until_up()
        for link in self._native.links if self.judged else ():
            try:
                self._links[link.name] = _open_link(self, self._bench, self._native, link)
            except FieldrigError as error:
                error.message = f"{self.name}.{link.name}: {error.message.removeprefix(f'{self.name}.{link.name}: ')}"
                raise
        self.timeline.restart()

    def __getattr__(self, name: str) -> Any:
        links = self.__dict__.get("_links", {})
        if name in links:
            return links[name]
        known = ", ".join(links) or "none"
        raise AttributeError(f"the device `{self.name}` has no link `{name}`; it has: {known}")

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
        self.emulated.habit(link, name, value)
        self._habits.add((link, name))
        done = self._bench.rig.now()
        self.timeline.stimulus(at)
        self._bench.rig.log("habit", device=self.name, link=link, habit=name, value=str(value))
        return Action(f"habit {name}", since(at, done), done)

    def restart(self) -> None:
        """A new test begins: its cursors start anew, and its habits are those of the standard again."""
        if self.emulated is not None:
            for link, name in self._habits:
                self.emulated.habit(link, name, "default")
        self._habits.clear()
        self.timeline.restart()

    def get(self, point: str) -> Any:
        """The value of a point of an emulated device.

        Raises:
            UsageError: the device is not emulated, or has no such point.
        """
        if self.emulated is None:
            raise UsageError(f"{self.name}.get(): only an emulated device can be looked into; this one is real")
        return self.emulated.get(point)

    def close(self) -> None:
        """Closes the links."""
        for link in self._links.values():
            link.close()

    def __repr__(self) -> str:
        kind = "device" if self.judged else "peer"
        return f"<{kind} {self.name}, {self.profile}, links: {', '.join(self._links) or 'none'}>"


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


class Power:
    """The power of a device: its model when emulated, the command of the bench file when real."""

    def __init__(self, dut: Dut, bench: Bench, native: _core.bench.Dut) -> None:
        self._dut = dut
        self._bench = bench
        self._command: str | None = native.power_command
        self._settle: str | None = native.power_settle
        self._timeout: str = native.power_timeout or "30s"

    def on(self) -> Action:
        """Switches on. A real device without a power command is on already: nothing is done."""
        return self._switch("on")

    def off(self) -> Action:
        """Switches off.

        Raises:
            UsageError: the bench file names no power command for this real device.
            BenchError: the command failed or took too long.
        """
        if self._dut.emulated is None and self._command is None:
            raise UsageError(f"{self._dut.name}.power: the bench file has no power = {{ command = .. }} for it")
        return self._switch("off")

    def cycle(self, off: str | Span = "1s") -> Action:
        """Switches off, waits, switches on. ``.at`` is the instant at which power went, ``.done`` when it was back."""
        pause = nanoseconds(off, "off")
        down = self.off()
        self._bench.rig.sleep(f"{pause}ns")
        up = self.on()
        return Action("power cycle", down.at, up.done)

    def wait_until_up(self) -> None:
        """Waits until the device can be used: its model has booted, or it had the time to settle of the bench file.

        Raises:
            BenchError: the model has not booted within a minute.
        """
        sleep = self._bench.rig.sleep
        if self._dut.emulated is None:
            if self._command is not None and self._settle is not None:
                sleep(self._settle)
            return
        for _ in range(12_000):
            if self._dut.emulated.power == "run":
                return
            sleep("5ms")
        raise BenchError(f"{self._dut.name}: its model has not booted within a minute", hint="[boot] time in the model")

    def _switch(self, action: str) -> Action:
        now = self._bench.rig.now
        at = self._dut.timeline.approach() or now()
        if self._dut.emulated is not None:
            if action == "on":
                self._dut.emulated.power_on()
            else:
                self._dut.emulated.power_off()
        elif self._command is not None:
            _run(
                self._command.replace("{action}", action), self._bench.plan.path.parent, self._bench.rig, self._timeout
            )
        done = now()
        self._dut.timeline.stimulus(at)
        self._bench.rig.log("power", device=self._dut.name, action=action)
        return Action(f"power {action}", since(at, done), done)


def _run(command: str, folder: Path, rig: Rig, limit: str) -> None:
    """Runs a command to its end. Ctrl-C and the time limit end it at once, and all that it started."""
    begun = rig.now()
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                shlex.split(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise BenchError(f"the power command `{command}` could not be run: {error}") from None
        try:
            while process.poll() is None:
                if (rig.now() - begun).earliest > duration(limit):
                    raise BenchError(f"the power command `{command}` took longer than {limit}")
                rig.sleep("1ms")
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if process.returncode != 0:
        last = lines[-1] if lines else "silent"
        raise BenchError(f"the power command `{command}` ended with {process.returncode}: {last}")


class _Common(TypedDict):
    """What every end of a link is made with."""

    rig: Rig
    timeline: Timeline
    name: str
    belongs_to: Literal["bench", "dut"]


def _open_link(dut: Dut, bench: Bench, native: _core.bench.Dut, link: _core.bench.Link) -> Any:
    """Opens our end of a link: what it is follows from the protocol alone."""
    at = bench._running.resolve(native.name, link.name)
    name = f"{dut.name}.{link.name}"
    common = _Common(rig=bench.rig, timeline=dut.timeline, name=name, belongs_to=at.belongs_to)
    if link.protocol.startswith("modbus"):
        from .modbus import Client

        return Client(at.url, unit=at.unit, points=at.point_map, **common)
    if link.protocol.startswith("mqtt"):
        from . import mqtt

        return mqtt.Client(
            at.url,
            version=link.protocol,
            base=at.base,
            username=at.username,
            password=at.password,
            **common,
        )
    if link.protocol == "console":
        from .serial import Console

        return Console(at.url, **common)
    raise BenchError(f"{name}: nobody here can use the protocol {link.protocol}")
