"""The wire of the suite: a `fieldrig.stream.Stream`. Its bytes are stamped when they arrive and stand in the trace.

Rules of this file:
- A line is opened once. Every conversation on it begins when it is quiet, so that a late answer to an earlier row is
  not taken for one of this row; every request is preceded by a silence of t3.5 (SL 2.5.1.1).
- Pauses between the pieces of a request are silences: the time that the piece before takes on the line is added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from fieldrig import Rig, Span
from fieldrig.errors import ConnectionLost, PortError
from fieldrig.stream import Stream

from .server import Clock
from .silences import Silences
from .wire import AT_ONCE, Arrival, Ending, Opener, Wire, WireError


def clock_of(rig: Rig) -> Clock:
    """The time of a rig."""
    return Clock(lambda: rig.now().latest, lambda seconds: rig.sleep(_span(seconds)))


def opener(url: str, rig: Rig, protocol: str = "modbus-tcp") -> Opener:
    """Opens connections to `tcp://HOST:PORT` or `memory://NAME` on a rig; `protocol` is for the trace."""

    def connect(source: str | None) -> Wire:
        address = url if source is None else f"{url}?source={source}"
        return StreamWire(_opened(address, rig, protocol))

    return connect


def line_opener(url: str, rig: Rig, silences: Silences, quiet: float, protocol: str) -> Opener:
    """Opens the line at `serial:///dev/ttyUSB0?line=..` or `wire://NAME`, once; before each conversation on it nothing
    came for `quiet` seconds."""
    line: list[LineWire] = []

    def connect(source: str | None) -> Wire:
        if not line:
            line.append(LineWire(_opened(url, rig, protocol), rig, silences))
        line[0].begin(quiet)
        return line[0]

    return connect


def _opened(address: str, rig: Rig, protocol: str) -> Stream:
    try:
        return Stream(address, rig=rig, belongs_to="dut", protocol=protocol)
    except ConnectionLost as error:  # made, and reset at once
        raise WireError("refused", error.message) from error
    except PortError as error:
        turned_down = any(word in error.message for word in ("refused", "reset by peer"))
        text = error.message.removeprefix(f"{address}: ")
        raise WireError("refused" if turned_down else "unreachable", text) from error


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
        return Arrival(received.data, stamps[0], received.at.latest, len(stamps), received.stamps)

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        self._stream.close(how)


class LineWire(StreamWire):
    """A line, kept open for all conversations on it."""

    def __init__(self, stream: Stream, rig: Rig, silences: Silences) -> None:
        super().__init__(stream)
        self._rig = rig
        self._silences = silences
        self._busy_until = rig.now().latest
        self.late = 0.0
        """How much longer than asked the pauses of the latest request became, together (seconds)."""

    def begin(self, quiet: float) -> None:
        """Waits until nothing came for so long, and forgets what did."""
        while self.ended is None and super().receive(lambda new: True, quiet) is not None:
            pass
        if self.ended is not None:
            raise WireError("unreachable", "the port went away")

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        left = self._busy_until + self._silences.between - self._rig.now().latest
        if left > 0 and parts[0][0] != AT_ONCE:
            self._rig.sleep(_span(left))
        spaced: list[tuple[float, bytes]] = []
        for pause, data in parts:
            before = len(spaced[-1][1]) * self._silences.character if spaced else 0.0
            spaced.append((pause + before if spaced else 0.0, data))
        began = self._rig.now().latest
        at = super().send(spaced)
        self.late = self._rig.now().latest - began - sum(pause for pause, _ in spaced)
        took = len(spaced[-1][1]) * self._silences.character
        self._busy_until = self._rig.now().latest + took
        return at if at is None else self._busy_until

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        arrival = super().receive(enough, within + max(0.0, self._busy_until - self._rig.now().latest))
        if arrival is not None:
            self._busy_until = max(self._busy_until, arrival.last)
        return arrival

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        """The line stays open."""


def _span(seconds: float) -> Span:
    return Span(round(seconds * 1e9))
