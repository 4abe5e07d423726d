"""What is heard on a wire that several devices share: requests, responses, and expectations on them.

Rules of this file:

- The observer hears and never sends. It cannot be the cause of what it sees.
- On a wire in memory everything that is sent is heard. On a real wire the observer is proven alive only by a frame of
  the other side: a silence counts once such a frame has come behind it, and a frame that is missing is held against
  nobody as long as nothing was ever heard from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ._core import Span, Stamp
from .errors import UsageError
from .expect import Doubt, HasInstant, Observation, Timeline
from .inbox import MessageInbox

if TYPE_CHECKING:
    from .dut import Dut

FUNCTIONS = {
    "read_coils": 1,
    "read_discrete_inputs": 2,
    "read_holding": 3,
    "read_input": 4,
    "write_coil": 5,
    "write_register": 6,
    "write_coils": 15,
    "write_registers": 16,
    "mask_write": 22,
    "read_write_registers": 23,
}
"""Names of functions, as the methods of `modbus.Client` are called, and their codes."""

BROADCAST = 0
"""The unit of a request to everybody."""

PATIENCE_NS = 2_000_000_000
"""For so long a frame of the other side is waited for that proves that the observer of a real wire still hears."""


class Frame(Protocol):
    """Something that was heard: a ``request``, a ``response``, ``unanswered`` or ``noise``."""

    @property
    def at(self) -> Stamp:
        """When its last byte was there."""

    @property
    def kind(self) -> str: ...
    @property
    def number(self) -> int:
        """The number of a request; of what belongs to one, see `request`."""

    @property
    def request(self) -> int | None:
        """The number of the request that a response answers, or that nobody answered."""

    @property
    def unit(self) -> int | None: ...
    @property
    def function(self) -> int | None: ...
    @property
    def address(self) -> int | None: ...
    @property
    def quantity(self) -> int | None: ...
    @property
    def sure(self) -> bool:
        """Its bytes can be read in one way only; else a request and a response look alike."""

    def describe(self) -> str: ...


class FrameSource(Protocol):
    """Who listens on a wire: `fieldrig._core.modbus.Monitor`."""

    def wait(self, index: int, deadline_ns: int, /) -> Sequence[Frame]:
        """The frames from number ``index`` on; waits for the first of them until the deadline of the run clock."""

    def alive(self) -> str | None:
        """Why it does not listen any more, or None."""

    def missed(self) -> str | None:
        """What is known to have been lost before anybody looked, or None."""

    @property
    def resolution_ns(self) -> int:
        """So long may what came have waited in an adapter before anybody could hear it."""

    def look(self) -> None:
        """Takes what has arrived, without waiting."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Exchange:
    """A request and its response, or None if nobody answered (yet).

    Attributes:
        request: the request.
        response: the response; None if there is none until now.
        pending: whether it may still be answered: it is too early to say that it is not.
    """

    request: Frame
    response: Frame | None
    pending: bool = False

    @property
    def at(self) -> Stamp:
        """When the last byte of the request was there."""
        return self.request.at

    @property
    def latency(self) -> Span | None:
        """From the last byte of the request to the last byte of the response."""
        return None if self.response is None else self.request.at.until(self.response)

    def until(self, later: HasInstant) -> Span:
        """The span from the request to a later event."""
        return self.request.at.until(later)

    def describe(self) -> str:
        """One line for a failure text."""
        missing = "no response yet" if self.pending else "no response"
        answer = missing if self.response is None else self.response.describe()
        return f"{self.request.describe()}: {answer}"


