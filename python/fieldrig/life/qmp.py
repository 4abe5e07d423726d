"""The monitor of QEMU as the switch of a device, and as a look into its memory (QMP, the QEMU Machine Protocol).

::

    power = { qmp = "unix:///run/board/qmp" }

=========== ================================= =============================================
action      what QEMU is told                 what proves it
=========== ================================= =============================================
``off``     ``stop``                          it says that the machine is paused
``on``      ``system_reset``, ``cont``        the event RESET, and that the machine runs
``reset``   the same                          the same
``hang``    ``stop``                          it says that the machine is paused
``resume``  ``cont``                          it says that the machine runs
=========== ================================= =============================================

QEMU cannot take the power from a machine without ending: the memory keeps its contents from ``off`` to ``on``, as it
does when a reset button is pressed. Whoever has to see a cold start starts QEMU anew.

Source: QEMU 7.2, docs/interop/qmp-spec.txt and the reference of its commands.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..errors import BenchError, UsageError
from ..units import human, nanoseconds

ACTIONS = ("on", "off", "reset", "hang", "resume")
RUNS = {"on": True, "off": False, "reset": True, "hang": False, "resume": True}
"""Whether the machine runs after an action."""
LONGEST = 1 << 20
"""No message of a monitor is longer, in bytes."""
PIECE = 1024
"""So many bytes of memory are asked for at once."""


class Qmp:
    """A conversation with the monitor of a QEMU: one at a time, and as short as an action.

    Args:
        url: ``unix:///PATH`` or ``tcp://HOST:PORT``.
        timeout: how long all of it may take: a duration with a unit.

    Raises:
        BenchError: nobody is there, or it is no QMP.
    """

    def __init__(self, url: str, timeout: str) -> None:
        self._url = url
        self._limit = nanoseconds(timeout, "timeout")
        self._deadline = time.monotonic() + self._limit / 1e9
        self._rest = b""
        self.events: list[str] = []
        """The names of the events that came so far."""
        self._socket = self._connected()
        try:
            greeting = self._message()
            if "QMP" not in greeting:
                raise self._error(f"it says {_short(greeting)}, which is no greeting of QMP")
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def execute(self, command: str, **arguments: object) -> Any:
        """Has a command done, and gives what it returns.

        Raises:
            BenchError: QEMU refuses it, says nothing in time, or is gone.
        """
        order = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._timed()
        try:
            self._socket.sendall(json.dumps(order).encode() + b"\r\n")
        except OSError as error:
            raise self._error(f"`{command}` cannot be sent: {_reason(error)}") from None
        while True:
            message = self._message()
            if "return" in message:
                return message["return"]
            if "error" in message:
                problem = message["error"]
                said = problem.get("desc", problem) if isinstance(problem, dict) else problem
                raise self._error(f"it refuses `{command}`: {said}")
            self._note(message)

    def wait_for(self, event: str) -> None:
        """Waits for an event, unless it came since the conversation began.

        Raises:
            BenchError: it does not come in time.
        """
        while event not in self.events:
            self._note(self._message())

    def close(self) -> None:
        """Ends the conversation."""
        self._socket.close()

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _note(self, message: Mapping[str, Any]) -> None:
        if "event" in message:
            self.events.append(str(message["event"]))

    def _connected(self) -> socket.socket:
        where = urlsplit(self._url)
        local = where.scheme == "unix"
        made = socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.settimeout(max(0.001, self._deadline - time.monotonic()))
            made.connect(where.path if local else (where.hostname, where.port))
        except OSError as error:
            made.close()
            raise self._error(f"no connection: {_reason(error)}") from None
        return made

    def _message(self) -> dict[str, Any]:
        """The next message: one line of JSON."""
        while b"\n" not in self._rest:
            self._timed()
            try:
                piece = self._socket.recv(65536)
            except OSError as error:
                raise self._error(_reason(error)) from None
            if not piece:
                raise self._error("it ended the conversation")
            self._rest += piece
            if len(self._rest) > LONGEST:
                raise self._error(f"it says {self._rest[:60]!r} and goes on without an end of line")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):  # brackets without end
            raise self._error(f"it says {line[:60]!r}, which is no JSON") from None
        return found if isinstance(found, dict) else {}

    def _timed(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._error(f"nothing came within {human(self._limit)}")
        self._socket.settimeout(left)

    def _error(self, problem: str) -> BenchError:
        return BenchError(f"the monitor of QEMU at {self._url}: {problem}")


class QmpSwitch:
    """Switches a machine of QEMU, and reads its state back."""

    actions: tuple[str, ...] = ACTIONS

    def __init__(self, name: str, table: Mapping[str, Any]) -> None:
        self._name = name
        self._url: str = table["qmp"]
        self._timeout: str = table["timeout"]

    def drive(self, action: str) -> None:
        """Does an action; a reset is over when QEMU says so."""
        if action not in ACTIONS:
            raise UsageError(f"{self._name}.power: QEMU can do {', '.join(ACTIONS)}, not `{action}`")
        with self._monitor() as monitor:
            if action in ("on", "reset"):
                monitor.execute("system_reset")
                monitor.wait_for("RESET")
            monitor.execute("cont" if RUNS[action] else "stop")

    def confirm(self, action: str) -> str | None:
        """Asks whether the machine runs.

        Raises:
            BenchError: it does not do what it was told to.
        """
        state = self.status()
        if state != ("on" if RUNS[action] else "off"):
            raise BenchError(f"{self._name}.power: told `{action}`, but QEMU says that the machine is `{state}`")
        return state

    def status(self) -> str | None:
        """``on`` if the machine runs, ``off`` if it is paused."""
        with self._monitor() as monitor:
            said = monitor.execute("query-status")
            running = said.get("running") if isinstance(said, dict) else None
            if not isinstance(running, bool):
                raise BenchError(f"QEMU does not say whether the machine runs: {json.dumps(said)[:60]}")
            return "on" if running else "off"

    def leaves(self, action: str) -> str:
        """The state in which an action leaves the device: one that hangs has to be switched on again."""
        return "on" if RUNS[action] else "off"

    def peek(self, address: int, length: int) -> bytes:
        """What stands in the memory of the machine; physical addresses.

        Raises:
            BenchError: there is no memory, or QEMU says something else.
        """
        found = b""
        with self._monitor() as monitor:
            while len(found) < length:
                found += _piece(monitor, address + len(found), min(PIECE, length - len(found)))
        return found

    @contextlib.contextmanager
    def _monitor(self) -> Iterator[Qmp]:
        try:
            with Qmp(self._url, self._timeout) as monitor:
                yield monitor
        except BenchError as error:
            error.message = f"{self._name}.power: {error.message.removeprefix(f'{self._name}.power: ')}"
            raise


def _piece(monitor: Qmp, address: int, length: int) -> bytes:
    """One `xp` of the human monitor: lines such as ``0000000020000118: 0x00 0xc8``."""
    said = str(monitor.execute("human-monitor-command", **{"command-line": f"xp /{length}xb {address:#x}"}))
    octets = [octet for line in said.splitlines() for octet in re.findall(r"0x([0-9a-f]{2})\b", line.partition(":")[2])]
    if len(octets) != length:
        raise BenchError(f"QEMU cannot show {length} bytes of memory at {address:#x}: {said.strip()[:80]}")
    return bytes.fromhex("".join(octets))


def _reason(error: OSError) -> str:
    return "nothing came in time" if isinstance(error, TimeoutError) else (error.strerror or str(error))


def _short(message: Mapping[str, Any]) -> str:
    return json.dumps(message)[:60]
