"""The native core: time, rigs, and one submodule for each protocol."""

from collections.abc import Iterable, Sequence
from os import PathLike
from types import TracebackType
from typing import Final, Literal, Protocol, Self, final, type_check_only

from fieldrig._core import bench, device, endpoint, modbus, modbus_stock, mqtt, protocol, stream, timing

__all__ = [
    "Checkup",
    "Dissection",
    "Field",
    "JoinedPort",
    "Lateness",
    "LineCounts",
    "Rig",
    "Secrets",
    "SerialPort",
    "Span",
    "Stall",
    "Stamp",
    "TraceFollower",
    "WireLock",
    "__version__",
    "bench",
    "device",
    "duration",
    "duration_ns",
    "endpoint",
    "examine",
    "export_trace",
    "modbus",
    "modbus_stock",
    "mqtt",
    "ports",
    "protocol",
    "stream",
    "timing",
]

__version__: Final[str]

@type_check_only
class HasInstant(Protocol):
    """Anything that happened at a known instant."""

    @property
    def at(self) -> Stamp: ...

@final
class Stamp:
    """An instant of a run, known to lie between `earliest` and `latest`.

    Seconds (and nanoseconds) since the clock began: real time is one clock for all rigs and links of a process, and
    each `Rig(clock="virtual")` has one of its own. To compare instants of two clocks, or take one from the other,
    raises `UsageError`. A stamp that was made by hand belongs to no clock, and is compared with any.
    """

    def __new__(cls, earliest_ns: int, latest_ns: int | None = None) -> Stamp: ...
    @property
    def earliest(self) -> float: ...
    @property
    def latest(self) -> float: ...
    @property
    def earliest_ns(self) -> int: ...
    @property
    def latest_ns(self) -> int: ...
    @property
    def at(self) -> Stamp:
        """The stamp itself, so that it can stand wherever an event can."""
    def order(self, other: HasInstant) -> Literal["before", "after", "unknown"]:
        """What the two intervals say about the order of the instants."""
    def until(self, later: HasInstant) -> Span:
        """The span from this instant to that of `later`."""
    def on_same_clock(self, earliest_ns: int, latest_ns: int | None = None) -> Stamp:
        """Another instant of the same clock."""
    def __sub__(self, other: Stamp, /) -> Span: ...
    def __rsub__(self, other: Stamp, /) -> Span: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[int, int]: ...

