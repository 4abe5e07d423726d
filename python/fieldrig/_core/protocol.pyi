"""Protocols that are defined by data: client, emulated device, frames."""

from collections.abc import Callable, Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, final

from fieldrig._core import Dissection, HasInstant, Rig, Span, Stall, Stamp
from fieldrig._core.device import Change
from fieldrig._core.stream import Sent

__all__ = ["HABITS", "Answer", "Client", "Device", "Frame", "Protocol", "checksum", "checksums"]

HABITS: tuple[tuple[str, str], ...]
"""What emulated devices can do wrong: names, and what they take."""

def checksum(name: str, data: bytes, /) -> int:
    """The value of a checksum: a CRC by its name in the catalogue (`crc-16/modbus`), `sum8`, `xor8`, `lrc`..

    Raises:
        UsageError: there is none of that name.
    """

def checksums() -> tuple[str, ...]:
    """The names of all checksums, other names of the catalogue among them."""

@final
class Protocol:
    """A protocol that is described by data; docs/protocols.md describes each key.

    Args:
        description: the description, as a file holds it.

    Raises:
        UsageError: what is wrong with it, with its key.
    """

    def __new__(cls, description: Mapping[str, Any], /) -> Protocol: ...
    @staticmethod
    def load(path: str | PathLike[str], /) -> Protocol:
        """Reads a description from a file.

        Raises:
            BenchFileError: what is wrong with it, with file, line and column.
        """
    @property
    def name(self) -> str: ...
    @property
    def messages(self) -> tuple[str, ...]:
        """The names of its messages."""
    @property
    def sequence(self) -> str | None:
        """The name of the field that numbers requests, if there is one."""
    def needs(self, message: str, /) -> Literal["nothing", "write", "restart", "silence"]:
        """What a bench must allow before a message is sent to a real device; of an unknown one "write"."""
    def encode(
        self,
        message: str,
        /,
        fields: Mapping[str, Any] | None = None,
        *,
        patch: Mapping[str, Any] | None = None,
        sequence: int = 0,
    ) -> bytes:
        """The bytes of a message, as they go over the wire.

        Raises:
            UsageError: an unknown message or field, a value that does not fit.
        """
    def expects(self, message: str | None, fields: Mapping[str, Any], /) -> None:
        """Refuses what fields of a message (of any, if it is None) could never hold.

        Raises:
            UsageError: there is no such field, or it cannot hold that.
        """
    def holds(self, message: str | None, name: str, expected: Any, found: Any, /) -> bool:
        """Whether what came in a field is what was expected: the same in its bytes."""
    def dissect(self, data: bytes, /, sender: Literal["client", "device"] = "client") -> Dissection:
        """What the bytes of a frame mean, field by field, and what is wrong with them."""

@final
class Frame:
    """Something that came: a message that answers nothing, a wrong frame, garbage; the request that a handler gets."""

    @property
    def kind(self) -> Literal["answer", "unsolicited", "stray", "late", "wrong", "garbage", "request"]: ...
    @property
    def place(self) -> int:
        """Its number, counted from 0 for the first that came; of the request that a handler gets always 0."""
    @property
    def message(self) -> str | None:
        """The name of the message, if it is a known one."""
    @property
    def fields(self) -> dict[str, Any]:
        """All fields, those of header and trailer among them."""
    @property
    def raw(self) -> bytes:
        """As it came; of much garbage the first bytes."""
    @property
    def first(self) -> Stamp:
        """When its first byte came."""
    @property
    def at(self) -> Stamp:
        """When its last byte came."""
    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with it: place, what was there, what was expected."""
    @property
    def wrong(self) -> tuple[str, ...]:
        """The same in a word each: `checksum`, `length`, `truncated`, `too long`, `escape`, `content`.."""
    def __getitem__(self, name: str, /) -> Any:
        """The value of a field.

        Raises:
            UsageError: there is none of that name.
        """
    def describe(self) -> str:
        """One line for a failure text."""
    def dissect(self) -> Dissection:
        """Field by field."""

@final
class Answer:
    """An answer to one request."""

    @property
    def message(self) -> str | None:
        """The name of the message."""
    @property
    def fields(self) -> dict[str, Any]:
        """All fields, those of header and trailer among them."""
    @property
    def request(self) -> bytes:
        """The request, as it was sent."""
    @property
    def raw(self) -> bytes:
        """The answer, as it came."""
    @property
    def at(self) -> Stamp:
        """When the request was issued."""
    @property
    def first(self) -> Stamp:
        """When the first byte of the answer came."""
    @property
    def done(self) -> Stamp:
        """When the last byte of the answer came."""
    @property
    def latency(self) -> Span:
        """From the issue of the request to the last byte of the answer."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from the issue of the request to a later event."""
    def __getitem__(self, name: str, /) -> Any:
        """The value of a field.

        Raises:
            UsageError: there is none of that name.
        """
    def dissect(self) -> Dissection:
        """Field by field."""

