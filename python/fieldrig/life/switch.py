"""How a real device gets and loses its power: one interface, and its kinds.

A switch is described by the `power` table of the bench file, with what the table leaves out filled in (`described`): a
plain dict, so that the guardian can be told of it. A kind is one class with the methods of `Switch`, and a line in
`make_switch`.

::

    switch = make_switch("meter", {"command": "relay.sh {action} 7", "folder": "."})
    switch.drive("on")
    switch.confirm("on")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BenchError, UsageError
from ..units import human, nanoseconds
from .command import Watcher, run_command

if TYPE_CHECKING:
    from .._core import Rig
    from ..modbus import Client
    from ..power import Action
    from .modem import LineSwitch

TIMEOUT = "30s"
"""How long switching and reading back may take together, if the bench file does not say."""
LOOK_AGAIN = 0.05
"""A relay needs a moment to move: so many seconds lie between two looks at it."""
STATES = ("on", "off")


class Switch(Protocol):
    """Something that switches a device.

    `drive` does an action and returns when the switch has taken it; `confirm` then reads back what can be read back.
    Both raise `BenchError`: a switch that fails is the fault of the bench.
    """

    @property
    def actions(self) -> tuple[str, ...]:
        """What it can do: always names of which `on` and `off` are states."""

    def drive(self, action: str) -> Action | None:
        """Does an action.

        Gives when it was done, or None if the caller's own instants are the best that is known.
        """

    def confirm(self, action: str) -> str | None:
        """Reads back whether the action had its effect; gives what was read, or None if nothing can be read back."""

    def status(self) -> str | None:
        """`on` or `off` as it is now, or None if that cannot be read."""


class CommandSwitch:
    """A command that switches: `relay.sh on 7`. It can be read back if `status` is one of its actions."""

    def __init__(self, name: str, table: Mapping[str, Any], watcher: Watcher | None = None) -> None:
        self._name = name
        self._command: str = table["command"]
        self._folder = Path(table["folder"])
        self._timeout: str = table["timeout"]
        self._watcher = watcher
        self.actions: tuple[str, ...] = tuple(table.get("actions") or STATES)
        self._begun = time.monotonic()

    def drive(self, action: str) -> None:
        """Runs the command to its end; its exit code decides."""
        self._begun = time.monotonic()
        self._run(action)

    def confirm(self, action: str) -> str | None:
        """Asks with the action `status` until it says what was asked for, or the time is over."""
        if "status" not in self.actions or action not in STATES:
            return None
        return read_back(f"{self._name}.power", action, self._begun, self._timeout, self._state)

    def status(self) -> str | None:
        """What the action `status` says."""
        return self._state() if "status" in self.actions else None

    def _state(self) -> str:
        lines = self._run("status")
        said = lines[-1].strip() if lines else ""
        if said.lower() not in STATES:
            shown = repr(said) if said else "nothing"
            raise BenchError(f"the power command of {self._name} said {shown} to `status`; it is to say `on` or `off`")
        return said.lower()

    def _run(self, action: str) -> list[str]:
        values = {"action": action}
        return run_command(self._command, values, self._folder, self._timeout, "power command", self._watcher)


def read_back(name: str, wanted: str, begun: float, timeout: str, read: Callable[[], str]) -> str:
    """Looks until the switch is in the wanted state.

    Raises:
        BenchError: it is in another when the time is over.
    """
    limit = nanoseconds(timeout, "timeout")
    deadline = begun + limit / 1e9
    while (state := read()) != wanted:
        if time.monotonic() >= deadline:
            raise BenchError(f"{name}: switched `{wanted}`, but it reads back `{state}` after {human(limit)}")
        time.sleep(LOOK_AGAIN)
    return state


def described(table: Mapping[str, Any], folder: Path, reach: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The description of a switch from its `power` table.

    Args:
        folder: where commands run.
        reach: gives the address of a link: `url`, and what the protocol needs beside it.
    """
    found = {name: value for name, value in table.items() if value is not None}
    found.setdefault("timeout", TIMEOUT)
    if "command" in found:
        return {**found, "folder": str(folder)}
    link = found.get("modbus") or found.get("mqtt")
    if link is None:
        return found
    return {**found, "reach": reach(link)}


def make_switch(
    name: str,
    table: Mapping[str, Any],
    rig: Rig | None = None,
    watcher: Watcher | None = None,
    neighbour: Callable[[str], Client | None] | None = None,
    line: Callable[[str, Mapping[str, Any]], LineSwitch] | None = None,
) -> Switch:
    """The switch of a device, from its description.

    Args:
        name: the device.
        rig: what its traffic is traced on.
        watcher: who wants to know of its commands.
        neighbour: gives the client that has the wire of a relay open already, by the address of the wire.
        line: gives a switch that shares the ports of the bench, for one that is a modem line.

    Raises:
        UsageError: the description is of no known kind.
    """
    if "command" in table:
        return CommandSwitch(name, table, watcher)
    if "modbus" in table:
        from .relay import RelaySwitch

        return RelaySwitch(name, table, rig, neighbour)
    if "mqtt" in table:
        from .plug import PlugSwitch

        return PlugSwitch(name, table, rig)
    if "line" in table:
        from .modem import LineSwitch, OwnPort

        return line(name, table) if line is not None else LineSwitch(name, table, OwnPort(str(table["port"]), rig))
    if "qmp" in table:
        from .qmp import QmpSwitch

        return QmpSwitch(name, table)
    if "scpi" in table:
        from .scpi import ScpiSwitch

        return ScpiSwitch(name, table, rig)
    if "plugin" in table:
        from .plugin import PluginSwitch

        return PluginSwitch(name, table)
    raise UsageError(f"{name}.power: nothing that switches: {dict(table)!r}")
