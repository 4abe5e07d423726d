"""The links of a device as its model sees them, and what can go wrong on them."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .._core import Span
from ..errors import UsageError
from ..units import nanoseconds
from .tasks import Event, Future, ModelError, Scheduler

Duration = str | Span


class NoAnswer(ModelError, TimeoutError):
    """Nobody answered the request in time."""


class ExceptionAnswer(ModelError):
    """The other device answered with a Modbus exception; `.code` is its code (2: illegal data address)."""

    def __init__(self, text: str, code: int = -1) -> None:
        super().__init__(text)
        self.code = code


class Malformed(ModelError):
    """The answer breaks the protocol."""


class Lost(ModelError):
    """The connection went away, or there is none: nobody knows whether the message arrived."""


class Refused(ModelError):
    """The other side, or the link itself, turned the request down."""


_ERRORS: dict[str, type[ModelError]] = {
    "no_answer": NoAnswer,
    "exception": ExceptionAnswer,
    "malformed": Malformed,
    "lost": Lost,
    "refused": Refused,
}


def failure(answer: Mapping[str, Any]) -> ModelError | None:
    """The exception that an answer stands for; `None` if it is a good one."""
    word = answer.get("error")
    if word is None:
        return None
    text = str(answer.get("text") or word)
    if word == "exception":
        return ExceptionAnswer(text, int(answer.get("code", -1)))
    return _ERRORS.get(str(word), ModelError)(text)


class LinkInfo(NamedTuple):
    """A link of the device, as the bench file has it."""

    #: Its name.
    name: str
    #: `"modbus-rtu"`, `"modbus-tcp"`, `"mqtt"`, `"mqtt5"`, `"console"`.
    protocol: str
    #: What the device is on it: `"client"` (it asks) or `"devices"` (it is asked).
    role: str = "devices"
    #: The face that is on it, if it has another name.
    face: str = ""


#: Sends an ask through the face of this name; the answer comes in the future.
Ask = Callable[[str, dict[str, Any]], Future[Any]]


class Link:
    """A link of the device: `self.uplink`, `self.bus485` in a model."""

    #: Whether a link of this class is ready from the start, or only once its face says so.
    _ready_at_once = True

    def __init__(self, info: LinkInfo, scheduler: Scheduler, ask: Ask, line: Callable[[str, str], None]) -> None:
        #: Its name in the bench file.
        self.name = info.name
        #: Its protocol.
        self.protocol = info.protocol
        self._face = info.face or info.name
        self._ask_host, self._line_host = ask, line
        self._ready = Event(scheduler)
        if self._ready_at_once:
            self._ready.set()

    @property
    def ready(self) -> bool:
        """Whether it carries what the model says: an MQTT link is connected."""
        return self._ready.is_set

    def until_ready(self, timeout: Duration | None = None) -> Future[None]:
        """Waits until it is ready.

        Args:
            timeout: how long at most; awaiting it raises `TimeoutError` then. `None`: for ever.
        """
        return self._ready.wait(timeout)

    def _ask(self, request: dict[str, Any]) -> Future[Any]:
        return self._ask_host(self._face, request)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        kind = type(self).__doc__ or ""
        can = [word for word in dir(type(self)) if not word.startswith("_")]
        raise AttributeError(
            f"the link `{self.name}` ({self.protocol}) cannot `{name}`: it is {kind.splitlines()[0][:1].lower()}"
            f"{kind.splitlines()[0][1:].rstrip('.')}; it has: {', '.join(can)}"
        )

    def __repr__(self) -> str:
        return f"<link {self.name}, {self.protocol}>"


class ServerLink(Link):
    """A link on which the device is asked: it answers from its points by itself."""


class ConsoleLink(Link):
    """A console: lines of text."""

    def line(self, text: str) -> None:
        """Says a line, at once; a text with line feeds is several."""
        self._line_host(self._face, text)


class MqttLink(Link):
    """A connection to an MQTT broker, which the device makes and renews by itself."""

    _ready_at_once = False

    def publish(
        self,
        topic: str,
        payload: str | bytes | None = None,
        *,
        json: Any = None,
        qos: int = 0,
        retain: bool = False,
    ) -> Future[None]:
        """Publishes a message, at once; await the result to wait until it is acknowledged (QoS 1) or sent (QoS 0).

        Args:
            topic: `{base}` in it stands for the base of the link.
            payload: text or bytes.
            json: instead of a payload: a value to be sent as JSON.
            qos: 0 or 1.
            retain: whether the broker keeps it.

        Raises:
            Lost: (when awaited) there is no connection, or it went before the acknowledgement.
            Refused: (when awaited) the broker, or the client, turned the message down.
            UsageError: both a payload and `json`, or another QoS.
        """
        if payload is not None and json is not None:
            raise UsageError("publish() takes a payload or json=, not both")
        if qos not in (0, 1):
            raise UsageError(f"publish(qos={qos}): a model publishes with QoS 0 or 1")
        if json is not None:
            payload = json_module.dumps(json)
        return self._ask({"topic": topic, "payload": payload or "", "qos": qos, "retain": retain})


class ModbusLink(Link):
    """A Modbus wire or connection on which the device is the client.

    On a wire one request is under way at a time, the others wait; `timeout` counts from the request's own turn.
    Every method gives something to await; awaiting it raises

    - `NoAnswer`: nobody answered within `timeout`;
    - `ExceptionAnswer`: the answer is a Modbus exception (`.code`);
    - `Malformed`: the answer breaks the protocol;
    - `Lost`: the connection is gone;
    - `Refused`: the request is none (an address above 65535, too many registers).
    """

    def read_holding(
        self, address: int, count: int = 1, *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[int, ...]]:
        """Reads holding registers (function 3); gives 16-bit numbers."""
        return self._read("read_holding", address, count, unit, timeout)

    def read_input(
        self, address: int, count: int = 1, *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[int, ...]]:
        """Reads input registers (function 4); gives 16-bit numbers."""
        return self._read("read_input", address, count, unit, timeout)

    def read_coils(
        self, address: int, count: int = 1, *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[bool, ...]]:
        """Reads coils (function 1); gives truth values."""
        return self._read("read_coils", address, count, unit, timeout)

    def read_discrete_inputs(
        self, address: int, count: int = 1, *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[bool, ...]]:
        """Reads discrete inputs (function 2); gives truth values."""
        return self._read("read_discrete_inputs", address, count, unit, timeout)

    def write_register(
        self, address: int, value: int, *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[int, ...]]:
        """Writes one holding register (function 6). Unit 0 is the broadcast: nobody answers, and that is fine."""
        return self._write("write_register", address, {"value": value}, unit, timeout)

    def write_registers(
        self, address: int, values: Sequence[int], *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[int, ...]]:
        """Writes holding registers (function 16)."""
        return self._write("write_registers", address, {"values": list(values)}, unit, timeout)

    def write_coil(
        self, address: int, value: bool, *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[int, ...]]:
        """Writes one coil (function 5)."""
        return self._write("write_coil", address, {"value": value}, unit, timeout)

    def write_coils(
        self, address: int, values: Sequence[bool], *, unit: int = 1, timeout: Duration = "1s"
    ) -> Future[tuple[int, ...]]:
        """Writes coils (function 15)."""
        return self._write("write_coils", address, {"values": list(values)}, unit, timeout)

    def raw(self, pdu: bytes, *, unit: int = 1, timeout: Duration = "1s") -> Future[bytes]:
        """Sends any PDU (function code and data); gives that of the answer."""
        limit = nanoseconds(timeout, "timeout")
        return self._ask({"unit": unit, "function": "raw", "pdu": bytes(pdu), "timeout": limit})

    def _read(self, function: str, address: int, count: int, unit: int, timeout: Duration) -> Future[Any]:
        return self._request(function, address, {"count": count}, unit, timeout)

    def _write(self, function: str, address: int, what: dict[str, Any], unit: int, timeout: Duration) -> Future[Any]:
        return self._request(function, address, what, unit, timeout)

    def _request(self, function: str, address: int, what: dict[str, Any], unit: int, timeout: Duration) -> Future[Any]:
        limit = nanoseconds(timeout, "timeout")
        return self._ask({"unit": unit, "function": function, "address": address, **what, "timeout": limit})


def link_class(info: LinkInfo) -> type[Link]:
    """What a model may do on this link."""
    if info.protocol.startswith("mqtt"):
        return MqttLink
    if info.protocol == "console":
        return ConsoleLink
    if info.protocol.startswith("modbus") and info.role == "client":
        return ModbusLink
    return ServerLink