class Ears:
    """A frame source as an inbox asks it: with the witness that the kind of wire needs."""

    def __init__(self, source: FrameSource, now: Callable[[], Stamp], others: frozenset[str] | None) -> None:
        """``others``: the kinds of frame that the far side of a real wire sends; None for a wire in memory."""
        self._source = source
        self._now = now
        self._others = others
        self._heard: list[Frame] = []
        self._requests: dict[int, Frame] = {}

    def wait(self, index: int, deadline_ns: int) -> Sequence[Frame]:
        """The frames from number ``index`` on; waits for the first of them until the deadline."""
        if index >= len(self._heard):
            self._take(deadline_ns)
        elif deadline_ns == 0:
            self._take(0)
        return self._heard[index:]

    @property
    def resolution_ns(self) -> int:
        """So long may what came have waited in an adapter before anybody could hear it."""
        return self._source.resolution_ns

    def alive(self, since: Stamp) -> str | None:
        """Why a silence from an instant on cannot be believed, or None."""
        broken = self._source.alive() or self._source.missed()
        if broken or self._others is None:
            return broken
        over = self._now()
        deadline_ns, index = over.latest_ns + PATIENCE_NS, len(self._heard)
        while True:
            came = self.wait(index, deadline_ns)
            if any(self._is_far(frame) and frame.at.order(over) == "after" for frame in came):
                return None
            index += len(came)
            if not came or self._now().earliest_ns > deadline_ns:
                return "nothing was heard on this wire after it, so nobody knows whether anything would have been"

    def missed(self, since: Stamp) -> str | None:
        """What is known to have been lost of what came from an instant on, or None."""
        lost = self._source.alive() or self._source.missed()
        if lost or self._others is None or any(map(self._is_far, self._heard)):
            return lost
        return "nothing was ever heard from the other side of this wire: is it connected, are speed and format right?"

    def request_of(self, frame: Frame) -> Frame | None:
        """The request that a response answers."""
        return None if frame.request is None else self._requests.get(frame.request)

    def exchanges(self, since: Stamp) -> list[Exchange]:
        """The requests from an instant on, in order, each with its response."""
        self._take(0)
        answers = {frame.request: frame for frame in self._heard if frame.kind == "response"}
        asked = (frame for frame in self._heard if frame.kind == "request" and frame.at.order(since) != "before")
        over = {*answers, *(frame.request for frame in self._heard if frame.kind == "unanswered")}
        # Nobody answers a broadcast.
        over.update(frame.number for frame in self._heard if frame.kind == "request" and frame.unit == BROADCAST)
        return [Exchange(frame, answers.get(frame.number), frame.number not in over) for frame in asked]

    def arrivals(self, since: Stamp) -> list[Frame]:
        """What was heard from an instant on."""
        self._take(0)
        return [frame for frame in self._heard if frame.at.order(since) != "before"]

    def _is_far(self, frame: Frame) -> bool:
        """Whether a frame surely came from the far side."""
        return frame.sure and self._others is not None and frame.kind in self._others

    def _take(self, deadline_ns: int) -> None:
        came = self._source.wait(len(self._heard), deadline_ns)
        self._heard += came
        self._requests.update((frame.number, frame) for frame in came if frame.kind == "request")


class FramePattern:
    """What a frame must look like: a request to a unit, a response from one, a function, an address in its range."""

    def __init__(
        self, ears: Ears, kind: str | None, unit: int | None, who: str, function: int | None, address: int | None
    ):
        self._ears = ears
        self._kind = kind
        self._unit = unit
        self._who = who
        self._function = function
        self._address = address

    def fits(self, frame: Frame) -> bool:
        """Whether a frame fits."""
        if frame.kind not in ("request", "response"):
            return False
        if self._kind is not None and frame.kind != self._kind and frame.sure:
            return False
        if self._unit is not None and frame.unit != self._unit:
            return False
        if self._function is not None and frame.function != self._function:
            return False
        return self._address is None or self._covers(frame)

    def doubt(self, frame: Frame) -> str | None:
        """Why nobody knows whether a frame is what is waited for, or None."""
        return None if frame.sure or self._kind is None else "may be a request or the response to one"

    def _covers(self, frame: Frame) -> bool:
        asked = frame if frame.kind == "request" else self._ears.request_of(frame)
        if asked is None or asked.address is None or self._address is None:
            return False
        return asked.address <= self._address < asked.address + max(1, asked.quantity or 1)

    def __str__(self) -> str:
        what = {"request": "a request to", "response": "a response from"}.get(self._kind or "", "a frame of")
        parts = [f"{what} {self._who}"]
        if self._function is not None:
            parts.append(f"function {self._function}")
        if self._address is not None:
            parts.append(f"address {self._address}")
        return ", ".join(parts)