@final
class Span:
    """The time between two instants: not shorter than `earliest`, not longer than `latest`.

    Seconds (and nanoseconds); negative where the second instant came first.
    """

    def __new__(cls, earliest_ns: int, latest_ns: int | None = None) -> Span: ...
    @property
    def earliest(self) -> float: ...
    @property
    def latest(self) -> float: ...
    @property
    def earliest_ns(self) -> int: ...
    @property
    def latest_ns(self) -> int: ...
    def judge(
        self, *, min: str | Span | None = None, max: str | Span | None = None
    ) -> Literal["pass", "fail", "inconclusive"]:
        """Pass if surely inside both limits, fail if surely outside one, else inconclusive.

        Raises `UsageError` for a limit that is no duration.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[int, int]: ...

@final
class Stall:
    """A time for which the host did not let us run. Its kind is "stopped", "starved", "program" or "line".

    "stopped": the whole process stood still (SIGSTOP, a debugger, a virtual machine that was paused). "starved": its
    sentinel waited for a CPU; threads with real-time scheduling may have run all the time. "program":
    a program that is a device of the run waited for a CPU (`Rig.watch_program`). "line": a thread that owns a line
    stood still while others ran.
    """

    @property
    def start(self) -> Stamp:
        """The last instant at which everything was in order."""
    @property
    def end(self) -> Stamp:
        """The first instant at which we ran again."""
    @property
    def length(self) -> Span:
        """How long it lasted."""
    @property
    def latest_ns(self) -> int:
        """How long it lasted at most (nanoseconds)."""
    @property
    def kind(self) -> Literal["stopped", "starved", "program", "line"]: ...
    @property
    def run_delay(self) -> Span:
        """How long the thread that noticed waited for a CPU meanwhile."""
    @property
    def reason(self) -> str:
        """What happened, for people: `the host was busy: run queue 63 ms of 64.2 ms`."""

def duration(value: str | Span, /) -> float:
    """Reads a duration with its unit (`"500ms"`; ns, us, ms, s, min, h) and gives seconds.

    Raises `UsageError` for a bare number, an unknown unit, a negative duration.
    """

def duration_ns(value: str | Span, /) -> int:
    """Like `duration`, in nanoseconds."""

def export_trace(trace: str | PathLike[str], to: str | PathLike[str], /) -> int:
    """Writes the messages of a `trace.pcapng` as JSON lines, dissected; gives their number.

    Raises `BenchError` if the one cannot be read or the other cannot be written.
    """

@final
class TraceFollower:
    """Reads a `trace.pcapng` while it is written.

    Raises `BenchError` if it cannot be read, or is no trace.
    """

    def __new__(cls, trace: str | PathLike[str], /) -> TraceFollower: ...
    def lines(self) -> list[str]:
        """The messages since the last call, dissected, as lines of JSON like those of `export_trace`."""

@final
class Rig:
    """What objects share: one clock, one reactor, one run log, one capture.

    Args:
        folder: where run log and capture go; without one they are not written.
        trace: what is kept of the traffic: all of it ("full"), the last 16 MiB ("ring"), or numbers only ("counts").
        name: a name for people.
        clock: "virtual": time moves only inside blocking calls, to the next thing that is due; every instant is exact.
            Only wires and connections in memory (`wire://`, `memory://`) can be opened then.
        secrets: texts that stand in neither run log nor capture: `***`, or as many `*`, stand for them. Those of a
            `Secrets` are shared with it.

    Raises:
        BenchError: the folder cannot be written.
    """

    def __new__(
        cls,
        *,
        folder: str | PathLike[str] | None = None,
        trace: Literal["full", "ring", "counts"] = "full",
        name: str = "",
        clock: Literal["real", "virtual"] = "real",
        secrets: Sequence[str] | Secrets | None = None,
    ) -> Rig: ...
    @property
    def clock(self) -> Literal["real", "virtual"]:
        """Which clock it has."""
    def hide(self, text: str, /) -> None:
        """Masks a text in run log and capture from now on."""
    def add_wire(
        self,
        name: str,
        line: str | None = None,
        *,
        duplex: Literal["half", "full"] = "half",
        echo: bool = False,
        driver_on: str | Span | None = None,
        driver_off: str | Span | None = None,
        seed: int = 0,
    ) -> None:
        """Adds a wire in memory with any number of taps (`wire://NAME`): each hears what the others send.

        Args:
            name: the name; adding it again with the same line does nothing.
            line: speed and format (`"9600 8E1"`): bytes take the time they would take; without, they take none.
            duplex: "half": one pair of conductors for all, as RS-485 has it: who sends while another does garbles both.
                "full": one conductor for each direction, as RS-232 has it.
            echo: who asks hears itself, as an RS-485 adapter does whose receiver is always on (`wire://NAME?echo=off`
                has none nevertheless).
            driver_on: so long the driver of a sender is on before the first start bit.
            driver_off: so long it stays on after the last stop bit: who sends meanwhile is garbled.
            seed: what the faults of this wire are drawn from: the same seed and bytes, the same faults.

        Raises:
            PortError: there is a wire of this name with another line.
            UsageError: the line is malformed.
        """
    def fault_wire(
        self,
        wire: str,
        name: bench._WireFault,
        *,
        p: float | None = None,
        count: int | None = None,
        after: int | None = None,
        direction: Literal["requests", "responses"] | None = None,
        delay: str | Span | None = None,
    ) -> None:
        """Disturbs what is sent on a wire in memory until `clear_wire_faults`; everybody on it hears the same.

        Args:
            wire: the name of the wire.
            name: `drop`, `corrupt` (another byte), `bits` (each bit is an opportunity), `duplicate`, `delay` (a gap
                before it), `jitter` (a gap of chance up to `delay`), `parity`, `framing`, `overrun` (lost, and told),
                `break` (the line is low instead), `cut` (from here on nothing), `short` (from here on low).
            p: the probability for each byte; without it every byte.
            count: only so many times.
            after: only behind so many bytes (of `bits`: bits).
            direction: only what is sent by who asks (`requests`) or by who answers (`responses`); both if not given.
            delay: for `delay` and `jitter`: how long.

        Raises:
            UsageError: there is no such wire or fault, or a value does not fit; `parity` on a line without parity.
        """
    def clear_wire_faults(self, wire: str, /) -> None:
        """Ends every disturbance of a wire in memory.

        Raises:
            UsageError: there is no such wire.
        """
    def now(self) -> Stamp:
        """The current instant."""
    def log(self, kind: str, /, **fields: object) -> None:
        """Writes a line into the run log; fields are bools, numbers, texts, bytes, lists and dicts of these."""
    def stalls(self, since: HasInstant, /) -> tuple[Stall, ...]:
        """When the host did not let us run, since an instant, as far as it stands against every verdict on time.

        Stops of more than 10 ms, times of more than 50 ms for which we waited for a CPU, and those of watched programs.
        """
    def hiccups(self, since: HasInstant, /) -> tuple[Stall, ...]:
        """All times of more than 10 ms for which the host did not let us run; a busy host has many.

        For limits of a few milliseconds, and to explain what was late.
        """
    def watch_program(self, process: int, /, stands: str | Span) -> None:
        """A process is a device of this run, such as an emulator: when it waits for a CPU for longer than it stands,
        that is one of the `stalls`, and what is late or missing then is held against nobody.

        Raises:
            BenchError: the clock is virtual.
        """
    def sleep(self, duration: str | Span, /) -> None:
        """Waits; on virtual time, moves it, and everything that is due meanwhile happens."""
    def files(self) -> dict[str, str]:
        """What the run leaves behind: kind ("log", "trace") and path."""
    @property
    def timing_class(self) -> Literal["A", "B", "C", "V"] | None:
        """How well it can meet deadlines on lines: A (real-time scheduling), B (short timer slack and slice), C
        (neither), V (virtual time: exact). The worst of its lines; None if it has none."""
    @property
    def timing_steps(self) -> tuple[str, ...]:
        """What the worst of its lines asked of the host, and what became of it; empty if there is none.

        `real-time scheduling: SCHED_FIFO 50`, `locked memory: no (Operation not permitted (os error 1))`.
        """
    def line_counts(self) -> tuple[LineCounts, ...]:
        """What the drivers of the real serial ports have counted, of each port since it was opened first.

        Ports that are closed by now are there, too.
        """
    def stop(self) -> None:
        """Closes everything that runs on it, ends every thread, completes the files; stopping twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Lateness:
    """How late many deadlines were met (seconds)."""

    @property
    def count(self) -> int: ...
    @property
    def p50(self) -> float: ...
    @property
    def p99(self) -> float: ...
    @property
    def p999(self) -> float | None:
        """None with fewer than 3000 deadlines."""
    @property
    def max(self) -> float: ...
    @property
    def missed(self) -> int:
        """How many were later than a whole period."""
    @property
    def histogram(self) -> list[tuple[float | None, int]]:
        """The upper bound of each bar (None: no bound), and how many lie in it."""

