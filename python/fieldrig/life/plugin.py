"""Switches and resets that other packages bring: entry points of their distributions.

A package says in its `pyproject.toml`::

    [project.entry-points."fieldrig.switch"]
    uhubctl = "fieldrig_uhubctl:Hub"

and a bench file names it::

    power = { plugin = "uhubctl", options = { location = "1-4", port = 2 }, safe = "off" }

What the entry point names is called with the device's name and the options, and gives an object with the methods of
`fieldrig.life.switch.Switch` (group `fieldrig.switch`) or `fieldrig.life.restart.Restarter` (group `fieldrig.restart`).
Whatever it raises is the bench's fault: a hub that does not answer is no device that does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from ..ends import did_you_mean
from ..errors import BenchError, FieldrigError, UsageError
from .switch import STATES, Switch

SWITCHES = "fieldrig.switch"
RESTARTS = "fieldrig.restart"


class PluginSwitch:
    """A switch of another package; its errors name it."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self._place = f"{name}.power: the plug-in `{table['plugin']}`"
        self.actions: tuple[str, ...] = tuple(table.get("actions") or STATES)
        with blamed(self._place):
            self._switch: Switch = load(SWITCHES, str(table["plugin"]), name)(name, dict(table.get("options") or {}))

    def drive(self, action: str) -> None:
        """Does the action."""
        with blamed(self._place):
            self._switch.drive(action)

    def confirm(self, action: str) -> str | None:
        """What the plug-in read back, or None."""
        with blamed(self._place):
            read = self._switch.confirm(action)
        if read is not None and action in STATES and read != action:
            raise BenchError(f"{self._place}: switched `{action}`, but it reads back `{read}`")
        return read

    def status(self) -> str | None:
        """`on` or `off`, or None if it cannot be read."""
        with blamed(self._place):
            return self._switch.status()


def load(group: str, plugin: str, device: str) -> Callable[[str, dict[str, Any]], Any]:
    """What an entry point names.

    Raises:
        BenchError: no package that is installed has it, or it cannot be imported.
    """
    known = {point.name: point for point in entry_points(group=group)}
    if plugin not in known:
        there = ", ".join(sorted(known)) or "none is installed"
        hint = did_you_mean(plugin, known) or f"a package brings it with an entry point in the group `{group}`"
        raise BenchError(f"{device}: there is no plug-in `{plugin}`: {there}", hint=hint)
    made: Callable[[str, dict[str, Any]], Any] = known[plugin].load()
    return made


@contextmanager
def blamed(place: str) -> Iterator[None]:
    """Makes every failure inside one of the bench.

    Raises:
        BenchError: something failed; usage errors stay what they are.
    """
    try:
        yield
    except (UsageError, BenchError):
        raise
    except FieldrigError as error:
        raise BenchError(f"{place}: {error.message}", hint=error.hint, **error.facts) from None
    except Exception as error:
        raise BenchError(f"{place}: {type(error).__name__}: {error}") from error
