"""Switches and resets that other packages bring: entry points of their distributions.

A package says in its `pyproject.toml`::

    [project.entry-points."fieldrig.switch"]
    uhubctl = "fieldrig_uhubctl:Hub"

and a bench file names it::

    power = { plugin = "uhubctl", options = { location = "1-4", port = 2 }, safe = "off" }

What the entry point names is called with the device's name and the options, and gives an object with the methods of
`fieldrig.life.switch.Switch` (group `fieldrig.switch`) or `fieldrig.life.restart.Restarter` (group `fieldrig.restart`).
Whatever it raises is the bench's fault: a hub that does not answer is no device that does not answer.

All of a plug-in runs on one thread of its own, so that the run goes on when it hangs: after `timeout` it is given up,
and nothing more is asked of it until it comes back.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, TypeVar

from ..ends import did_you_mean
from ..errors import BenchError, FieldrigError
from ..units import human, nanoseconds
from .switch import STATES, Switch

T = TypeVar("T")
SWITCHES = "fieldrig.switch"
RESTARTS = "fieldrig.restart"


class PluginSwitch:
    """A switch of another package; its errors name it."""

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self._place = f"{name}.power: the plug-in `{table['plugin']}`"
        self.actions: tuple[str, ...] = tuple(table.get("actions") or STATES)
        self._thread = Aside(self._place, str(table["timeout"]))
        options = dict(table.get("options") or {})
        self._switch: Switch = self._thread.do(lambda: load(SWITCHES, str(table["plugin"]), name)(name, options))

    def drive(self, action: str) -> None:
        """Does the action."""
        self._thread.do(lambda: self._switch.drive(action))

    def confirm(self, action: str) -> str | None:
        """What the plug-in read back, or None."""
        read = self._said("confirm()", self._thread.do(lambda: self._switch.confirm(action)))
        if read is not None and action in STATES and read != action:
            raise BenchError(f"{self._place}: switched `{action}`, but it reads back `{read}`")
        return read

    def status(self) -> str | None:
        """`on` or `off`, or None if it cannot be read."""
        return self._said("status()", self._thread.do(lambda: self._switch.status()))

    def _said(self, method: str, read: object) -> str | None:
        if read is None or isinstance(read, str):
            return read
        raise BenchError(f"{self._place}: {method} gave {read!r}; it is to give a text such as `on`, or None")


class Aside:
    """A thread for what may hang, one thing after the other.

    Args:
        place: what errors call it.
        timeout: how long one thing may take: a duration with a unit.
    """

    def __init__(self, place: str, timeout: str) -> None:
        self._place = place
        self._limit = nanoseconds(timeout, "timeout")
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        # The run does not wait for it at its end; the thread ends when nobody needs it any more.
        threading.Thread(target=_serve, args=(self._work, self._idle), name=place, daemon=True).start()
        weakref.finalize(self, self._work.put, None)

    def do(self, what: Callable[[], T]) -> T:
        """Does something there, and gives what it gives.

        Raises:
            BenchError: whatever it raises, or it takes too long, or what took too long before is not over yet.
        """
        if not self._idle.is_set():
            raise BenchError(f"{self._place}: it still hangs in what took too long before")
        found: list[T] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                found.append(what())
            except BaseException as error:  # also SystemExit: a plug-in does not end the run
                raised.append(error)

        self._idle.clear()
        self._work.put(work)
        if not self._idle.wait(self._limit / 1e9):
            raise BenchError(f"{self._place}: it took longer than {human(self._limit)}")
        with blamed(self._place):
            for error in raised:
                raise error
        return found[0]


def _serve(work: queue.SimpleQueue[Callable[[], None] | None], idle: threading.Event) -> None:
    while (what := work.get()) is not None:
        what()
        del what  # it holds on to its plug-in
        idle.set()


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
    """Makes every failure inside one of the bench: no test has called what a plug-in calls.

    Raises:
        BenchError: something failed.
    """
    try:
        yield
    except BenchError:
        raise
    except FieldrigError as error:
        raise BenchError(f"{place}: {error.message}", hint=error.hint, **error.facts) from None
    except (Exception, SystemExit) as error:
        raise BenchError(f"{place}: {type(error).__name__}: {error}") from error