@final
class Checkup:
    """What `examine` found."""

    @property
    def timing_class(self) -> Literal["A", "B", "C"]: ...
    @property
    def steps(self) -> list[tuple[str, bool, str]]:
        """What was asked of the host, whether it was granted, and what was granted or why not."""
    @property
    def wakes(self) -> Lateness:
        """How late sleeps ended: what cyclictest measures."""
    @property
    def deadlines(self) -> Lateness:
        """How late deadlines were met, after the spin."""
    @property
    def explained(self) -> float | None:
        """Of all lateness beyond 100 us, the part for which the thread waited for a CPU; None if that is not known."""
    @property
    def stalls(self) -> tuple[Stall, ...]: ...
    @property
    def facts(self) -> list[tuple[str, str, str | None]]:
        """What is known of the host: about what, what, and why that is bad for deadlines, if it is."""

def examine(period: str | Span, length: str | Span, *, cpu: int | None = None) -> Checkup:
    """Measures how well this host lets the threads of serial lines meet deadlines.

    Args:
        period: from deadline to deadline; deadlines are absolute.
        length: how long it measures.
        cpu: the CPU to which the thread is bound.

    Raises:
        BenchError: a thread cannot be started or bound.
        UsageError: something is no duration.
    """

@final
class Secrets:
    """Texts that must stand in no artefact.

    Args:
        values: the texts; empty ones are no secrets.
    """

    def __new__(cls, values: Iterable[str], /) -> Secrets: ...
    def hide(self, text: str, /) -> None:
        """Masks one more text from now on."""
    def mask(self, text: str, /) -> str:
        """The text with `***` for every secret in it: plain, escaped, as hex, or cut off (`abc..`)."""
    @property
    def too_short(self) -> int:
        """How many values are too short (less than 4 bytes) to be masked: they would be found everywhere."""
    def __bool__(self) -> bool: ...

@final
class LineCounts:
    """The errors that the driver of a serial port has counted; all zero if `unknown` says why it cannot tell."""

    @property
    def port(self) -> str:
        """The name by which the port was opened: `/dev/ttyS1`, `usb:0403:6001:FT4XK2`."""
    @property
    def framing(self) -> int:
        """Bytes without a stop bit."""
    @property
    def parity(self) -> int:
        """Bytes with wrong parity."""
    @property
    def overrun(self) -> int:
        """Bytes that the port lost because nobody took them in time."""
    @property
    def breaks(self) -> int:
        """Breaks."""
    @property
    def buffer_overrun(self) -> int:
        """Bytes that the kernel lost because nobody read them in time."""
    @property
    def unknown(self) -> str | None:
        """Why nothing is known: ptys and some drivers do not count. None if the numbers are true."""

