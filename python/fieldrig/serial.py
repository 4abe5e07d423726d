"""Consoles of devices: text over serial lines, ptys, sockets, with expectations that only look behind their cursor.

::

    from fieldrig.serial import Console

    with Console("serial:///dev/ttyUSB0?line=115200+8N1") as console:
        asked = console.send("ver")
        firmware = console.expect(r"fw (?P<version>\\S+)", after=asked, within="1s")
        assert firmware["version"] == "1.4.2"

Patterns are those of Rust's `regex` crate (no look-around, no back-references); `(?m)`, `(?i)` and named groups work as
usual. A match may span at most 64 KiB. What came over the line is kept (16 MiB), so nothing is lost between two calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from fieldrig._core import Rig, Span, Stamp
from fieldrig._core.stream import Match, Sent, Stream
from fieldrig.expect import HasInstant, Observation, Timeline, since
from fieldrig.inbox import StreamInbox

__all__ = ["Console", "Match", "Sent"]


class Console:
    """The console of a device.

    Args:
        url: `serial:///dev/ttyUSB0?line=115200+8N1`, `pty://?line=..` (a new one), `tcp://host:port`, `unix:///path`.
        rig: the rig to share; without one, the console has its own.
        timeline: what the links of one device share; a stand-alone console has its own.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.
        proven: the path to the device is known to work. If it is not, what does not come is held against nobody until
            something has come.

    Raises:
        PortError: the port is missing, busy or cannot be opened.
        UsageError: the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        rig: Rig | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
        proven: bool = True,
    ) -> None:
        self._proven = proven
        self._why_not: str | None = None
        self._name = name or url
        self._stream = Stream(url, rig=rig, name=self._name, belongs_to=belongs_to)
        self._timeline = timeline or Timeline(self._stream.now, self._stream.stalls)
        self._inbox = StreamInbox(self._stream, self._timeline, self._name, self._doubt)
        self._timeline.observe(self._arrivals)
        self._timeline.look_with(self._stream.look)

    @property
    def url(self) -> str:
        """The address of the port: of a pty, the device node that the other side opens."""
        return self._stream.url

    @property
    def stream(self) -> Stream:
        """The raw stream behind it."""
        return self._stream

    def send(self, text: str | bytes, end: str | bytes = "\n") -> Sent:
        """Sends text (as UTF-8) or bytes, and the line end.

        Returns:
            When it was issued (`.at`) and handed to the port (`.done`).

        Raises:
            PortLost: the port went away.
        """
        at = self._timeline.approach()
        sent = self._stream.send(_octets(text) + _octets(end))
        if at is not None:
            sent = Sent(since(at, sent.at), sent.done, sent.data)
        self._timeline.stimulus(sent.at)
        return sent

    def expect(
        self, pattern: str, *, after: HasInstant | Stamp | None = None, within: str | Span | None = None
    ) -> Match:
        """The first match that came surely behind the cursor and surely inside the window.

        Args:
            pattern: a regular expression over the bytes that were received.
            after: an action, an observation or a stamp at which the cursor stands and the window begins; without it the
                cursor is the later of the last match here and the last stimulus on any link.
            within: how long it may take, e.g. `"5s"`.

        Raises:
            ExpectationFailed: it did not come.
            InconclusiveError: it came, but when cannot be said well enough, or the host stood still.
            PortLost: the port went away.
            UsageError: a malformed pattern or duration.
        """
        return self._inbox.expect(pattern, after, within)

    def expect_all(
        self,
        patterns: Sequence[str],
        *,
        after: HasInstant | Stamp | None = None,
        within: str | Span | None = None,
    ) -> list[Match]:
        """All of the patterns, in any order; the matches in the order of the patterns. Raises what `expect` raises."""
        return self._inbox.expect_all(patterns, after, within)

    def expect_none(
        self, pattern: str, *, after: HasInstant | Stamp | None = None, for_: str | Span | None = None
    ) -> None:
        """Nothing that matches comes for this long, and the port was alive to the end.

        Raises:
            UnexpectedEvent: it came.
            ObserverBlind: the port was lost or overrun, so that silence proves nothing.
            InconclusiveError: it may have come outside the window.
        """
        self._inbox.expect_none(pattern, after, for_)

    def close(self) -> None:
        """Closes the port; closing twice is fine."""
        self._timeline.forget(self._arrivals)
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def doubt(self, reason: str | None) -> None:
        """Says why text that does not come is held against nobody for now; None: against the device again."""
        self._why_not = reason

    def _doubt(self) -> str | None:
        if self._why_not is not None:
            return self._why_not
        if self._proven or self._stream.length:
            return None
        return "nothing ever came through this port: is it connected, are speed and format right?"

    def _arrivals(self, since: Stamp) -> list[tuple[str, Observation]]:
        return [(self._name, line) for line in self._stream.lines(since)]


def _octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else bytes(text)
