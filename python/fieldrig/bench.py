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

import contextlib
import datetime
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from . import __version__, _core, secrets
from ._core import Rig, Span
from .dut import Dut
from .ends import did_you_mean, open_links
from .errors import BenchError, BenchFileError, NoSuchLink, UsageError
from .life.cycle import LifeCycle
from .measure import most_stalled

if TYPE_CHECKING:
    from .link import Link
    from .measure import Measurement
    from .modbus import Client

Level = Literal["full", "ring", "counts"]


class BenchPlan:
    """A bench file, read and resolved for the chosen profiles."""

    def __init__(self, native: _core.bench.Plan, path: Path) -> None:
        self._native = native
        self.path = path
        self.name: str = native.name
        self.clock: Literal["real", "virtual"] = native.clock
        self.profiles: dict[str, str] = {device.name: device.profile for device in native.duts}
        self.peers: tuple[str, ...] = tuple(device.name for device in native.peers)
        self.devices: dict[str, _core.bench.Dut] = {device.name: device for device in (*native.duts, *native.peers)}
        self.locks = any(link.lock for link in native.links)
        """Whether it takes ports that one run at a time may have."""
        self.waivers: Path | None = native.waivers
        self.requirements: Path | None = native.requirements
        urls = [link.url for device in (*native.duts, *native.peers) for link in device.links]
        values = [*native.secrets, *secrets.in_environment(path), *secrets.in_urls(urls)]
        self.secret_texts = [value for value in dict.fromkeys(values) if value]
        self.secrets = _core.Secrets(self.secret_texts)

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
        try:
            return cls(_core.bench.load(os.fspath(path), list(profiles)), Path(path))
        except BenchFileError as error:  # it may quote a value
            error.message = _core.Secrets(secrets.in_environment(Path(path))).mask(error.message)
            raise

    def header(self) -> str:
        """One line that names the bench and the profile of every device."""
        devices = ", ".join(f"{name}={profile}" for name, profile in self.profiles.items())
        short = self.secrets.too_short
        note = f"; {short} of its secrets are too short to be masked (less than 4 bytes)" if short else ""
        return self.secrets.mask(f"fieldrig {__version__}: bench {self.name}, {devices}") + note

    def open(self, out: str | os.PathLike[str] | None = None, trace: Level = "full", *, prepare: bool = False) -> Bench:
        """Opens every link and starts every emulated device.

        Args:
            out: folder for run log and trace; by default a new one below ``fieldrig-runs``.
            trace: ``full``, ``ring`` or ``counts``.
            prepare: do what the bench file says under ``prepare``, such as putting new firmware on a real device. The
                pytest plug-in does.

        Raises:
            BenchError: a port is missing, busy or refuses; a device could not be switched on or prepared.
        """
        return Bench(self, Path(out) if out is not None else new_folder(), trace, prepare)


