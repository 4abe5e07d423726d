"""Endpoints in Python: state machines with five methods, for protocols that no description can say.

::

    from fieldrig.endpoint import Bytes, Driver, Event, Send

    class Echo:
        def __init__(self):
            self.actions, self.events = [], []

        def handle(self, now, input):
            if isinstance(input, Bytes):
                self.actions.append(Send(input.conn, input.data.upper()))
                self.events.append(Event("heard", {"text": input.data.decode()}))

        def handle_timeout(self, now): ...
        def poll_timeout(self): return None
        def poll_action(self): return self.actions.pop(0) if self.actions else None
        def poll_event(self): return self.events.pop(0) if self.events else None

    with Driver("tcp://127.0.0.1:0", Echo(), role="device") as driver:
        ...                                             # a client talks to driver.url
        assert driver.expect("heard", within="1s")["text"] == "hello"

Rules of this file:
- An endpoint reads no clock and waits for nothing: instants are given to it, in nanoseconds of the run. So it runs on
  virtual time as it does on a real port.
- After each call of `handle`, `handle_timeout` or a function of `Driver.call`, `poll_action` is called until it gives
  None, then `poll_event` until it gives None, then `poll_timeout` once.
- It runs on one thread at a time: the one for code of users, or that of whoever waits.
- One that raises, does not return, has no end of actions, or asks for a time-out that is due already, again and again,
  is stuck: its port is closed, it is not called again, and whoever asks is told by `EndpointStuck`, with the traceback.
- An event that says no instant has that of the arrival that it comes from. What an endpoint sends leaves when Python
  came round to it: its own actions decide no verdict on times.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, Self, TypeAlias, TypeVar

from ._core import Rig, Span, Stamp
from ._core.endpoint import Driver as _Core
from ._core.endpoint import Report
from .errors import BenchError, EndpointStuck, UsageError
from .expect import Doubt, HasInstant, Observation, Timeline, since
from .handling import Failed, Handler
from .inbox import MessageInbox
from .units import nanoseconds

__all__ = [
    "Action",
    "Bytes",
    "Called",
    "Close",
    "Closed",
    "Driver",
    "Endpoint",
    "Event",
    "Input",
    "LineSignal",
    "Opened",
    "Report",
    "Send",
    "Writable",
]

METHODS = ("handle", "handle_timeout", "poll_timeout", "poll_action", "poll_event")
ENDLESS = 100_000
"""More actions or events than this after one input are without end."""
STANDING = 64
"""How often a time-out may be due again at the same instant."""


@dataclass(frozen=True)
class Opened:
    """A connection exists: accepted, made, or a line is there."""

    conn: int
    """Its number."""
    address: str
    """Who is at its other end, for people."""
    wire: bool
    """A line has no beginning and no end; a connection has both."""


@dataclass(frozen=True)
class Bytes:
    """Bytes came; of UDP, a datagram."""

    conn: int
    data: bytes
    at: Stamp
    """When: all of them within this."""


@dataclass(frozen=True)
class LineSignal:
    """Something happened on a line besides bytes; what a stream tells of it is `fieldrig.stream.LineEvent`."""

    conn: int
    what: str
    """``break``, ``parity``, ``framing``, ``overrun``, ``modem cts=true ..``, or the settings of the other side."""
    at: Stamp


@dataclass(frozen=True)
class Closed:
    """A connection has ended."""

    conn: int
    why: Literal["finished", "reset", "hung up", "local", "refused"]
    """``finished``: the other side sends nothing more, and we still may."""
    reason: str = ""


@dataclass(frozen=True)
class Writable:
    """What was held back because the other side read nothing has left."""

    conn: int


Input: TypeAlias = Opened | Bytes | LineSignal | Closed | Writable
"""What `handle` is called with."""


@dataclass(frozen=True)
class Send:
    """Sends bytes."""

    conn: int
    data: bytes
    not_before: int | None = None
    """Not earlier than this instant, in nanoseconds of the run."""
    gap_before: str | Span | None = None
    """Not before the line was silent for so long."""


@dataclass(frozen=True)
class Close:
    """Ends a connection."""

    conn: int
    how: Literal["fin", "rst", "half open", "stall"] = "fin"
    """``fin``: what is queued is sent first; ``rst``: at once; ``half open``: we send no more; ``stall``: neither."""


Action: TypeAlias = Send | Close
"""What `poll_action` gives."""


@dataclass(frozen=True)
class Event:
    """Something to tell: a word and fields."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    at: Stamp | None = None
    """When it happened; the arrival of what it comes from if not given."""


