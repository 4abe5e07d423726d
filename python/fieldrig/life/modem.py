"""A modem line (RTS or DTR) as the switch of a device, or as its reset button.

::

    power = { line = "dtr", port = "/dev/ttyUSB3", safe = "off" }
    restart = { line = "rts", link = "console", pulse = "100ms" }

Rules of this file:

- The core does it, as a stimulus program: each change of a line is a `program.step` of the run log with the instants at
  which it was issued and returned. A pulse is counted from when the line was really set: it is never shorter.
- A line can be driven only while its port is open, and is clear when nobody has it open (on a serial port with HUPCL,
  as Linux has it; what a serial server does is its affair). So a port that is there for this alone is open as long as
  the bench, and a console is opened to be switched on by it.
- Whenever a console is opened, which raises both lines for a moment, its lines are put where they belong: a reset is
  released, and the power is what it was.
- What can be read back is that the port took it. What hangs on the line cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import BenchError, FieldrigError, PortLost, UsageError
from ..units import human, nanoseconds
from .switch import STATES

if TYPE_CHECKING:
    from .. import _core
    from .._core import Rig
    from ..dut import Dut
    from ..power import Action
    from ..stimulus import Program
    from ..stream import Played, Stream

REMEDY = 'modem lines are there on a serial port ("/dev/ttyUSB0") and on a serial server ("rfc2217://HOST:PORT")'
NEVER = 1 << 40
"""So many bytes do not come: to wait for them is to wait for the end of the time."""


class LinePort(Protocol):
    """A port whose modem lines are driven."""

    @property
    def name(self) -> str:
        """What failure texts call it."""

    def stream(self) -> Stream:
        """The port, opened if it is not open.

        Raises:
            BenchError: it cannot be opened.
        """

    def is_open(self) -> bool:
        """Whether it is open, so that its lines stand as they were set."""

    def close(self) -> None:
        """Closes it, if it is there for its lines alone."""


class OwnPort:
    """A port that is there for its modem lines alone."""

    def __init__(self, url: str, rig: Rig | None = None) -> None:
        self.name = url
        self._rig = rig
        self._stream: Stream | None = None

    def stream(self) -> Stream:
        """Opens it, or opens it anew if it was lost."""
        from ..stream import Stream

        if not self.is_open():
            self.close()
            self._stream = Stream(self.name, rig=self._rig)
        assert self._stream is not None  # opened above
        return self._stream

    def is_open(self) -> bool:
        """Whether it is open."""
        return self._stream is not None and self._stream.closed is None

    def close(self) -> None:
        """Closes it: its lines are clear then."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class ConsolePort:
    """The port of a console of the device."""

    def __init__(self, dut: Dut, link: str) -> None:
        self.name = f"{dut.name}.{link}"
        self._dut = dut
        self._link = link

    def stream(self) -> Stream:
        """That of the console, which is opened if nobody has opened it.

        One that was lost is not: what it missed meanwhile must not be forgotten. That is the business of `recover`.
        """
        if self._dut.end(self._link) is None:
            self._dut.open_link(self._link)
        found: Stream = self._dut.end(self._link).stream
        return found

    def is_open(self) -> bool:
        """Whether the console is open."""
        console = self._dut.end(self._link)
        return console is not None and console.stream.closed is None

    def close(self) -> None:
        """The console is the device's."""


class LineSwitch:
    """Sets or clears the line."""

    actions: tuple[str, ...] = STATES

    def __init__(self, name: str, table: Mapping[str, Any], port: LinePort) -> None:
        self._line = _Line(f"{name}.power", table, port)
        self._state: str | None = None

    def drive(self, action: str) -> Action:
        """Sets or clears the line, and says when the port was given that and had taken it."""
        if action not in STATES:
            raise UsageError(f"{self._line.place}: a modem line can do `on` and `off`, not `{action}`")
        self._state = None
        played = self._line.play(self._line.level(action == "on"))
        self._state = action
        return _action(f"power {action}", played)

    def confirm(self, action: str) -> str | None:
        """The state in which the port took the line."""
        return self.status()

    def status(self) -> str | None:
        """The state in which the line was set; None if it was not set, or its port is not open any more."""
        return self._state if self._line.port.is_open() else None

    def again(self) -> None:
        """The port was opened again: the line goes where it was."""
        if self._state is not None:
            self.drive(self._state)

    def close(self) -> None:
        """Closes a port that is there for this alone."""
        self._line.port.close()


class LineRestarter:
    """Holds the line for a while."""

    def __init__(self, name: str, table: Mapping[str, Any], port: LinePort) -> None:
        self._line = _Line(f"{name}.restart", table, port)
        self._pulse = str(table["pulse"])

    def restart(self) -> Action:
        """A pulse, from when the line was set; whatever comes between, the reset is released."""
        held, free = self._line.level(True), self._line.level(False)
        pulse = held.wait(NEVER, within=self._pulse, otherwise="go_on", name="pulse").then(free)
        try:
            return _action("restart", self._line.play(pulse, nanoseconds(self._pulse, "pulse")))
        except BaseException:
            with suppress(FieldrigError):
                self._line.play(free)
            raise

    def release(self) -> None:
        """The device is not held in reset."""
        self._line.play(self._line.level(False))