def new_folder() -> Path:
    """A name for the folder of a run that nobody named."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("fieldrig-runs") / f"{now}-{os.getpid()}"


class Bench:
    """An open bench. Close it, or use it as a context manager."""

    def __init__(self, plan: BenchPlan, folder: Path, trace: Level, prepare: bool = False) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BenchError(
                f"the folder of the run cannot be made: {error}", hint="--fieldrig-out DIR names another one"
            ) from None
        self.plan = plan
        self.folder = folder
        self.rig = Rig(folder=str(folder), trace=trace, name=plan.name, clock=plan.clock, secrets=plan.secrets)
        self._devices: dict[str, Dut] = {}
        self.links: dict[str, Link] = {}
        """The links of the bench file by name; they are attributes of the bench, too."""
        self._shared: dict[str, Client] = {}
        self._started = self.rig.now()
        self.life = LifeCycle(self)
        try:
            self.life.start_programs()
            self._running = _core.bench.bring_up(self.rig, plan._native)
            self.life.arm()
            for device in plan._native.duts:
                self._devices[device.name] = Dut(self, device)
            for device in plan._native.peers:
                self._devices[device.name] = Dut(self, device, judged=False)
            self.links.update(open_links(self, tuple(self._devices.values())))
            self.life.open_lines()
            runs = [dut for dut in self._devices.values() if dut.not_run is None]
            for dut in runs:
                dut.power.on()
            for dut in runs if prepare else ():
                self.life.prepare(dut)
            for dut in runs:
                dut.start()
        except BaseException as error:
            self.rig.log("bench.failed", error=str(error) or type(error).__name__)
            try:
                self.close()
            except BenchError as problem:
                error.add_note(str(problem))
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

    def devices(self) -> tuple[Dut, ...]:
        """All devices, judged ones and peers, in the order of the bench file."""
        return tuple(self._devices.values())

    def client_at(self, url: str) -> Client | None:
        """The Modbus client that has a wire or connection open, if one has."""
        if url in self._shared:
            return self._shared[url]
        for dut in self._devices.values():
            for link, client in dut.modbus_clients().items():
                if self._running.resolve(dut.name, link).url == url:
                    return client
        return None

    def is_of_device(self, port: str) -> bool:
        """Whether a serial port, by the name it was opened by, belongs to a device rather than to the bench."""
        resolved = [self._running.resolve(dut.name, link) for dut in self._devices.values() for link in dut.protocols()]
        of_port = [at for at in resolved if at.url.partition("://")[2].partition("?")[0] == port]
        return bool(of_port) and all(at.belongs_to == "dut" for at in of_port)

    def begin_session(self) -> None:
        """Tests begin: reads who the real devices are.

        Raises:
            BenchError: a declared identity cannot be read.
        """
        self.life.begin_session()

    def check_up(self, test: str, devices: Iterable[str]) -> None:
        """A test is about to begin that uses these devices: what the one before left off has power again.

        Raises:
            LinkDown: one of them cannot be used any more, since an earlier test.
            BenchError: one of them could not be prepared for the test, as the bench file demands.
        """
        self.life.before_test(test, devices)

    def after_error(self, error: BaseException, test: str) -> None:
        """A test ended with an error: a link that was lost is recovered once, and then down. Raises nothing."""
        self.life.losses.after_error(error, test)

    def end_session(self) -> None:
        """The tests are over: reads again who the real devices are; `identity_changed` says what nobody commanded.

        Raises:
            BenchError: a model broke after the last test.
        """
        self.life.end_session()
        broken = self.broken_models()
        if broken is not None:
            raise broken

    @property
    def identity_changed(self) -> str | None:
        """How the identity of a device changed in the run although nobody commanded it: then the run proves nothing."""
        return self.life.identity_changed

    def __getattr__(self, name: str) -> Any:
        links = self.__dict__.get("links", {})
        if name in links:
            return links[name]
        known = ", ".join(links) or "none"
        raise NoSuchLink(f"the bench has no link `{name}`; it has: {known}", hint=did_you_mean(name, links))

    def address_of(self, link: str) -> str | None:
        """Where a link is, for what the bench itself does through it; None where nobody says."""
        return self._running.link(link).url

    def sleep(self, duration: str | Span) -> None:
        """Lets time pass: on a bench with a virtual clock in no time at all.

        Raises:
            UsageError: the duration is none.
        """
        self.rig.sleep(duration)

    def close_unused(self) -> None:
        """Closes connections that several devices shared and none uses any more."""
        used = {getattr(end, "url", None) for device in self._devices.values() for end in device.ends()}
        for url in self._shared.keys() - used:
            self._shared.pop(url).close()

    def restart(self, test: str) -> None:
        """A new test begins: cursors start anew, habits are those of the standard again, and every link is there."""
        self._started = self.rig.now()
        self.rig.log("test.start", test=test)
        for link in self.links.values():
            link.restart()
        for device in self._devices.values():
            device.begin_test()
        # What the devices do because they were put back is before the test, whichever was put back last.
        timelines = [link.timeline for link in self.links.values()]
        timelines += [device.timeline for device in self._devices.values()]
        for timeline in timelines:
            timeline.restart()

    def broken_models(self) -> BenchError | None:
        """What is wrong with the bench if a model, written in Python, broke since this was asked last."""
        broken = [problem for problem in (device.broken_model() for device in self._devices.values()) if problem]
        for other in broken[1:]:
            broken[0].add_note(f"  and: {other.message}")
        return broken[0] if broken else None

    def why_broken(self) -> str | None:
        """What `broken_models` will say, in short; this one may be asked as often as one likes."""
        broken = [device.name for device in self._devices.values() if device.model_is_broken()]
        return f"the model of {' and '.join(broken)} broke before" if broken else None

    def stalled_since_restart(self, length_ns: int) -> int:
        """For how long the host stood still, at most, in any time of this length since the test began (nanoseconds)."""
        return most_stalled(self.rig.hiccups(self._started), length_ns)

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
        return found + self.life.properties()

    def close(self) -> None:
        """Closes every port, brings real devices into their safe state, ends every thread. May be called twice.

        Raises:
            BenchError: a safe state was not reached; everything else is closed nevertheless.
        """
        # From the last to the first; whatever fails to close, the rest is closed and the safe state is reached.
        with contextlib.ExitStack() as closing:
            closing.callback(self.rig.stop)
            closing.callback(self.life.finish)
            running: _core.bench.Running | None = self.__dict__.get("_running")
            if running is not None:
                closing.callback(running.close)  # the ports have to be free for the guardian
            closing.callback(self.life.close_lines)
            closing.callback(self.close_unused)
            for link in self.links.values():
                closing.callback(link.close)
            for device in self._devices.values():
                closing.callback(device.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
