"""MQTT: client, watches, embedded broker."""

from types import TracebackType
from typing import Any, Literal, Self, final

from fieldrig._core import HasInstant, Rig, Span, Stall, Stamp

__all__ = ["Broker", "Client", "Message", "Published", "Watch"]

@final
class Message:
    """A message that came in."""

    def __new__(cls, topic: str, payload: bytes, qos: int, retained: bool, duplicate: bool, at: Stamp) -> Message: ...
    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def text(self) -> str:
        """The payload as text; what is no UTF-8 is replaced."""
    @property
    def qos(self) -> int: ...
    @property
    def retained(self) -> bool:
        """The broker had kept it: it is older than the subscription."""
    @property
    def duplicate(self) -> bool:
        """The DUP flag was set: it may have been delivered before."""
    @property
    def at(self) -> Stamp:
        """When its last byte arrived."""
    def json(self) -> Any:
        """The payload as a JSON value. Raises ValueError if it is none."""
    def describe(self) -> str: ...
    def __getnewargs__(self) -> tuple[str, bytes, int, bool, bool, Stamp]: ...

@final
class Published:
    """A message that went out."""

    def __new__(cls, topic: str, at: Stamp, done: Stamp) -> Published: ...
    @property
    def topic(self) -> str: ...
    @property
    def at(self) -> Stamp:
        """When it was issued."""
    @property
    def done(self) -> Stamp:
        """When it was acknowledged; with QoS 0, when the port had taken it."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from the issue to a later event."""
    def __getnewargs__(self) -> tuple[str, Stamp, Stamp]: ...

@final
class Client:
    """A client with one connection to a broker; `fieldrig.mqtt.Client` is what tests use."""

    def __new__(
        cls,
        url: str,
        *,
        client_id: str | None = None,
        version: str = "5",
        keep_alive: str | Span | None = None,
        username: str | None = None,
        password: bytes | None = None,
        clean: bool = True,
        timeout: str | Span | None = None,
        rig: Rig | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> Client: ...
    @property
    def client_id(self) -> str: ...
    def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> Published: ...
    def watch(self, filter: str, *, qos: int = 0) -> Watch: ...
    def look(self) -> None:
        """Takes what has arrived, without waiting, so that what comes later is known to be later."""
    def now(self) -> Stamp: ...
    def stalls(self, since: Stamp, /) -> tuple[Stall, ...]: ...
    def close(self) -> None: ...

@final
class Watch:
    """The messages of one subscription, numbered from 0; `fieldrig.mqtt.Watch` is what tests use."""

    @property
    def filter(self) -> str: ...
    @property
    def granted(self) -> int: ...
    @property
    def resolution_ns(self) -> int:
        """So long may bytes have waited in the adapter before a look could find them; 0 if nothing holds them back."""
    def wait(self, index: int, deadline_ns: int, /) -> tuple[Message, ...]:
        """The messages from number `index` on; waits for the first of them until the deadline of the run clock.

        At the deadline what has arrived is read once more, so an empty answer means that nothing came.
        """
    def messages(self) -> tuple[Message, ...]:
        """All messages so far."""
    def alive(self, since: HasInstant, /) -> str | None:
        """Proves with a round trip that what was published from an instant on arrived; gives the reason if it cannot.

        An embedded broker is asked whether it dropped something for this client since then.
        """
    def missed(self, since: HasInstant, /) -> str | None:
        """What is known to have been lost of what was published from an instant on, or None.

        The broker of a bench is asked with a round trip; one under test is not: what it drops is its own fault.
        """
    def close(self) -> None: ...

@final
class Broker:
    """An embedded broker, listening when the constructor returns.

    Args:
        port: 0 for a free one.
        host: the address to listen on; loopback, unless you say otherwise.
        url: instead of both: `tcp-listen://host:port`, or `memory-listen://NAME` in the memory of the rig.
        rig: the rig to share; without one, the broker has its own.

    Raises:
        PortError: the address cannot be listened on.
    """

    def __new__(
        cls, port: int = 0, *, host: str = "127.0.0.1", url: str | None = None, rig: Rig | None = None
    ) -> Broker: ...
    @property
    def url(self) -> str:
        """Where clients reach it: `mqtt://127.0.0.1:40233`, `memory://NAME`."""
    def close(self) -> None:
        """Ends every connection; closing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