class Endpoint(Protocol):
    """The five methods."""

    def handle(self, now: int, input: Input, /) -> None:
        """Takes one input at an instant, in nanoseconds of the run."""

    def handle_timeout(self, now: int, /) -> None:
        """Does what is due."""

    def poll_timeout(self) -> int | None:
        """When `handle_timeout` is wanted, in nanoseconds of the run; behind `now` once that has been called."""

    def poll_action(self) -> Action | None:
        """The next thing to do."""

    def poll_event(self) -> Event | None:
        """The next thing to tell."""


E = TypeVar("E", bound=Endpoint)
R = TypeVar("R")


@dataclass(frozen=True)
class Called(Generic[R]):
    """A call of `Driver.call`."""

    value: R
    """What the function gave."""
    at: Stamp
    """When it was issued: not before the call, not after the port was given the first bytes."""
    done: Stamp
    """When the port had taken them."""

    def until(self, later: HasInstant) -> Span:
        """The span from its issue to a later event."""
        return later.at - self.at


class Driver(Generic[E]):
    """Drives an endpoint on a port.

    Args:
        url: where it is: ``serial:///dev/ttyUSB0?line=9600+8N1``, ``tcp://host:port``, ``unix:///path``, ``pty://?line=..``,
            ``udp://..``, ``wire://name`` or ``memory://name`` of a rig.
        endpoint: an object with the five methods; the driver has it to itself.
        role: ``"client"`` connects, ``"device"`` listens; on a line there is no difference.
        rig: the rig to share; without one, the driver has its own.
        timeline: what the links of one device share; a driver that stands alone has its own.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.

    Raises:
        PortError: the port is missing, busy or cannot be opened; nobody listens there.
        EndpointStuck: the endpoint broke at once.
        UsageError: a method is missing, a malformed URL.
    """

    def __init__(
        self,
        url: str,
        endpoint: E,
        *,
        role: Literal["client", "device"] = "client",
        rig: Rig | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> None:
        if role not in ("client", "device"):
            raise UsageError(f'role= is "client" or "device", not {role!r}')
        self._name = name or url
        self._guide = _Guide(endpoint, self._name)
        with _Told(self._guide):
            self._core = _Core(
                url, self._guide, listen=role == "device", rig=rig, name=self._name, belongs_to=belongs_to
            )
        self._timeline = timeline or Timeline(self._core.now, self._core.stalls)
        self._inbox: MessageInbox[Report] = MessageInbox(self._core, self._timeline, self._name, _Unheard(self._core))
        self._timeline.observe(self._arrivals)
        self._timeline.look_with(self._core.look)

    @property
    def url(self) -> str:
        """The address of the port, as the other side finds it."""
        return self._core.url

    def call(self, function: Callable[[E, int], R]) -> Called[R]:
        """Calls a function with the endpoint and the instant (nanoseconds of the run); a stimulus.

        Commands reach an endpoint only like this. What the function raises comes out here, and ends nothing.

        Raises:
            EndpointStuck: the endpoint is.
        """
        at = self._timeline.approach()
        with _Told(self._guide):
            value, issued, done = self._core.call(function)
        issued = issued if at is None else since(at, issued)
        self._timeline.stimulus(issued)
        return Called(value, issued, done)

    def expect(
        self,
        kind: str | None = None,
        /,
        *,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
        **fields: Any,
    ) -> Report:
        """The first event of this kind and with these fields, surely behind the cursor and surely inside the window.

        Args:
            kind: its word; any if not given.
            after: an action, an observation or a stamp at which the cursor stands and the window begins; without it the
                cursor is the last stimulus.
            within: how long it may take, e.g. ``"2s"``.
            fields: fields and what they hold.

        Raises:
            ExpectationFailed: it did not come.
            InconclusiveError: it came, but when cannot be said well enough, or the host stood still; nothing ever came
                through this port.
            PortLost, ConnectionLost: the port went away.
            EndpointStuck: the endpoint is.
        """
        with _Told(self._guide):
            return self._inbox.expect(_Pattern(kind, fields), after, within)

    def expect_none(
        self,
        kind: str | None = None,
        /,
        *,
        after: HasInstant | Stamp | None = None,
        for_: str | Span | None = None,
        **fields: Any,
    ) -> None:
        """No event that fits comes for this long, and the port was open to the end.

        Raises:
            UnexpectedEvent: it came.
            ObserverBlind: the port was lost or overrun, so that silence proves nothing.
            InconclusiveError: it may have come outside the window.
            EndpointStuck: the endpoint is.
        """
        with _Told(self._guide):
            self._inbox.expect_none(_Pattern(kind, fields), after, for_)

    def events(self) -> tuple[Report, ...]:
        """What it told so far, in order; 10 000 events are kept.

        Raises:
            EndpointStuck: the endpoint is.
        """
        with _Told(self._guide):
            return self._core.wait(0, 0)

    def close(self) -> None:
        """Closes the port; closing twice is fine.

        Raises:
            EndpointStuck: the endpoint broke, and nobody was told of it.
        """
        self._timeline.forget(self._arrivals)
        self._core.close()
        self._guide.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except EndpointStuck:
            # Mostly it is why there is an error already, which then has it as its context; Ctrl-C stays Ctrl-C.
            if error is None or isinstance(error, Exception):
                raise

    def __repr__(self) -> str:
        return repr(self._core)

    def _arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        return [(self._name, report) for report in self._core.wait(0, 0) if report.at.order(since) != "before"]


class _Unheard(Doubt):
    """What does not come over a port through which nothing ever came is held against nobody."""

    def __init__(self, core: _Core) -> None:
        super().__init__()
        self._core = core

    def __call__(self) -> str | None:
        unheard = "nothing ever came through this port: is it connected, are speed and format right?"
        return super().__call__() or (None if self._core.heard else unheard)


class _Pattern:
    """What an event must be."""

    def __init__(self, kind: str | None, fields: Mapping[str, Any]) -> None:
        self._kind, self._fields = kind, fields

    def fits(self, report: Report, /) -> bool:
        found = report.fields
        wanted = self._fields.items()
        return self._kind in (None, report.kind) and all(
            name in found and found[name] == value for name, value in wanted
        )

    def doubt(self, _report: Report, /) -> str | None:
        return None

    def __str__(self) -> str:
        return " ".join([self._kind or "an event", *(f"{name}={value!r}" for name, value in self._fields.items())])


class _Told:
    """Who is told that the endpoint is stuck here is not told again at the end of the test."""

    def __init__(self, guide: _Guide) -> None:
        self._guide = guide

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, EndpointStuck):
            self._guide.problem()


