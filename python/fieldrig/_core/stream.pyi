"""Raw byte conversations: what was sent, and every byte that came with its stamp."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Literal, Self, final

from fieldrig._core import HasInstant, Rig, Span, Stall, Stamp

__all__ = ["Line", "Match", "Received", "Sent", "Stream"]

@final
class Sent:
    """Something that was sent."""

    def __new__(cls, at: Stamp, done: Stamp, data: bytes) -> Sent: ...
    @property
    def at(self) -> Stamp:
        """When it was issued: not before the call, not after the port took it."""
    @property
    def done(self) -> Stamp:
        """When the port had taken all of it."""
    @property
    def data(self) -> bytes: ...
    def until(self, later: HasInstant, /) -> Span:
        """The span from the issue to a later event."""
    def __getnewargs__(self) -> tuple[Stamp, Stamp, bytes]: ...

@final
class Received:
    """What `Stream.receive` took."""

    @property
    def data(self) -> bytes: ...
    @property
    def at(self) -> Stamp:
        """When the last byte arrived; without bytes, when the wait ended."""
    @property
    def stamps(self) -> tuple[tuple[int, Stamp], ...]:
        """Where each piece begins (offset in `data`) and when it arrived."""
    @property
    def closed(self) -> Literal["finished", "reset", "hung up", "local"] | None:
        """How the other side ended the conversation, if it did."""

@final
class Match:
    """Where a pattern was found."""

    def __new__(
        cls,
        start: int,
        at: Stamp,
        groups: Sequence[bytes | None],
        names: Sequence[str | None],
        end: int | None = None,
        pattern: str = "",
        index: int = 0,
    ) -> Match: ...
    @property
    def start(self) -> int:
        """Offset of the first byte, counted from the opening of the stream."""
    @property
    def end(self) -> int:
        """Offset behind the last byte."""
    @property
    def pattern(self) -> str:
        """The pattern that matched."""
    @property
    def index(self) -> int:
        """Which of several patterns it is, counting from 0."""
    @property
    def at(self) -> Stamp:
        """When the last byte arrived."""
    @property
    def text(self) -> str:
        """What matched, as text."""
    @property
    def data(self) -> bytes:
        """What matched."""
    @property
    def groups(self) -> tuple[str | None, ...]:
        """The groups of the pattern, in order."""
    @property
    def named(self) -> dict[str, str | None]:
        """The named groups of the pattern."""
    def __getitem__(self, group: int | str, /) -> str | None:
        """A group by number (0 is the whole match) or name; None if it took no part in the match.

        Raises IndexError or KeyError for a group that the pattern does not have.
        """
    def group(self, group: int | str | None = None, /) -> str | None:
        """The same; without an argument the whole match."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from the match to a later event."""
    def describe(self) -> str: ...
    def __getnewargs__(self) -> tuple[int, Stamp, list[bytes | None], list[str | None], int | None, str, int]: ...

@final
class Line:
    """A line of text that came in."""

    def __new__(cls, text: str, at: Stamp) -> Line: ...
    @property
    def at(self) -> Stamp: ...
    @property
    def text(self) -> str: ...
    def describe(self) -> str: ...
    def __getnewargs__(self) -> tuple[str, Stamp]: ...

