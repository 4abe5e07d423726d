"""A patch between the suite and a server, in one thread: it works on every carrier, on virtual time too.

Rules of this file:
- Requests go to the server one by one, each when the one before it was answered, or was not within `give_up`.
- What is no request, and on a line what comes in pieces, goes on as it is, unless the patch changes it; what the server
  says to it goes back as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from ..carriers import Carrier
from ..server import Clock
from ..wire import Arrival, Ending, Opener, Wire, WireError
from .patch import Patch

if TYPE_CHECKING:
    from fieldrig import Stamp

SMALLEST_WAIT = 0.02
"""How long the rest of an answer whose end only time can tell is waited for (seconds)."""


def patched(opener: Opener, carrier: Carrier, patch: Patch, clock: Clock, give_up: float = 0.06) -> Opener:
    """Opens connections to a server behind a patch; what it does not answer within `give_up` seconds it never does."""

    def connect(source: str | None) -> Wire:
        if not patch.opens():
            raise WireError("refused", "Connection refused")
        return PatchedWire(opener(source), carrier, patch, clock, give_up)

    return connect


class PatchedWire:
    """A connection to a server behind a patch. See `fieldrig.suites.modbus_server.wire.Wire`."""

    def __init__(self, inner: Wire, carrier: Carrier, patch: Patch, clock: Clock, give_up: float) -> None:
        self._inner = inner
        self._carrier = carrier
        self._patch = patch
        self._clock = clock
        self._give_up = give_up
        self._ready: list[Arrival] = []
        self._closed = False

    @property
    def ended(self) -> Ending | None:
        if self._ready:
            return None
        return "finished" if self._closed else self._inner.ended

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        if self._closed:
            return None
        if len(parts) > 1:
            pieces = self._patch.pieces(parts)
            if pieces is None:
                return self._clock.now()
            if self._carrier.line and len(pieces) > 1:
                return self._inner.send(pieces)
            parts = pieces
        data = b"".join(part for _, part in parts)
        requests = self._carrier.requests(data)
        if requests is None:
            return self._pass_on(parts, data)
        sent: float | None = None
        for frame, unit, pdu in requests:
            sent = self._serve(frame, unit, pdu)
            if sent is None:
                return None
        return sent

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        if not self._ready:
            return None if self._closed else self._inner.receive(enough, within)
        arrivals, self._ready = self._ready, []
        first, last = arrivals[0], arrivals[-1]
        stamps = _joined(arrivals)
        return Arrival(b"".join(arrival.data for arrival in arrivals), first.first, last.last, len(arrivals), stamps)

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        if not self._closed:
            self._inner.close(how)

    def _pass_on(self, parts: Sequence[tuple[float, bytes]], data: bytes) -> float | None:
        instead = self._patch.request_frame(data)
        if instead is None:
            return self._clock.now()
        return self._inner.send(parts if instead == data else [(0.0, instead)])

    def _serve(self, frame: bytes, unit: int, pdu: bytes) -> float | None:
        """One request: the patched one to the server, the patched answer to the client. Gives when it was sent."""
        if self._closed:
            return self._clock.now()
        self._patch.unit = unit
        self._patch.ask_unit = lambda other, own: self._asked(frame, other, own)
        self._patch.server = lambda own: self._asked(frame, unit, own)
        instead = self._patch.request(pdu)
        sent: float | None = self._clock.now()
        arrival: Arrival | None = None
        said: bytes | None = None
        if instead is not None:
            sent = self._inner.send([(0.0, frame if instead == pdu else self._framed(frame, unit, instead))])
            if sent is None:
                return None
            arrival, said = self._answered()
        answer = self._patch.answer(pdu, said)
        if answer is None:
            if said is None and arrival is not None:  # something came that is no answer: as it is
                self._ready.append(arrival)
            return sent
        raw = arrival.data if arrival is not None and answer == said else self._carrier.answer(answer, frame)
        now = self._clock.now()
        first, last = (arrival.first, arrival.last) if arrival is not None else (now, now)
        stamps = (
            self._patch.instants(sent or 0.0, [stamp for _, stamp in arrival.stamps]) if arrival is not None else ()
        )
        raw = self._patch.answer_frame(frame, raw)
        if raw:
            self._ready.append(Arrival(raw, first, last, stamps=list(enumerate(stamps))))
        if self._patch.closes(answer):
            self._closed = True
            self._inner.close("fin")
        return sent

    def _asked(self, frame: bytes, unit: int, pdu: bytes) -> bytes | None:
        if self._inner.send([(0.0, self._framed(frame, unit, pdu))]) is None:
            return None
        return self._answered()[1]

    def _framed(self, frame: bytes, unit: int, pdu: bytes) -> bytes:
        return self._carrier.request(pdu, unit=unit, transaction=int.from_bytes(frame[:2], "big"))

    def _answered(self) -> tuple[Arrival | None, bytes | None]:
        """The next answer of the server: what came, and its PDU if it is a frame."""
        data, first, last = b"", 0.0, 0.0
        arrivals: list[Arrival] = []
        deadline = self._clock.now() + self._give_up
        while True:
            left = deadline - self._clock.now()
            patience = min(left, SMALLEST_WAIT) if self._carrier.disputed(data) else left
            arrival = self._inner.receive(lambda new, had=data: self._enough(had + new), max(patience, 0.0))  # type: ignore[misc]
            if arrival is not None and arrival.data:
                first = first if data else arrival.first
                data, last = data + arrival.data, arrival.last
                arrivals.append(arrival)
                deadline = self._clock.now() + self._give_up
            complete = arrival is None or self._inner.ended is not None
            answers = self._carrier.split(data, complete=complete)
            if answers or complete:
                break
        whole = Arrival(data, first, last, stamps=_joined(arrivals)) if data else None
        return whole, answers[0].pdu if answers and answers[0].problem is None else None

    def _enough(self, data: bytes) -> bool:
        return bool(self._carrier.split(data, complete=False)) or self._carrier.disputed(data)


def _joined(arrivals: Sequence[Arrival]) -> list[tuple[int, Stamp]]:
    """The stamps of arrivals that follow each other."""
    stamps: list[tuple[int, Stamp]] = []
    offset = 0
    for arrival in arrivals:
        stamps += [(offset + at, stamp) for at, stamp in arrival.stamps]
        offset += len(arrival.data)
    return stamps