@final
class Client:
    """The native client behind `fieldrig.protocol.Client`."""

    def __new__(
        cls,
        url: str,
        protocol: Protocol,
        *,
        rig: Rig | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> Client: ...
    @property
    def url(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> Protocol: ...
    def ask(
        self,
        message: str,
        fields: Mapping[str, Any],
        *,
        answer: list[str] | None = None,
        patch: Mapping[str, Any] | None = None,
        timeout: str | Span | None = None,
    ) -> Answer: ...
    def send(self, message: str, fields: Mapping[str, Any], *, patch: Mapping[str, Any] | None = None) -> Sent: ...
    def raw(self, data: bytes, /) -> Sent: ...
    def wait(self, index: int, deadline_ns: int, /) -> tuple[Frame, ...]:
        """The frames from number `index` on; waits for the first of them until the deadline of the run clock."""
    def frames(self) -> tuple[Frame, ...]:
        """What came so far."""
    def alive(self, since: Stamp, /) -> str | None:
        """Why nobody knows whether all that came from an instant on was seen, or None."""
    def missed(self, since: Stamp, /) -> str | None:
        """What is known to have been lost of what came from an instant on, or None."""
    @property
    def resolution_ns(self) -> int:
        """So long may bytes have waited in the adapter before a look could find them; 0 if nothing holds them back."""
    def look(self) -> None:
        """Takes what has arrived, without waiting."""
    def now(self) -> Stamp: ...
    def stalls(self, since: HasInstant | Stamp, /) -> tuple[Stall, ...]: ...
    def close(self) -> None: ...

@final
class Device:
    """An emulated device: it answers as the rules of the description say, and as its handler does.

    Args:
        url: where it is found: `tcp://127.0.0.1:0` (a free port), `pty://?line=9600+8N1`, `unix:///path`,
            `rfc2217://127.0.0.1:0?line=..`, `wire://name` or `memory://name` of a rig, `serial:///dev/ttyUSB0?line=..`.
        protocol: its protocol.
        points: its points and their first values. Without a handler, each has its use in a message or a rule.
        handler: is asked about each sound request and gives a reply: None (the rules answer), the name of a message, or
            `(name, fields)`, `(name, fields, patch)`, bytes as they are, `NO_ANSWER`.
        rig: the rig to share; without one, the device has its own.

    Raises:
        PortError: the port cannot be opened.
        UsageError: a rule names what is not there, or a point has no use; a malformed URL.
    """

    def __new__(
        cls,
        url: str,
        protocol: Protocol,
        *,
        points: Mapping[str, bool | int | float | str] | None = None,
        handler: Callable[[Frame], Any] | None = None,
        rig: Rig | None = None,
    ) -> Device: ...
    @property
    def url(self) -> str:
        """Where a client finds it."""
    def get(self, point: str, /) -> bool | int | float | str:
        """The value of a point.

        Raises:
            UsageError: there is none of that name.
        """
    def set(self, point: str, value: bool | int | float | str, /) -> Change:
        """Sets a point.

        Raises:
            UsageError: there is none of that name; a value of another kind.
        """
    def habit(self, name: str, value: object = None) -> None:
        """Makes it misbehave; `HABITS` says how. `"default"` ends it.

        Raises:
            UsageError: an unknown habit, a wrong value.
        """
    def send(
        self,
        message: str,
        /,
        fields: Mapping[str, Any] | None = None,
        *,
        patch: Mapping[str, Any] | None = None,
    ) -> int:
        """Sends a message unasked; fields that are missing come from its points.

        Returns:
            To how many connections it went.

        Raises:
            UsageError: an unknown message or field, a value that does not fit.
        """
    def raw(self, data: bytes, /) -> int:
        """Sends bytes as they are.

        Returns:
            To how many connections they went.
        """
    def power_on(self) -> Stamp: ...
    def power_off(self) -> Stamp: ...
    def close(self) -> None:
        """Ends it; closing twice is fine.

        Raises:
            BenchError: its handler has failed.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None, /
    ) -> None: ...