Drained: TypeAlias = tuple[
    list[tuple[str, int, bytes, int | None, int | None]], list[tuple[str, dict[str, Any], Stamp | None]], int | None
]


class _Guide(Handler):
    """Calls the five methods, and gives what came of it in one piece; a text says why the endpoint gives up.

    Of a handler it has the watchdog, and how somebody is told.
    """

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        missing = [method for method in METHODS if not callable(getattr(endpoint, method, None))]
        if missing:
            what = type(endpoint).__name__
            raise UsageError(
                f"{what} is no endpoint: it has no method {', '.join(missing)}",
                hint=f"an endpoint has {', '.join(METHODS)}; a class of it is no object: write {what}()"
                if isinstance(endpoint, type)
                else f"an endpoint has {', '.join(METHODS)}",
            )
        super().__init__(lambda _request: None, name)
        self.endpoint = endpoint
        self._what = type(endpoint).__name__
        self._standing = 0

    def opened(self, now: int, conn: int, _via: str, address: str, wire: bool) -> Drained | str:
        return self._run("handle", now, Opened(conn, address, wire))

    def bytes(self, now: int, conn: int, data: bytes, at: Stamp) -> Drained | str:
        return self._run("handle", now, Bytes(conn, data, at))

    def line(self, now: int, conn: int, what: str, at: Stamp) -> Drained | str:
        return self._run("handle", now, LineSignal(conn, what, at))

    def closed(self, now: int, conn: int, why: Any, reason: str) -> Drained | str:
        return self._run("handle", now, Closed(conn, why, reason))

    def writable(self, now: int, conn: int) -> Drained | str:
        return self._run("handle", now, Writable(conn))

    def timeout(self, now: int) -> Drained | str:
        given = self._run("handle_timeout", now)
        if isinstance(given, str):
            return given
        due = given[2]
        self._standing = self._standing + 1 if due is not None and due <= now else 0
        if self._standing < STANDING:
            return given
        asks = f"at {now} ns poll_timeout() asks for {due} ns, which is due, again and again"
        return self._gives_up(f"its time-out does not advance: {asks}")

    def command(self, now: int, function: Callable[[Any, int], Any]) -> tuple[Any, Drained | str]:
        """Calls a function of the test; what it raises is the test's own."""
        given = function(self.endpoint, now)
        return given, self.drained()

    def drained(self) -> Drained | str:
        """What is to be done and told now, and when the next call is wanted."""
        return self._run(None)

    def _run(self, method: str | None, *arguments: Any) -> Drained | str:
        watchdog, doing = self._watchdog, method or ""
        watchdog.begin()
        try:
            if method is not None:
                getattr(self.endpoint, method)(*arguments)
            doing = "poll_action"
            actions = [self._action(action) for action in _each(self.endpoint.poll_action, "actions")]
            doing = "poll_event"
            events = [self._event(event) for event in _each(self.endpoint.poll_event, "events")]
            doing = "poll_timeout"
            due = self.endpoint.poll_timeout()
            if due is not None and (isinstance(due, bool) or not isinstance(due, int) or due < 0):
                raise _Broken(f"poll_timeout() gave {due!r}, which is no instant in whole nanoseconds of the run")
            return actions, events, due
        except _Broken as broken:
            return self._gives_up(str(broken))
        except watchdog.NeverReturns as error:
            patience = f"{watchdog.PATIENCE * watchdog.TICK:g} s of real time"
            return self._gives_up(f"its {doing}() did not return within {patience}", error)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            what = traceback.format_exception_only(error)[-1].strip()
            return self._gives_up(f"its {doing}() raised {what}", error)
        finally:
            watchdog.end()

    def _gives_up(self, why: str, error: BaseException | None = None) -> str:
        trace = ""
        if error is not None and error.__traceback__ is not None:
            # The first frame is ours.
            trace = "\n" + "".join(traceback.format_tb(error.__traceback__.tb_next)).rstrip()
        self.failed(f"{why}{trace}", "")
        return f"{why}{trace}"

    def _action(self, action: Any) -> tuple[str, int, Any, int | None, int | None]:
        whole = _is_whole(getattr(action, "conn", None)) and _is_whole(getattr(action, "not_before", None) or 0)
        if whole and isinstance(action, Send) and isinstance(action.data, bytes | bytearray):
            gap = None if action.gap_before is None else nanoseconds(action.gap_before, "gap_before")
            return ("send", action.conn, bytes(action.data), action.not_before, gap)
        if whole and isinstance(action, Close) and action.how in ("fin", "rst", "half open", "stall"):
            return (action.how, action.conn, b"", None, None)
        raise _Broken(f"poll_action() gave {action!r}, which is no action: Send(conn, bytes) and Close(conn) are")

    def _event(self, event: Any) -> tuple[str, dict[str, Any], Stamp | None]:
        if isinstance(event, Event) and isinstance(event.kind, str) and isinstance(event.at, Stamp | None):
            return (event.kind, dict(event.fields), event.at)
        raise _Broken(f"poll_event() gave {event!r}, which is no event: Event(kind, fields) is")

    def problem(self) -> BenchError | None:
        """Why it is stuck, if nobody was told yet."""
        if not self._failures:
            return None
        first: Failed = self._failures[0]
        super().problem()
        return EndpointStuck(f"the endpoint of {self.device} is stuck: {first.error}")


class _Broken(Exception):
    """The endpoint breaks the contract."""


def _is_whole(number: object) -> bool:
    """Whether it is a number of a connection, or an instant."""
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def _each(poll: Callable[[], Any], what: str) -> Iterable[Any]:
    for _ in range(ENDLESS):
        given = poll()
        if given is None:
            return
        yield given
    raise _Broken(f"its {what} have no end: more than {ENDLESS} after one input")
