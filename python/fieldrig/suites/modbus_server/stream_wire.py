"""The wire of the suite: a `fieldrig.stream.Stream`. Its bytes are stamped when they arrive and stand in the trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from fieldrig import Rig, Span
from fieldrig.errors import ConnectionLost, PortError
from fieldrig.stream import Stream

from .wire import Arrival, Ending, Opener, Wire, WireError


def opener(url: str, rig: Rig) -> Opener:
    """Opens connections to `tcp://HOST:PORT` on a rig."""

    def connect(source: str | None) -> Wire:
        address = url if source is None else f"{url}?source={source}"
        try:
            return StreamWire(Stream(address, rig=rig, belongs_to="dut", protocol="modbus-tcp"))
        except ConnectionLost as error:  # made, and reset at once
            raise WireError("refused", error.message) from error
        except PortError as error:
            turned_down = any(word in error.message for word in ("refused", "reset by peer"))
            text = error.message.removeprefix(f"{address}: ")
            raise WireError("refused" if turned_down else "unreachable", text) from error

    return connect


class StreamWire:
    """A connection to the server under test. See `wire.Wire`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ended: Ending | None = None

    @property
    def ended(self) -> Ending | None:
        return self._ended

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        try:
            if len(parts) == 1:
                return self._stream.send(parts[0][1]).at.latest
            return self._stream.send_parts([(_span(gap) if gap else None, data) for gap, data in parts]).at.latest
        except ConnectionLost:
            return None

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        if self._ended is not None:
            return None
        try:
            received = self._stream.receive(enough, within=_span(within))
        except ConnectionLost:
            self._ended = "reset"
            return None
        if received.closed is not None:  # "local": both sides have said that nothing more follows
            self._ended = "reset" if received.closed == "reset" else "finished"
        if not received.data:
            return None
        stamps = [stamp.latest for _, stamp in received.stamps]
        return Arrival(received.data, stamps[0], received.at.latest, len(stamps))

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        self._stream.close(how)


def _span(seconds: float) -> Span:
    return Span(round(seconds * 1e9))