@final
class Stream:
    """One raw byte conversation. Every byte that comes is kept with its stamp: new ones in memory, old ones in a file.

    Args:
        url: `tcp://host:port` (`?source=IP` chooses the local address), `serial:///dev/ttyUSB0?line=115200+8N1`,
            `pty://?line=..` (a new one), `unix:///path`.
        rig: the rig to share; without one, the stream has its own.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.
        protocol: how the trace takes the bytes apart ("modbus-tcp", "modbus-rtu", "mqtt5", ..); None: not at all.
        keep: bytes kept in memory, at least 65536; None: 16 MiB.
        spill: bytes kept in a file beyond those; 0: older ones are dropped. The file is in the folder of the rig (else
            where temporary files are), has no name, and is gone when the stream is closed.
        ansi: "strip": searches and lines leave out control functions of terminals.

    Raises:
        PortError: the port is missing, busy, or nobody listens there.
        UsageError: a malformed URL.
    """

    def __new__(
        cls,
        url: str,
        *,
        rig: Rig | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
        protocol: str | None = None,
        keep: int | None = None,
        spill: int = 1073741824,
        ansi: Literal["keep", "strip"] = "keep",
    ) -> Stream: ...
    @property
    def url(self) -> str:
        """The address of the port: of a pty, the device node that the other side opens."""
    @property
    def closed(self) -> Literal["finished", "reset", "hung up", "local"] | None:
        """How the conversation was ended: by the other side (FIN, RST, hang-up) or by us; None while it lasts."""
    @property
    def length(self) -> int:
        """How many bytes came so far."""
    def send(self, data: bytes, /, *, gap: str | Span | None = None) -> Sent:
        """Sends bytes, after the line was silent for `gap` if one is given. Returns when the port took them.

        Raises `ConnectionLost` or `PortLost` if the conversation has ended.
        """
    def send_parts(self, parts: Sequence[tuple[str | Span | None, bytes]], /) -> Sent:
        """Sends pieces, each so long after the one before it; timed by the rig, not by Python."""
    def send_paced(
        self,
        data: bytes,
        /,
        pace: str | Span | None = None,
        *,
        per: Literal["byte", "line"] = "byte",
        echo_within: str | Span | None = None,
    ) -> Sent:
        """Sends byte by byte or line by line, with a pause of `pace` between them, timed by the rig, not by Python.

        With `echo_within`, each leaves only when the one before has come back, in so much time (of CR LF one suffices).

        Raises `Unanswered` if it does not come back.
        """
    def receive(
        self, until: int | Callable[[bytes], bool] | None = None, *, within: str | Span | None = None
    ) -> Received:
        """Takes what came since the last `receive`.

        Args:
            until: wait for this many bytes, or until a function of the bytes is content; None: for the end of the
                time or of the conversation.
            within: how long to wait, one second if not given. When time is up, what came is returned, be it nothing.
        """
    def search(
        self, pattern: str | Sequence[str], start: int, after: Stamp | None, deadline_ns: int, /
    ) -> Match | None:
        """The match of any of the patterns that is complete first, of those that begin at offset `start` or behind it,
        at a byte that surely came after `after`.

        Waits for it until the deadline of the run clock; a deadline of 0 looks only at what is there.
        """
    def search_all(
        self, patterns: Sequence[str], start: int, after: Stamp | None, deadline_ns: int, /
    ) -> list[Match | None]:
        """The same for each pattern, in one pass over the bytes: its match or None."""
    def take_exactly(self, count: int, start: int, after: Stamp | None, deadline_ns: int, /) -> Match | None:
        """The first so many bytes there, once they have come."""
    def read(self, start: int, end: int, /) -> Received:
        """The bytes from one offset up to another one, as far as they have come."""
    def read_text(self, start: int, end: int, /) -> str:
        """The text among them: without control functions of terminals, if those are left out."""
    def show(self, ansi: Literal["keep", "strip"], /) -> None:
        """Searches and lines leave out control functions of terminals from now on ("strip"), or not ("keep")."""
    @property
    def memory(self) -> int:
        """Bytes of memory that what came takes; what is in a file takes none."""
    def hide(self, text: str, /) -> None:
        """Masks a text from now on, wherever the rig writes."""
    def mask(self, text: str, /) -> str:
        """A text without secrets."""
    def offset_after(self, at: Stamp, /) -> tuple[int, int]:
        """The offset of the first byte that may have come after an instant, and of the first that surely did."""
    def alive(self, since: Stamp, /) -> str | None:
        """Why the stream cannot be believed from an instant on (closed, overrun, bytes dropped), or None."""
    def missed(self, since: Stamp, /) -> str | None:
        """What is known to have been lost of what came from an instant on (overrun, bytes dropped), or None."""
    @property
    def start(self) -> int:
        """The offset of the oldest byte that can be had."""
    def lines(self, since: Stamp | None = None, start: int = 0, /) -> tuple[Line, ...]:
        """The lines that came, from an instant and an offset on; of very much, those in the newest 16 MiB."""
    def look(self) -> None:
        """Takes what has arrived, without waiting, so that what comes later is known to be later."""
    def now(self) -> Stamp: ...
    def stalls(self, since: Stamp, /) -> tuple[Stall, ...]: ...
    def close(self, how: Literal["fin", "rst", "half"] = "fin") -> None:
        """Ends the conversation; "half": we send nothing more but go on reading. Closing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
