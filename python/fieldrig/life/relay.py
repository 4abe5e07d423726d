"""A Modbus relay as the switch of a device: a coil or a holding register on a link of the bench.

::

    power = { modbus = "relays", unit = 3, coil = 7, on = true, off = false, settle = "2s", safe = "off" }
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, FieldrigError, UsageError
from .switch import STATES, read_back

if TYPE_CHECKING:
    from .._core import Rig
    from ..modbus import Client

ANSWER = "1s"
"""How long the relay may take for one answer."""


class RelaySwitch:
    """Writes the coil or register, and reads it back."""

    actions: tuple[str, ...] = STATES

    def __init__(
        self,
        name: str,
        table: Mapping[str, Any],
        rig: Rig | None = None,
        neighbour: Callable[[str], Client | None] | None = None,
    ) -> None:
        self._name = name
        self._rig = rig
        self._neighbour = neighbour or (lambda url: None)
        self._reach: dict[str, Any] = table["reach"]
        self._timeout: str = table["timeout"]
        self._unit = int(table.get("unit") or 1)
        self._coil: int | None = table.get("coil")
        self._register: int | None = table.get("register")
        self._values = {"on": int(table.get("on", 1)), "off": int(table.get("off", 0))}
        self._begun = time.monotonic()

    def drive(self, action: str) -> None:
        """Writes the value of the action; the relay has to confirm the write."""
        if action not in STATES:
            raise UsageError(f"{self._name}.power: a relay can do `on` and `off`, not `{action}`")
        self._begun = time.monotonic()
        with self._client() as client:
            if self._coil is not None:
                client.write_coil(self._coil, bool(self._values[action]), unit=self._unit)
            else:
                client.write_register(self._address, self._values[action], unit=self._unit)

    def confirm(self, action: str) -> str | None:
        """Reads the coil or register until it holds the value of the action, or the time is over."""
        with self._client() as client:
            return read_back(f"{self._name}.power", action, self._begun, self._timeout, lambda: self._state(client))

    def status(self) -> str | None:
        """What the coil or register says."""
        with self._client() as client:
            return self._state(client)

    @property
    def _address(self) -> int:
        if self._register is None:
            raise UsageError(f"{self._name}.power: a relay needs `coil` or `register`")
        return self._register

    def _state(self, client: Client) -> str:
        if self._coil is not None:
            value = int(client.read_coils(self._coil, 1, unit=self._unit).values[0])
        else:
            value = client.read_holding(self._address, 1, unit=self._unit).values[0]
        # A value that is neither, as while a relay with feedback moves, is no state: it is looked at again.
        return next((state for state, known in self._values.items() if known == value), str(value))

    @contextmanager
    def _client(self) -> Iterator[Client]:
        """A client of the relay. Its failures are the bench's: the relay is not the device under test."""
        from ..modbus import Client

        place = f"the relay of {self._name} (unit {self._unit} at {self._reach['url']})"
        client = None
        try:
            # A wire is opened once: a relay beside the device is asked over the device's own client.
            beside = self._neighbour(self._reach["url"])
            if beside is not None:
                client = beside.share(unit=self._unit, timeout=ANSWER, name=place)
            else:
                client = Client(self._reach["url"], timeout=ANSWER, rig=self._rig, name=place)
            yield client
        except UsageError:
            raise
        except FieldrigError as error:
            if isinstance(error, BenchError) and error.message.startswith(f"{self._name}.power: "):
                raise
            message = error.message.removeprefix(f"{place}: ")
            raise BenchError(f"{place}: {message}", hint=error.hint, **error.facts) from None
        finally:
            if client is not None:
                client.close()
