"""Raw byte conversations: what was sent, and every byte that came with its stamp."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal, Protocol, Self, final

from fieldrig._core import HasInstant, Rig, Span, Stall, Stamp

__all__ = [
    "Event",
    "Line",
    "LineEvent",
    "Match",
    "Played",
    "Playing",
    "Received",
    "Sent",
    "Stream",
    "check_pattern",
]

def check_pattern(pattern: str, /) -> None:
    """Refuses what no search could look for.

    Raises:
        UsageError: it is no regular expression, or matches nothing at all.
    """

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

class _Program(Protocol):
    def lowered(self) -> tuple[list[dict[str, Any]], bool]: ...

@final
class LineEvent:
    """Something that happened on a line besides bytes."""

    @property
    def kind(self) -> Literal["break", "parity", "framing", "overrun", "modem", "settings"]:
        """What: the other side held the line low; the byte that follows came with wrong parity, or without a stop bit;
        bytes were lost; the modem lines changed; the other side set its port anew.
        """
    @property
    def at(self) -> Stamp:
        """When it was seen."""
    @property
    def offset(self) -> int:
        """How many bytes had come before it, counted from the opening of the stream."""
    @property
    def cts(self) -> bool | None:
        """Clear to send, as it stands now; `None` if it is no event of modem lines, as for the next three."""
    @property
    def dsr(self) -> bool | None:
        """Data set ready."""
    @property
    def ri(self) -> bool | None:
        """Ring indicator."""
    @property
    def dcd(self) -> bool | None:
        """Carrier detect."""
    @property
    def settings(self) -> str | None:
        """What the other side set, e.g. ``"9600 8E1"``; `None` for other kinds."""
    def describe(self) -> str: ...

@final
class Event:
    """One thing that happened while a stimulus program ran."""

    @property
    def kind(self) -> Literal["sent", "line", "pause", "seen", "silence", "timed out", "skipped"]:
        """What: something of ours (sent, line), the end of a wait (seen, silence, timed out), a slot left out."""
    @property
    def step(self) -> int:
        """The step of the program, from 1."""
    @property
    def name(self) -> str | None:
        """Its name, if it has one."""
    @property
    def piece(self) -> int:
        """Which piece of a burst, from 0."""
    @property
    def slot(self) -> int | None:
        """Which slot of the innermost repeat, from 0."""
    @property
    def data(self) -> bytes:
        """What was sent, or what came."""
    @property
    def line(self) -> str | None:
        """What was done to the line: ``"rts on"``, ``"break 20 ms"``, ``"19200 8N1"``."""
    @property
    def at(self) -> Stamp:
        """The instant: between `issued` and `returned`; of what came, the arrival of its last byte."""
    @property
    def done(self) -> Stamp:
        """When the port had taken it; of what came, its arrival."""
    @property
    def scheduled(self) -> Stamp | None:
        """When it was due; of a wait, its deadline."""
    @property
    def issued(self) -> Stamp | None:
        """Right before the port was given it."""
    @property
    def returned(self) -> Stamp | None:
        """Right after the port had taken all of it."""
    @property
    def left(self) -> Stamp | None:
        """When its last bit has left, as far as the port knows the speed of the line."""
    @property
    def first(self) -> Stamp | None:
        """Of what came, the arrival of its first byte."""
    @property
    def late(self) -> Span | None:
        """How long after it was due it was issued."""
    @property
    def run_delay(self) -> Span | None:
        """Of what was late: for how much of that the thread waited for a CPU, as far as the kernel counts it."""
    @property
    def delay(self) -> Span | None:
        """From the arrival that it counts from to `at`: the delay of a response, as it was."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from the event to a later one."""
    def describe(self) -> str: ...

@final
class Played:
    """What became of a stimulus program."""

    @property
    def outcome(
        self,
    ) -> Literal["completed", "timed out", "seen", "too late", "refused", "lost", "stopped", "running"]:
        """How it ended."""
    @property
    def step(self) -> int | None:
        """The step that ended it, if one did."""
    @property
    def reason(self) -> str | None:
        """Why it was not completed."""
    @property
    def at(self) -> Stamp:
        """When it began: what `at=` counts from."""
    @property
    def done(self) -> Stamp:
        """When it ended; while it runs, now."""
    @property
    def events(self) -> tuple[Event, ...]:
        """All that happened, in order: the newest million."""
    @property
    def sent(self) -> tuple[Event, ...]:
        """What we did: bytes and line commands."""
    @property
    def seen(self) -> tuple[Event, ...]:
        """What was waited for and came, silence among it."""
    @property
    def skipped(self) -> tuple[Event, ...]:
        """The slots that were too late, and left out or the end of it."""
    @property
    def dropped(self) -> int:
        """How many events are not in `events`, because more than a million came after them."""
    @property
    def timing_class(self) -> Literal["A", "B", "C", "V", "net"]:
        """How well instants are met: that of the line thread (A, B, C), virtual time (V), or no line thread (net)."""
    def of(self, step: int | str, /) -> tuple[Event, ...]:
        """The events of a step, by number or name; empty if it was not reached.

        Raises:
            UsageError: the program has no such step.
        """
    def until(self, later: HasInstant, /) -> Span:
        """The span from the start to a later event."""

@final
class Playing:
    """A stimulus program that was begun."""

    @property
    def at(self) -> Stamp:
        """When it begins: what `at=` counts from."""
    @property
    def running(self) -> bool: ...
    @property
    def endless(self) -> bool:
        """Whether it runs until it is stopped."""
    @property
    def so_far(self) -> Played:
        """What it came to so far."""
    def wait(self, *, within: str | Span | None = None) -> Played:
        """Waits for its end, at most so long, and gives what it came to by then."""
    def stop(self) -> Played:
        """Ends it now. What was to be sent later is not sent. Stopping what has ended is fine."""

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
    def begin(self, program: _Program, /) -> Playing:
        """Begins a stimulus program (`fieldrig.stimulus.Program`). One runs at a time.

        Raises `UsageError` for what is wrong with it, `ConnectionLost` or `PortLost` if the conversation has ended.
        """
    def play(self, program: _Program, /) -> Played:
        """Runs a stimulus program to its end, whatever that is. Ctrl-C stops it."""
    def line_events(
        self,
        kind: Literal["break", "parity", "framing", "overrun", "modem", "settings"] | None = None,
        *,
        after: HasInstant | None = None,
        within: str | Span | None = None,
    ) -> tuple[LineEvent, ...]:
        """What happened on the line besides bytes, oldest first; the last 4096 are kept.

        Carriers that tell of it: real ports, RFC 2217, wires in memory with a speed; a pty tells of settings only. That
        there is no event proves nothing on the others.

        Args:
            kind: only these.
            after: only those that may have come after an action or an event.
            within: waits so long until there is one; gives what there is as soon as there is any, or at the end of the
                conversation. Without it, what has come by now.

        Raises:
            UsageError: an unknown kind, no instant, no duration.
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
    @property
    def resolution_ns(self) -> int:
        """So long may bytes have waited in the adapter before a look could find them; 0 if nothing holds them back."""
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
