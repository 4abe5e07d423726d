"""How a real device is reset without taking its power: one interface, and its kinds.

A reset is described by the `restart` table of the bench file. A kind is one class with the method of `Restarter`, and a
line in `make_restarter`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UsageError
from .command import Watcher, run_command

if TYPE_CHECKING:
    from ..power import Action
    from .modem import LineRestarter


class Restarter(Protocol):
    """Something that resets a device."""

    def restart(self) -> Action | None:
        """Resets it and returns when that is done.

        Gives when it was done, or None if the caller's own instants are the best that is known.

        Raises:
            BenchError: it could not be done: what resets is part of the bench.
        """


class CommandRestarter:
    """A command that resets, as of a debug probe: its exit code decides."""

    def __init__(self, table: Mapping[str, Any], folder: Path, watcher: Watcher | None = None) -> None:
        self._command = str(table["command"])
        self._timeout = str(table["timeout"])
        self._folder = folder
        self._watcher = watcher

    def restart(self) -> Action | None:
        """Runs the command to its end."""
        run_command(self._command, {}, self._folder, self._timeout, "restart command", self._watcher)
        return None


class CycleRestarter:
    """Takes the power and gives it back."""

    def __init__(self, table: Mapping[str, Any], cycle: Callable[[str], Action]) -> None:
        self._off = str(table["off"])
        self._cycle = cycle

    def restart(self) -> Action | None:
        """Power off, a pause, power on."""
        return self._cycle(self._off)


class SwitchRestarter:
    """A switch that can also reset, as the monitor of QEMU can."""

    def __init__(self, reset: Callable[[], Action]) -> None:
        self._reset = reset

    def restart(self) -> Action | None:
        """Its action `reset`."""
        return self._reset()


class PluginRestarter:
    """A reset of another package; its errors name it."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        from .plugin import RESTARTS, Aside, load

        plugin, options = str(table["plugin"]), dict(table.get("options") or {})
        self._thread = Aside(f"{name}.restart: the plug-in `{plugin}`", str(table["timeout"]))
        self._restarter: Restarter = self._thread.do(lambda: load(RESTARTS, plugin, name)(name, options))

    def restart(self) -> Action | None:
        """What the plug-in does."""
        self._thread.do(lambda: self._restarter.restart())
        return None


def make_restarter(
    name: str,
    table: Mapping[str, Any],
    folder: Path,
    cycle: Callable[[str], Action],
    watcher: Watcher | None = None,
    line: Callable[[str, Mapping[str, Any]], LineRestarter] | None = None,
) -> Restarter:
    """What resets a device, from the `restart` table of the bench file.

    Args:
        name: the device.
        folder: where commands run.
        cycle: takes the power for a while and gives it back.
        watcher: who wants to know of its commands.
        line: gives what resets by a modem line.

    Raises:
        UsageError: the table is of no known kind.
    """
    match table["kind"]:
        case "command":
            return CommandRestarter(table, folder, watcher)
        case "line" if line is not None:
            return line(name, table)
        case "power":
            return CycleRestarter(table, cycle)
        case "plugin":
            return PluginRestarter(name, table)
    raise UsageError(f"{name}.restart: nothing that resets: {dict(table)!r}")
