"""The power of a device, and what was done to it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _core
from ._core import Rig, Span, Stamp, duration
from .errors import BenchError, UsageError
from .expect import since
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
