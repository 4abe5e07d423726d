"""An MQTT plug as the switch of a device: it is told over a topic, and says over another what it did.

::

    power = { mqtt = "lab", topic = "cmnd/plug7/POWER", on = "ON", off = "OFF",
              status = { topic = "stat/plug7/POWER", on = "ON", off = "OFF" }, settle = "2s", safe = "off" }

Read-back: after the command the plug is given its time to say in which state it is. Only what it says then counts. One
that keeps silent because nothing changed is asked (`ask`: what makes it say its state). If the bench file does not say
how, and the broker had retained the wanted state from before, the plug is taken to be in it, but that was not read
back: what is retained may be older than the last loss of power of the plug.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import _core
from ..errors import BenchError, FieldrigError, UsageError
from ..expect import json_matches
from ..units import human, nanoseconds
from .switch import STATES

if TYPE_CHECKING:
    from .._core import Rig

UNCHANGED = 2_000_000_000
"""After so many nanoseconds a plug that was in the wanted state already is taken to have nothing to say."""
ASKED = 500_000_000
"""After so many nanoseconds a plug that can be asked is asked, and again and again."""
VERSIONS = {"mqtt5": "5", "mqtt311": "3.1.1"}


class PlugSwitch:
    """Publishes the command, and reads the status topic back."""

    actions: tuple[str, ...] = STATES

    def __init__(self, name: str, table: Mapping[str, Any], rig: Rig | None = None) -> None:
        self._name = name
        self._rig = rig
        self._reach: dict[str, Any] = table["reach"]
        self._timeout: str = table["timeout"]
        self._topic = self._full(str(table["topic"]))
        self._values = {"on": str(table.get("on", "ON")), "off": str(table.get("off", "OFF"))}
        self._status: dict[str, Any] | None = table.get("status")
        self._ask: dict[str, Any] | None = table.get("ask")
        self._state: str | None = None

    def drive(self, action: str) -> None:
        """Publishes with QoS 1 and waits for the state that was asked for, if the plug has a status topic."""
        if action not in STATES:
            raise UsageError(f"{self._name}.power: a plug can do `on` and `off`, not `{action}`")
        self._state = None
        with self._client() as client:
            watch = client.watch(self._status_topic, qos=1) if self._status is not None else None
            client.publish(self._topic, self._values[action].encode(), qos=1)
            if watch is not None:
                self._state = self._settled(client, watch, action)

    def confirm(self, action: str) -> str | None:
        """What was read back while the plug was switched: its answer comes only once. None if it did not say."""
        return self._state

    def status(self) -> str | None:
        """What the plug says when it is asked.

        Of one that cannot be asked: what it says in its time, or what the broker retained; None if that is nothing.

        Raises:
            BenchError: it is asked, and says nothing.
        """
        if self._status is None:
            return None
        with self._client() as client:
            watch = client.watch(self._status_topic, qos=1)
            if self._ask is not None:
                return self._settled(client, watch, None)
            found = watch.wait(0, client.now().latest_ns + UNCHANGED)
            return self._read(found[-1].payload) if found else None

    def _settled(self, client: _core.mqtt.Client, watch: _core.mqtt.Watch, action: str | None) -> str | None:
        """Waits for the wanted state on the status topic, or for any if none is wanted.

        Returns:
            The state; None if it was not read back.

        Raises:
            BenchError: the plug says another, or nothing.
        """
        begun = client.now().latest_ns
        limit = begun + nanoseconds(self._timeout, "timeout")
        seen, last, kept, asked = 0, None, None, begun if action is None else begun + ASKED
        while True:
            if self._ask is not None and client.now().latest_ns >= asked:
                client.publish(self._full(str(self._ask["topic"])), str(self._ask.get("payload", "")).encode(), qos=1)
                asked = client.now().latest_ns + ASKED
            quiet = begun + UNCHANGED if self._ask is None and kept == action and last is None else limit
            news = watch.wait(seen, min(quiet, limit, asked if self._ask is not None else limit))
            seen += len(news)
            for message in news:
                state = self._read(message.payload)
                if message.retained:
                    kept = state
                    continue
                last = state
                if state == action or action is None:
                    return state
            if not news and self._ask is None and last is None and kept == action and kept is not None:
                return None
            if client.now().latest_ns >= limit:
                said = f"it says `{last}`" if last is not None else "it says nothing"
                place = f"{self._status_topic} after {human(limit - begun)}"
                done = "asked for its state" if action is None else f"switched `{action}`"
                raise BenchError(f"{self._name}.power: {done}, but {said} on {place}")

    def _read(self, payload: bytes) -> str:
        """`on` or `off` for what the bench file says of each; else the payload itself."""
        status = self._status or {}
        text = payload.decode(errors="replace")
        for state in STATES:
            if says(str(status.get(state, self._values[state])), text):
                return state
        return text[:40]

    @property
    def _status_topic(self) -> str:
        return self._full(str((self._status or {}).get("topic", "")))

    def _full(self, topic: str) -> str:
        return topic.replace("{base}", str(self._reach.get("base") or ""))

    @contextmanager
    def _client(self) -> Iterator[_core.mqtt.Client]:
        """A client of the broker. Its failures are the bench's: the plug is not the device under test."""
        place = f"the plug of {self._name} ({self._topic} at {self._reach['url']})"
        password = self._reach.get("password")
        version = str(self._reach.get("protocol") or "mqtt5")
        client = None
        try:
            client = _core.mqtt.Client(
                self._reach["url"],
                version=VERSIONS.get(version, version),
                username=self._reach.get("username"),
                password=str(password).encode() if password is not None else None,
                timeout=self._timeout,
                rig=self._rig,
                name=place,
            )
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


def says(wanted: str, text: str) -> bool:
    """Whether a payload says a state: the same text, or, if a JSON object is wanted, one that holds all of it."""
    if text.strip() == wanted:
        return True
    try:
        parts, found = json.loads(wanted), json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(parts, dict) and json_matches(parts, found)