class _Line:
    """One line of a port, with its sense."""

    def __init__(self, place: str, table: Mapping[str, Any], port: LinePort) -> None:
        self.place = place
        self.port = port
        self._name = str(table["line"])
        self._inverted = bool(table.get("inverted"))
        self._limit = nanoseconds(str(table["timeout"]), "timeout")

    def level(self, active: bool) -> Program:
        """The program that brings the line into its active state, or out of it."""
        from ..stimulus import Program

        on = active != self._inverted
        return Program().rts(on) if self._name == "rts" else Program().dtr(on)

    def play(self, program: Program, length: int = 0) -> Played:
        """Has the core do it.

        Args:
            length: how long it takes by itself, in nanoseconds.

        Raises:
            BenchError: the port cannot be opened, has no such line, was lost, or does not take it in time.
            UsageError: the test plays a program of its own on this port.
        """
        stream = self._opened()
        try:
            playing = stream.begin(program)
        except UsageError as error:
            hint = "or drive the line in that program: .rts(True), .dtr(True)"
            raise UsageError(f"{self.place}: {error.message}", hint=hint) from None
        except FieldrigError as error:
            raise PortLost(f"{self._where()}: {_without(self.port.name, error.message)}") from None
        try:
            played = playing.wait(within=f"{self._limit + length}ns")
        except BaseException:
            playing.stop()
            raise
        if played.outcome == "completed":
            return played
        if played.outcome == "running":
            playing.stop()
            raise BenchError(f"{self._where()}: not taken within {human(self._limit)}")
        reason = (played.reason or played.outcome).partition(": ")[2] or played.outcome
        if played.outcome == "refused":
            raise BenchError(f"{self._where()}: {reason}", hint=REMEDY)
        raise PortLost(f"{self._where()}: {reason}")

    def _opened(self) -> Stream:
        try:
            return self.port.stream()
        except BenchError as error:
            error.message = f"{self._where()}: {_without(self.port.name, error.message)}"
            raise
        except UsageError:
            raise
        except FieldrigError as error:
            message = f"{self._where()}: {_without(self.port.name, error.message)}"
            raise BenchError(message, hint=error.hint, **error.facts) from None

    def _where(self) -> str:
        return f"{self.place}: the line {self._name.upper()} of {self.port.name}"


def _without(name: str, message: str) -> str:
    """A message about a port that begins with its name, which is said already."""
    return message.removeprefix(f"{name}: ").removeprefix(f"{name.partition('?')[0]}: ")


def _action(what: str, played: Played) -> Action:
    from ..power import Action

    driven = played.sent
    return Action(what, driven[0].at, driven[-1].done)


class ModemLines:
    """The modem lines of one bench: their ports, and where they stand when a console is opened.

    Args:
        tables: the checked tables of each device.
        device: gives a device by its name.
        rig: what ports are opened on.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], device: Callable[[str], Dut], rig: Rig) -> None:
        self._tables = tables
        self._device = device
        self._rig = rig
        self._own: dict[str, OwnPort] = {}
        self._switches: dict[str, LineSwitch] = {}

    def port(self, name: str, table: Mapping[str, Any]) -> LinePort:
        """The port whose line a table of a device names."""
        url = table.get("port")
        if url is not None:
            return self._own.setdefault(url, OwnPort(url, self._rig))
        dut = self._device(name)
        return ConsolePort(dut, console_of(dut._native, table))

    def switch(self, name: str, table: Mapping[str, Any]) -> LineSwitch:
        """The switch of a device; the same one at each call."""
        if name not in self._switches:
            self._switches[name] = LineSwitch(name, table, _Later(lambda: self.port(name, table)))
        return self._switches[name]

    def restarter(self, name: str, table: Mapping[str, Any]) -> LineRestarter:
        """The reset of a device."""
        return LineRestarter(name, table, self.port(name, table))

    def open(self) -> None:
        """Opens the ports that are there for resets alone, and releases those.

        Raises:
            BenchError: one cannot be opened, or has no such line.
        """
        for name, tables in self._tables.items():
            table = tables.get("restart") or {}
            if "line" in table and table.get("port") is not None:
                self.restarter(name, table).release()

    def opened(self, dut: Dut, link: str) -> None:
        """A link of a device was opened: its lines are put where they belong.

        Raises:
            BenchError: its port has no such line.
        """
        tables = self._tables.get(dut.name) or {}
        power, restart = tables.get("power") or {}, tables.get("restart") or {}
        if self._is_on(dut, link, restart):
            self.restarter(dut.name, restart).release()
        if self._is_on(dut, link, power) and dut.name in self._switches:
            self._switches[dut.name].again()

    def _is_on(self, dut: Dut, link: str, table: Mapping[str, Any]) -> bool:
        return "line" in table and table.get("port") is None and console_of(dut._native, table) == link

    def close(self) -> None:
        """Closes the ports that are there for their lines alone."""
        for port in self._own.values():
            port.close()


class _Later:
    """A port that is looked up when it is needed: the switch of a device is made before the device."""

    def __init__(self, find: Callable[[], LinePort]) -> None:
        self._find = find

    @property
    def name(self) -> str:
        return self._find().name

    def stream(self) -> Stream:
        return self._find().stream()

    def is_open(self) -> bool:
        return self._find().is_open()

    def close(self) -> None:
        self._find().close()


def console_of(device: _core.bench.Dut, table: Mapping[str, Any]) -> str:
    """The name of the console whose line a table names: the only one if it names none (the bench file is checked)."""
    named = table.get("link")
    return str(named) if named is not None else next(one.name for one in device.links if one.protocol == "console")