class WireObserver:
    """Expectations on what is heard on a wire. A device that is the client on it has one under the name of the link."""

    def __init__(
        self, name: str, ears: Ears, timeline: Timeline, units: Callable[[Dut | str | int, str], tuple[int, str]]
    ):
        self._name = name
        self._ears = ears
        self._timeline = timeline
        self._unit_of = units
        self._why_not = Doubt()
        self._inbox: MessageInbox[Frame] = MessageInbox(ears, timeline, name, self._why_not)

    def expect(
        self,
        *,
        request_to: Dut | str | int | None = None,
        response_from: Dut | str | int | None = None,
        function: int | str | None = None,
        address: int | None = None,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
    ) -> Frame:
        """The first frame that fits, came surely behind the cursor and surely inside the window.

        Args:
            request_to: a request to this device (the device, its name, or a unit id).
            response_from: a response of this device.
            function: its function code, or its name as in `FUNCTIONS`.
            address: it covers this address (a response: its request does).
            after: an action, an observation or a stamp at which the cursor stands and the window begins; without it the
                cursor is the last stimulus on any device of this link. A frame that was matched is not matched again.
            within: how long it may take, e.g. `"10s"`.

        Raises:
            ExpectationFailed: it did not come.
            InconclusiveError: it came, but when cannot be said well enough; on a real wire: nothing was ever heard.
            UsageError: a device that is not on this link, a malformed duration.
        """
        return self._inbox.expect(self._pattern(request_to, response_from, function, address), after, within)

    def expect_none(
        self,
        *,
        request_to: Dut | str | int | None = None,
        response_from: Dut | str | int | None = None,
        function: int | str | None = None,
        address: int | None = None,
        after: HasInstant | Stamp | None = None,
        for_: str | Span | None = None,
    ) -> None:
        """No frame that fits comes for this long, and whoever listens was alive to the end.

        Raises:
            UnexpectedEvent: one came.
            ObserverBlind: nothing proves that it would have been heard.
            InconclusiveError: it may have come outside the window.
        """
        self._inbox.expect_none(self._pattern(request_to, response_from, function, address), after, for_)

    def exchanges(self, since: HasInstant | Stamp | None = None) -> list[Exchange]:
        """The requests from an instant on (else from the last stimulus on), in order, each with its response."""
        return self._ears.exchanges(self._timeline.last_stimulus if since is None else since.at)

    def missed(self, since: HasInstant | Stamp) -> str | None:
        """What is known to have been lost of what came from an instant on, or None: then `exchanges` has all of it."""
        return self._ears.missed(since.at)

    def doubt(self, reason: str | None) -> None:
        """Says why a frame that does not come is held against nobody for now; None: against its sender again."""
        self._why_not.set(reason)

    def doubt_until_heard(self, reason: str) -> None:
        """The same until a frame that was waited for came: its sender may not be back yet."""
        self._why_not.until_heard(reason)

    def restart(self) -> None:
        """A new test begins: what was heard is not looked at again."""
        self._inbox.forget()

    def close(self) -> None:
        """Nothing to do: the link ends with the bench."""

    def arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        """What was heard, for failure texts."""
        return [(self._name, frame) for frame in self._ears.arrivals(since)]

    def _pattern(
        self,
        request_to: Dut | str | int | None,
        response_from: Dut | str | int | None,
        function: int | str | None,
        address: int | None,
    ) -> FramePattern:
        if request_to is not None and response_from is not None:
            raise UsageError(f"{self._name}: request_to= or response_from=, not both")
        kind, named = None, request_to
        if request_to is not None:
            kind = "request"
        elif response_from is not None:
            kind, named = "response", response_from
        argument = "request_to" if kind == "request" else "response_from"
        unit, who = (None, "any device") if named is None else self._unit_of(named, argument)
        return FramePattern(self._ears, kind, unit, who, _function(self._name, function), address)


def _function(name: str, given: int | str | None) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= 127):
        return given
    if isinstance(given, str) and given in FUNCTIONS:
        return FUNCTIONS[given]
    raise UsageError(f"{name}: function= is a code from 1 to 127 or one of {', '.join(FUNCTIONS)}, not {given!r}")
