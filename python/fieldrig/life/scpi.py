"""A power supply that speaks SCPI, over TCP or a serial line, as the switch of a device.

::

    power = { scpi = "tcp://10.0.0.9:5025", on = "OUTP ON", off = "OUTP OFF", safe = "off" }

What it was told is read back (`OUTP?` answers 1 or 0), and its error queue is asked: `SYST:ERR?` answers `0,"No error"`
(SCPI-99, volume 1, 21.8.8). Errors that were in the queue before accuse nobody.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, FieldrigError, UsageError
from ..units import nanoseconds
from .switch import STATES, read_back

if TYPE_CHECKING:
    from .._core import Rig
    from ..stream import Stream

QUEUE = 50
"""No supply keeps more errors than this; one that always has another is asked no further."""
ANSWER = 100
"""So many milliseconds there are at least for an answer."""
WORDS = {"1": "on", "ON": "on", "0": "off", "OFF": "off"}
"""How a supply says its state: SCPI wants 1 or 0, some say ON or OFF."""


class ScpiSwitch:
    """Sends the command, looks at the error queue, and reads the state back."""

    actions: tuple[str, ...] = STATES

    def __init__(self, name: str, table: Mapping[str, Any], rig: Rig | None = None) -> None:
        self._name = name
        self._rig = rig
        self._url = str(table["scpi"])
        self._timeout = str(table["timeout"])
        self._commands = {state: str(table[state]) for state in STATES}
        self._status = str(table["status"])
        self._errors = str(table["errors"])
        self._begun = time.monotonic()

    def drive(self, action: str) -> None:
        """Sends the command of the action; what the supply then has in its error queue is raised."""
        if action not in STATES:
            raise UsageError(f"{self._name}.power: a supply can do `on` and `off`, not `{action}`")
        self._begun = time.monotonic()
        with self._supply() as supply:
            # What was in its error queue before accuses nobody.
            self._complaints(supply)
            command = self._commands[action]
            _say(supply, command)
            complaints = self._complaints(supply)
            if complaints:
                said = "; ".join(complaints)
                raise BenchError(f"{self._name}.power: the supply at {self._url} said to `{command}`: {said}")

    def confirm(self, action: str) -> str | None:
        """Asks for the state until it is the wanted one; None if the supply cannot be asked."""
        if not self._status:
            return None
        with self._supply() as supply:
            name = f"{self._name}.power"
            return read_back(name, action, self._begun, self._timeout, lambda: self._state(supply))

    def status(self) -> str | None:
        """The state that the supply says it is in."""
        if not self._status:
            return None
        self._begun = time.monotonic()
        with self._supply() as supply:
            return self._state(supply)

    def _state(self, supply: Stream) -> str:
        said = self._ask(supply, self._status)
        return WORDS.get(said.upper(), said[:40])

    def _complaints(self, supply: Stream) -> list[str]:
        found: list[str] = []
        while self._errors and len(found) < QUEUE:
            said = self._ask(supply, self._errors)
            code = said.split(",")[0].strip()
            if code.lstrip("+-").strip("0") == "" and code:
                break
            found.append(said[:80])
        return found

    def _ask(self, supply: Stream, question: str) -> str:
        left = self._begun + nanoseconds(self._timeout, "timeout") / 1e9 - time.monotonic()
        _say(supply, question)
        # All of an action has one time limit; who is asked last has time for an answer nevertheless.
        answer = supply.receive(lambda data: b"\n" in data, within=f"{max(round(left * 1000), ANSWER)}ms").data
        if not answer.endswith(b"\n"):
            said = f"only {answer!r}" if answer else "nothing"
            raise BenchError(f"{self._name}.power: the supply at {self._url} answered {said} to `{question}`")
        return answer.decode(errors="replace").strip()

    @contextmanager
    def _supply(self) -> Iterator[Stream]:
        """The conversation with the supply. Its failures are the bench's: it is not the device under test."""
        from ..stream import Stream

        place = f"the supply of {self._name} at {self._url}"
        supply = None
        try:
            supply = Stream(self._url, rig=self._rig, name=place)
            yield supply
        except UsageError:
            raise
        except FieldrigError as error:
            if isinstance(error, BenchError) and error.message.startswith(f"{self._name}.power: "):
                raise
            message = error.message.removeprefix(f"{place}: ")
            raise BenchError(f"{place}: {message}", hint=error.hint, **error.facts) from None
        finally:
            if supply is not None:
                supply.close()


def _say(supply: Stream, line: str) -> None:
    supply.send(line.encode() + b"\n")