@final
class SerialPort:
    """A serial port of this machine."""

    @property
    def path(self) -> str:
        """The device node: `/dev/ttyUSB0`."""
    @property
    def kind(self) -> Literal["usb", "uart"]:
        """On USB, or built in."""
    @property
    def name(self) -> str | None:
        """Its stable name, if it hangs on USB: `usb:0403:6001:FT4XK2`; a bench file and `serial://` URLs take it."""
    @property
    def vendor(self) -> str | None:
        """USB vendor, four hexadecimal digits."""
    @property
    def product(self) -> str | None:
        """USB product, four hexadecimal digits."""
    @property
    def serial(self) -> str | None:
        """USB serial number, if it has one."""
    @property
    def interface(self) -> str | None:
        """USB interface, two hexadecimal digits: adapters with several ports have several (`:if01` behind the name)."""
    @property
    def words(self) -> str:
        """Maker and product in words; empty if unknown."""
    @property
    def location(self) -> str | None:
        """Where it is plugged in: bus and ports on the way to it, such as `1-4.2`; `usb:1-4.2` is a name, too."""
    @property
    def latency_timer(self) -> int | None:
        """For how many milliseconds the adapter collects bytes before it hands them over; None if it does not tell."""
    @property
    def rx_trigger(self) -> int | None:
        """How many bytes the UART collects before it tells (`rx_trig_bytes`); None if it does not say."""
    @property
    def by_id(self) -> str | None:
        """The link in `/dev/serial/by-id`, if there is one."""
    @property
    def held_by(self) -> list[str]:
        """Who has it: the holder of its lock, or processes that have it open."""

def ports() -> tuple[SerialPort, ...]:
    """The serial ports that are plugged in or built in, in order of their names; nothing is opened."""

@final
class WireLock:
    """A real wire that is ours, among all processes of this user, until it is released or the process ends.

    Args:
        name: a device (`/dev/ttyUSB0`, `usb:0403:6001:FT4XK2`) or `host:port`; links to one device are one wire.
        what: for what it is taken, for others: a bench.
        wait: how long to wait while somebody else has it; not at all, if not given.

    Raises:
        PortError: somebody else has it, who is named; or there is no such USB adapter.
        UsageError: `wait` is no duration.
    """

    def __new__(cls, name: str, what: str = "", *, wait: str | Span | None = None) -> WireLock: ...
    @property
    def name(self) -> str:
        """The wire: of a device, the node that all its names lead to."""
    @staticmethod
    def holder(name: str, /) -> str | None:
        """Who has a wire, in words; None if nobody has."""
    def release(self) -> None:
        """Gives it up; releasing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class JoinedPort:
    """A port that is joined to a wire in memory (`Rig.add_wire`): what comes in at the one goes out at the other.

    Args:
        rig: the rig of the wire.
        wire: its name.
        url: the port; `pty://` makes a new one for programs that know nothing of fieldrig.
        name: what run log and trace call it; `WIRE.port` if not given.
        brings: whether who asks or who answers is at the port.

    Raises:
        PortError: there is no such wire, the port cannot be opened, or the rig is on virtual time.
        UsageError: the URL is malformed.
    """

    def __new__(
        cls,
        rig: Rig,
        wire: str,
        url: str,
        *,
        name: str | None = None,
        brings: Literal["clients", "devices"] = "clients",
    ) -> JoinedPort: ...
    @property
    def url(self) -> str:
        """The URL under which others find it."""
    @property
    def address(self) -> str:
        """Where others find it: a device node, `host:port`, a path."""
    @property
    def joined(self) -> bool:
        """Somebody is at the other end, as far as the port knows: connected, or a line, which always is."""
    @property
    def lost(self) -> str | None:
        """Why it is gone; None while it is there."""
    def close(self) -> None:
        """Takes it off the wire and closes it."""

@final
class Dissection:
    """A message, taken apart."""

    @property
    def protocol(self) -> str: ...
    @property
    def summary(self) -> str:
        """The message in one line."""
    @property
    def data(self) -> bytes: ...
    @property
    def fields(self) -> tuple[Field, ...]: ...
    def render(self) -> str:
        """Lines for people: offset, bytes, name, value, note."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class Field:
    """One field of a message."""

    @property
    def offset(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def name(self) -> str:
        """Its name in the words of the standard."""
    @property
    def value(self) -> str: ...
    @property
    def note(self) -> str | None:
        """What is wrong with it, if something is: `says 6, 4 bytes follow`."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
