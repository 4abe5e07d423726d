"""Modbus: client, emulated device, monitor, ADUs as bytes."""

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, final, type_check_only

from fieldrig._core import Dissection, HasInstant, Rig, Span, Stall, Stamp
from fieldrig._core.device import Change
from fieldrig.handling import Reply

__all__ = [
    "GATEWAY_HABITS",
    "HABITS",
    "Answer",
    "Answers",
    "Attempt",
    "Client",
    "ClientRemark",
    "Device",
    "Gateway",
    "Monitor",
    "Observation",
    "Reading",
    "Request",
    "Rule",
    "adu_rtu",
    "adu_tcp",
    "crc16",
    "describe_points",
    "dissect_ascii",
    "dissect_rtu",
    "dissect_tcp",
    "read_url",
]

GATEWAY_HABITS: Final[tuple[tuple[str, str], ...]]
"""Name and meaning of every habit of an emulated gateway: each breaks one statement about gateways."""

HABITS: Final[tuple[tuple[str, str], ...]]
"""Name and meaning of every habit of an emulated device: each breaks one statement of the standard."""

@type_check_only
class Timeline(Protocol):
    """Who wants to know when something was done that can cause behaviour: `fieldrig.expect.Timeline`."""

    def approach(self) -> Stamp | None: ...
    def stimulus(self, at: Stamp, /) -> object: ...

@type_check_only
class Guard(Protocol):
    """Says what may be sent: raises if not."""

    def __call__(
        self,
        function: int,
        written: tuple[str, int, int] | None,
        action: Literal["write", "restart", "silence"],
        /,
    ) -> object: ...

@final
class Answer:
    """The answer to one request."""

    def __new__(
        cls,
        pdu: bytes,
        quantity: int,
        at: Stamp,
        done: Stamp,
        request: bytes,
        response: bytes,
        attempts: Sequence[Attempt] = ...,
        deviations: Sequence[tuple[str, str]] = ...,
    ) -> Answer: ...
    @property
    def values(self) -> tuple[int, ...]:
        """Registers as unsigned 16-bit numbers; coils and discrete inputs as bools; empty after a write."""
    @property
    def fields(self) -> dict[str, Any]:
        """What the answer holds, by name; which names there are is said at each method of `Client`."""
    @property
    def at(self) -> Stamp:
        """When the request was issued."""
    @property
    def done(self) -> Stamp:
        """When the last byte of the answer arrived."""
    @property
    def latency(self) -> Span:
        """From the issue of the request to the arrival of the answer."""
    @property
    def function(self) -> int:
        """The function code."""
    @property
    def pdu(self) -> bytes:
        """The PDU of the answer: function code and data."""
    @property
    def request(self) -> bytes:
        """The request as it went over the wire."""
    @property
    def response(self) -> bytes:
        """The answer as it came over the wire; empty after a broadcast."""
    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that failed before this answer came; empty if the first was answered. See `Client.asking`."""
    @property
    def deviations(self) -> tuple[tuple[str, str], ...]:
        """What was tolerated, as name and text: in the modes `"lenient"` and `"raw"`; docs/modbus.md has the names."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from the issue of the request to a later event."""
    def __eq__(self, other: object, /) -> bool:
        """Whether it is the same one. Numbers, texts, tuples and lists are a `UsageError`: compare `.values`."""
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(
        self,
    ) -> tuple[bytes, int, Stamp, Stamp, bytes, bytes, list[Attempt], list[tuple[str, str]]]: ...

@final
class Attempt:
    """One time that a request was asked in vain, and then again."""

    def __new__(cls, at: Stamp, done: Stamp, problem: str, request: bytes, received: bytes) -> Attempt: ...
    @property
    def at(self) -> Stamp:
        """When it was handed to the driver."""
    @property
    def done(self) -> Stamp:
        """When it was given up, or what came instead of the answer had arrived."""
    @property
    def problem(self) -> str:
        """What was wrong."""
    @property
    def request(self) -> bytes: ...
    @property
    def received(self) -> bytes:
        """What came; empty if nothing did."""
    def __getnewargs__(self) -> tuple[Stamp, Stamp, str, bytes, bytes]: ...

@final
class ClientRemark:
    """Something that a client noticed and that ends no request."""

    @property
    def kind(self) -> str:
        """`"late"` (an answer to a request that was given up), `"duplicate"` (a second one), `"unsolicited"` (what
        answers nothing), `"deviation"` (tolerated), `"retry"`, `"connected"`, `"disconnected"`."""
    @property
    def reason(self) -> str: ...
    @property
    def bytes(self) -> builtins.bytes: ...
    @property
    def at(self) -> Stamp:
        """When the last byte arrived."""

@final
class Answers:
    """How the reads of `Client.read_many` ended, in their order: an `Answer` for a block, a `Reading` for a point, or
    the exception it ended with. What is not looked at is not made."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    @property
    def failed(self) -> tuple[int, ...]:
        """Indexes of those that are exceptions."""

@final
class Reading:
    """The value of a point, as read from the device."""

    def __new__(cls, point: str, value: float | bool | str, unit: str, answer: Answer) -> Reading: ...
    @property
    def point(self) -> str: ...
    @property
    def value(self) -> Any:
        """Scaled, in `unit`: an int or float; a bool for coils, discrete inputs and points of type bool; a str for
        texts, for the names of an enumeration (a number without a name stays an int) and for instants, which are in
        UTC, such as `"2026-11-22T14:30:00Z"`."""
    @property
    def unit(self) -> str: ...
    @property
    def at(self) -> Stamp:
        """When the request was issued."""
    @property
    def done(self) -> Stamp:
        """When the last byte of the answer arrived."""
    @property
    def answer(self) -> Answer:
        """The whole exchange."""
    def until(self, later: HasInstant, /) -> Span: ...
    def __eq__(self, other: object, /) -> bool:
        """Whether it is the same one. Numbers, texts, tuples and lists are a `UsageError`: compare `.value`."""
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __bool__(self) -> bool:
        """A `UsageError`: `.value` may be true or false."""
    def __getnewargs__(self) -> tuple[str, float | bool | str, str, Answer]: ...

@final
class Client:
    """A Modbus client with one connection or line; connected when the constructor returns.

    A TCP connection that was lost, as when its device lost power, is made again by the next request.

    Args:
        url: `tcp://host:port`, `tls://host:802?ca=ca.pem&cert=client.pem&key=client.key`,
            `udp://host:port`, `rtu:///dev/ttyUSB0?baud=19200&parity=even`, `ascii:///dev/ttyUSB0?line=9600+7E1`,
            `rtu+tcp://host:port`, `rtu+rfc2217://host:port?line=9600+8E1`; docs/modbus.md has all of them.
        unit: unit id of the device, unless a call names another.
        timeout: how long an answer may take, unless a call says otherwise; one second if not given.
        points: where named points are: `{"voltage": {"table": "input", "address": 0, "type": "u16", "scale": 0.1}}`,
            as in `[face.modbus.map]` of a model file, or the path of a map file (TOML or CSV).
        rig: the rig to share; without one, the client has its own.
        timeline: asked before, and told the instant of, every write.
        name: what failure texts call it; the URL if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.
        guard: called before everything that can cause behaviour, with the function code, what is written (table, first
            address, count; None if it is not known) and what that does to the device (function 08 restarts it with
            sub-function 1 and silences it with 4; all else is a write); what it raises, the call raises, and nothing is
            sent.
        mode: `"strict"`, `"lenient"` or `"raw"`; see `asking`, as for retries and retry_writes.
        pace: the least time between a request or an answer and the next request.
        transactions: ids on TCP: `"sequential"`, `"sequential:500"` (the first), `"fixed:7"`, `"colliding"` (that of a
            request in flight).
        late_answers: on a line, how long after its time-out a request may still be answered; ten time-outs, and a
            second at least, if not given. docs/modbus.md says what depends on it.
        local_echo: True: the adapter repeats what we send; strip it. False: it surely does not, and a request that
            comes back is held against the device. Not given: a request that comes back, and what comes back sooner than
            an answer can on a UART, is no answer; `Inconclusive` says so.

    Raises:
        PortError: the port is missing, busy, or nobody listens there; a certificate or key of ours is wrong.
        Untrusted: the device presented a certificate that is not one to believe.
        UsageError: a malformed URL, duration or point.

    All requests raise `ExceptionAnswer` (the device answered with an exception), `ProtocolError` (with something that
    is no answer), `NoAnswer` (silence on a path that has worked), `Unanswered` (silence on a path that never has),
    `ConnectionLost` (the device closed the connection), `PortLost`, and `UsageError` for what the standard does not
    allow to ask (`raw_pdu` does).
    """

    def __new__(
        cls,
        url: str,
        *,
        unit: int = 1,
        timeout: str | Span | None = None,
        points: Mapping[str, Mapping[str, object]] | str | PathLike[str] | None = None,
        rig: Rig | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
        guard: Guard | None = None,
        mode: Literal["strict", "lenient", "raw"] = "strict",
        retries: int = 0,
        retry_writes: bool = False,
        pace: str | Span | None = None,
        transactions: str = "sequential",
        late_answers: str | Span | None = None,
        local_echo: bool | None = None,
    ) -> Client: ...
    def asking(
        self,
        *,
        mode: Literal["strict", "lenient", "raw"] | None = None,
        retries: int | None = None,
        retry_writes: bool | None = None,
        patch: Mapping[str, int] | None = None,
        gap_before: str | Span | None = None,
        split: Sequence[tuple[int, str | Span]] | None = None,
    ) -> Client:
        """This client, asking in another way: `client.asking(patch={"length": 99}).read_holding(0)`.

        It shares the connection; what is not given stays as it is. Closing it leaves the connection open.

        Args:
            mode: how closely requests and answers are held to the standard; docs/modbus.md has the table.
            retries: how often a request is asked again that was not, or not properly, answered; never after an
                exception. `Answer.attempts` and the failure text say how often it was.
            retry_writes: ask again also what can cause behaviour.
            patch: fields that are sent wrong: transaction, protocol, length (TCP), crc (RTU), lrc (ASCII), unit,
                byte_count.
            gap_before: silence before the request, instead of the one of the standard.
            split: silences inside it: `(4, "2ms")` is one before byte 4.

        Raises:
            UsageError: a mode, field, number or duration that is none; when asked: a field that the framing does not
                have.
        """
    def raw_frame(self, frame: bytes | bytearray, *, timeout: str | Span | None = None) -> Answer:
        """Sends these bytes, whatever they are. The answer is what comes with the same transaction id, or next on the
        line, from the unit and with the function that stand in them."""
    def read_many(
        self,
        items: Iterable[str | tuple[str, int] | tuple[str, int, int]],
        *,
        unit: int | None = None,
        timeout: str | Span | None = None,
        in_flight: int = 16,
        raise_first: bool = True,
    ) -> Answers:
        """Reads many blocks and points in one call: `read_many([("holding", 0, 10), ("input", 5, 2), "voltage"])`.

        On TCP up to `in_flight` requests are without answer at a time; on a line it is one. Tables are holding, input,
        coils and discrete. The time-out counts for each request from when it is sent. With `raise_first`, the first
        read that failed raises; else the exception stands in its place. `Answer.at` is when the request was handed to
        the driver.

        Raises:
            UsageError: an item that is none; nothing was sent then.
        """
    def strays(self, *, after: HasInstant | None = None) -> list[ClientRemark]:
        """What came and answers nothing: late, second and unasked answers. It never is data."""
    def events(self, *, after: HasInstant | None = None) -> list[ClientRemark]:
        """Everything that was noticed and ended no request: strays, deviations, retries, connections made and lost. The
        last 10000 are kept, for all clients of a connection together."""
    def share(
        self,
        *,
        unit: int = 1,
        timeout: str | Span | None = None,
        points: Mapping[str, Mapping[str, object]] | str | PathLike[str] | None = None,
        timeline: Timeline | None = None,
        name: str | None = None,
        guard: Guard | None = None,
    ) -> Client:
        """A client of another device behind the same connection or wire.

        Requests of all of them queue in order, one at a time on a wire. What any of them answers shows that the path
        works, so that the silence of another is its own fault. Closing it leaves the connection open for the others.
        """
    def doubt(self, reason: str | None, /) -> None:
        """Says why silence and broken connections prove nothing for now (the bench has taken the link down, or disturbs
        it): they are inconclusive then. None: they count again. It holds for all that share the connection."""
    @property
    def url(self) -> str: ...
    @property
    def unit(self) -> int: ...
    def read_coils(
        self, address: int, count: int = 1, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """01 (0x01) Read Coils: 1 to 2000 of them."""
    def read_discrete_inputs(
        self, address: int, count: int = 1, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """02 (0x02) Read Discrete Inputs: 1 to 2000 of them."""
    def read_holding(
        self, address: int, count: int = 1, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """03 (0x03) Read Holding Registers: 1 to 125 of them."""
    def read_input(
        self, address: int, count: int = 1, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """04 (0x04) Read Input Registers: 1 to 125 of them."""
    def write_coil(
        self, address: int, value: bool, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """05 (0x05) Write Single Coil."""
    def write_register(
        self, address: int, value: int, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """06 (0x06) Write Single Register."""
    def write_coils(
        self, address: int, values: Sequence[bool], *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """15 (0x0F) Write Multiple Coils: 1 to 1968 of them."""
    def write_registers(
        self, address: int, values: Sequence[int], *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """16 (0x10) Write Multiple Registers: 1 to 123 of them."""
    def mask_write(
        self,
        address: int,
        *,
        and_mask: int,
        or_mask: int,
        unit: int | None = None,
        timeout: str | Span | None = None,
    ) -> Answer:
        """22 (0x16) Mask Write Register: value = (value AND and_mask) OR (or_mask AND NOT and_mask)."""
    def read_write_registers(
        self,
        read_address: int,
        count: int,
        write_address: int,
        values: Sequence[int],
        *,
        unit: int | None = None,
        timeout: str | Span | None = None,
    ) -> Answer:
        """23 (0x17) Read/Write Multiple Registers: writes first; reads 1 to 125, writes 1 to 121."""
    def read_exception_status(self, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """07 (0x07) Read Exception Status. Fields: `status` (0 to 255)."""
    def diagnostics(
        self,
        sub: int,
        data: Sequence[int] | None = None,
        *,
        unit: int | None = None,
        timeout: str | Span | None = None,
    ) -> Answer:
        """08 (0x08) Diagnostics: a sub-function and the words behind it, one of 0 if not given. Fields: `sub`, `data`.

        Sub-function 4, Force Listen Only Mode, is never answered: on a serial line the call returns at once, as after a
        broadcast; `.response` is empty.
        """
    def comm_event_counter(self, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """11 (0x0B) Get Comm Event Counter. Fields: `status` (0, or 0xFFFF while a command is being done), `events`."""
    def comm_event_log(self, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """12 (0x0C) Get Comm Event Log. Fields: `status`, `events`, `messages`, `log` (bytes, the newest first)."""
    def report_server_id(self, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """17 (0x11) Report Server ID. Fields: `data`: id, run indicator and whatever else follows the byte count."""
    def read_file(
        self, parts: Sequence[tuple[int, int, int]], *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """20 (0x14) Read File Record: parts of file, first record, count. Fields: `records`, a tuple for each part."""
    def write_file(
        self,
        parts: Sequence[tuple[int, int, Sequence[int]]],
        *,
        unit: int | None = None,
        timeout: str | Span | None = None,
    ) -> Answer:
        """21 (0x15) Write File Record: parts of file, first record and values. Fields: `records`, as given."""
    def read_fifo(self, address: int, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """24 (0x18) Read FIFO Queue: 0 to 31 registers, also in `.values`. Fields: `values`."""
    def read_device_id(
        self, code: int = 1, object: int = 0, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """43/14 (0x2B/0x0E) Read Device Identification: 1 basic, 2 regular, 3 extended, 4 the one object.

        As long as more follows, it asks on; the answer is the last one, with the objects of all. Fields: `code`,
        `conformity`, `more`, `next`, `objects` (bytes by object number). Raises `ProtocolError`, too, if what
        follows does not lie behind what came.
        """
    def encapsulated(
        self, mei: int, data: bytes, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """43 (0x2B) Encapsulated Interface Transport of any MEI type, such as 13 (CANopen). Fields: `mei`, `data`."""
    def raw_pdu(self, pdu: bytes, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """Sends any PDU as it is; the answer is what came, in `.pdu`. An exception answer raises here, too."""
    def read(self, point: str, *, timeout: str | Span | None = None) -> Reading:
        """Reads a point by name.

        Raises `UsageError` for a point that `points` does not name, and `ProtocolError` for registers that hold no
        value of its type, such as BCD digits above 9.
        """
    def write(self, point: str, value: float | bool | str | datetime, *, timeout: str | Span | None = None) -> Answer:
        """Writes a point by name; the value is in the unit of the point.

        A part of a register is written by function 22, which leaves the rest as it is; where the device answers that
        with exception 01, or the part goes over several registers, these are read and written back, and what changes
        between the two is lost. The answer is the last one.

        Raises `UsageError` for an unknown point, one that cannot be written, a value that does not fit or is outside
        its range; nothing is sent then.
        """
    def close(self) -> None:
        """Closes the connection; closing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Request:
    """A request that the handler of an emulated device is asked about."""

    @property
    def function(self) -> int: ...
    @property
    def table(self) -> str | None:
        """`"holding"`, `"input"`, `"coils"` or `"discrete"`; None for functions that are about none of these."""
    @property
    def address(self) -> int | None:
        """The first address that is read, or else written; None if it touches no table."""
    @property
    def count(self) -> int | None:
        """How many are read, or written, from there."""
    @property
    def write_address(self) -> int | None:
        """The first address that is written; beside `address` only in function 23."""
    @property
    def values(self) -> tuple[int, ...] | tuple[bool, ...]:
        """What is to be written: registers, or bits as bools; of function 22 the AND and the OR mask. Else empty."""
    @property
    def unit(self) -> int:
        """The unit id it is for; 0 is a broadcast on a line."""
    @property
    def transaction(self) -> int | None:
        """The transaction id; None on a line and inside `rtu+tcp`."""
    @property
    def connection(self) -> int:
        """The number of its connection since power-on, from 1."""
    @property
    def broadcast(self) -> bool:
        """Nobody answers it."""
    @property
    def pdu(self) -> bytes:
        """Function code and data, as they came."""
    @property
    def at(self) -> Stamp:
        """When the device took it up, on the clock of its rig."""

@final
class Rule:
    """A rule of an emulated Modbus server. Every method raises `UsageError` once it was removed."""

    @property
    def name(self) -> str: ...
    @property
    def what(self) -> str:
        """What it does, as it was written."""
    @property
    def is_on(self) -> bool: ...
    @property
    def matched(self) -> int:
        """How many requests matched since it was switched on."""
    @property
    def applied(self) -> int:
        """How many of these it applied to; each is a record `modbus.rule` in the run log."""
    def on(self) -> None:
        """Switches it on; if it was off, its schedule begins anew."""
    def off(self) -> None:
        """Switches it off."""
    def remove(self) -> None:
        """Takes it away."""

@final
class Device:
    """An emulated Modbus device, running when the constructor returns.

    Args:
        url: where it listens: `tcp://127.0.0.1:0` (a free port),
            `tls://127.0.0.1:0?ca=ca.pem&cert=device.pem&key=device.key` (clients must have a certificate),
            `pty://?line=9600+8E1` (a new pty),
            `rtu:///dev/ttyUSB0?line=9600+8E1`, `udp://127.0.0.1:0`, `ascii+pty://`, `rtu+rfc2217://127.0.0.1:0`;
            docs/modbus.md has all of them.
        unit: the unit id it answers to, 1 if not given; None: to every one.
        holding, input: registers, by first address: `{0: [1, 2, 3], 100: [7]}`.
        coils, discrete: bits, by first address.
        functions: the function codes it knows. If not given: those of the tables; on a serial line also 7, 8, 11, 12
            and 17; and those that `files`, `fifos` and `identification` are for.
        files: records of functions 20 and 21: `{4: [1, 2, 3]}` from record 0, or `{4: {100: [7]}}` by first record.
        fifos: queues of function 24, by pointer address.
        identification: objects of function 43/14: `{0: "Vendor", 1: "Code", 2: "1.0"}`; these three are mandatory.
        conformity: its conformity level, such as `0x83`; if not given, the one that shows all objects, also one by one.
        server_id: id of function 17; the run indicator follows it.
        exception_status: what function 7 gives.
        diagnostic_register: what function 8, sub-function 2 gives until it is cleared.
        units: further units behind the same line or port, by unit id: `{2: {"holding": {0: [1]}, "functions": [3]}}`,
            each with any of the keywords above but `unit` and `units`.
        roles: which role of a client's certificate may do what: `{"Operator": {"functions": [3], "holding": [[0, 99]]},
            "Engineer": "all", "": [43]}`; "" is the NULL role. Without it everybody may do everything.
        map: points, as `points` of a client: a dict, or the path of a map file. `value` and `set_value` reach them.
        rules: how it behaves apart from the standard, per request and per address: dicts with the keys of a rule in a
            model file (docs/modbus.md, "Emulated devices that misbehave").
        seed: of the chance and the noise in its rules.
        handler: a function that is asked about each request before the device does it, and gives None (the device does
            it), values (of a request that reads), `True` (a request that writes is done), bytes (this PDU),
            `modbus.Refuse(code)` (also raised) or `modbus.NO_ANSWER`. docs/modbus.md says more.
        rig: the rig to share; without one, the device has its own.

    Raises:
        PortError: the address cannot be listened on.
        UsageError: a malformed URL, table or rule; a handler that cannot be called.
    """

    def __new__(
        cls,
        url: str = "tcp://127.0.0.1:0",
        *,
        unit: int | None = ...,
        holding: Mapping[int, Sequence[int]] | None = None,
        input: Mapping[int, Sequence[int]] | None = None,
        coils: Mapping[int, Sequence[bool]] | None = None,
        discrete: Mapping[int, Sequence[bool]] | None = None,
        functions: Sequence[int] | None = None,
        files: Mapping[int, Sequence[int] | Mapping[int, Sequence[int]]] | None = None,
        fifos: Mapping[int, Sequence[int]] | None = None,
        identification: Mapping[int, str | bytes] | None = None,
        conformity: int | None = None,
        server_id: str | bytes | None = None,
        exception_status: int | None = None,
        diagnostic_register: int | None = None,
        units: Mapping[int, Mapping[str, object]] | None = None,
        roles: Mapping[str, object] | None = None,
        map: Mapping[str, Mapping[str, object]] | str | PathLike[str] | None = None,
        rules: Sequence[Mapping[str, object]] | None = None,
        seed: int | None = None,
        handler: Callable[[Request], Reply] | None = None,
        rig: Rig | None = None,
    ) -> Device: ...
    @property
    def url(self) -> str:
        """Where a client reaches it: `tcp://127.0.0.1:40233`, `rtu:///dev/pts/7?line=9600+8E1`."""
    def get(self, table: str, address: int, count: int = 1, *, unit: int | None = None) -> tuple[int, ...]:
        """What stands in a table ("holding", "input", "coils", "discrete") of the device or of one of its `units`.
        Raises `UsageError` outside its ranges."""
    def set(self, table: str, address: int, values: Sequence[int] | int, *, unit: int | None = None) -> Change:
        """Puts values into a table. Raises `UsageError` outside its ranges."""
    def value(self, point: str, /) -> Any:
        """The value of a point of `map`. Raises `UsageError` for an unknown one."""
    def set_value(self, point: str, value: float | bool | str, /) -> Change:
        """Sets a point of `map`. Raises `UsageError` for an unknown one, or a value outside its range."""
    def habit(self, name: str, value: object = None) -> None:
        """Changes how the device behaves on the wire; the names are in `HABITS`. Without a value it is switched on,
        `"default"` is the standard's way.

        Raises `UsageError` for an unknown name (the text lists all) or a value that does not fit.
        """
    def rule(self, **keys: object) -> Rule:
        """Adds a rule: it comes last, and so wins. The keys are those of a rule in a model file; `from_` for `from`::

            slow = device.rule(when={"address": 7}, delay="300ms", count=2)

        Raises `UsageError` that names the key at fault.
        """
    @property
    def rules(self) -> dict[str, Rule]:
        """Its rules by name, in order: `device.rules["slow"].off()`."""
    def reset_rules(self) -> None:
        """Leaves only the rules of the constructor, switched as they were declared; they begin anew."""
    def power_on(self) -> Stamp:
        """Switches it on; it answers when the call returns."""
    def power_off(self) -> Stamp:
        """Switches it off: connections break, the wire falls silent."""
    def close(self) -> None:
        """Ends it and closes its port; closing twice is fine.

        Raises `BenchError` once it is closed, if its handler broke and nobody was told yet.
        """
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Gateway:
    """An emulated gateway: a server for clients on TCP, a client on one line. It runs when the constructor returns.

    A unit without a route is exception 0x0A, one that does not answer in time or whose answer is damaged 0x0B;
    everything else a unit says is passed on. On the line there is one request at a time; connections take turns.
    Unit 0 is a broadcast on the line, which nobody answers; unit 255 is the gateway itself.

    Args:
        url: where clients find it, `tcp://127.0.0.1:0` (a free port), `memory://NAME`.
        line: where its devices are: `rtu:///dev/ttyUSB0?line=9600+8E1`, `rtu+tcp://host:port`, `wire://NAME`.
        units: which units there are: unit ids, or a dict from unit on TCP to unit on the line. If not given, 1 to 247.
        timeout: how long a unit may take to answer; one second if not given.
        own: the server for unit 255, with keywords of `Device`: `{"holding": {0: [1]}}`. Without it, unit 255 is 0x0A.
        rig: the rig to share; without one, the gateway has its own.

    Raises:
        PortError: the address cannot be listened on, the line is missing or busy.
        UsageError: a malformed URL, duration, route or server.
    """

    def __new__(
        cls,
        url: str = "tcp://127.0.0.1:0",
        *,
        line: str,
        units: Sequence[int] | Mapping[int, int] | None = None,
        timeout: str | Span | None = None,
        own: Mapping[str, object] | None = None,
        rig: Rig | None = None,
    ) -> Gateway: ...
    @property
    def url(self) -> str:
        """Where a client reaches it."""
    @property
    def line(self) -> str:
        """Where its devices are, as given."""
    def habit(self, name: str, value: object = None) -> None:
        """Makes it depart from what it should do; the names are in `GATEWAY_HABITS`. `False` or `"default"` undoes it.

        Raises `UsageError` for an unknown name (the text lists all) or a value that does not fit.
        """
    def close(self) -> None:
        """Ends it and closes its ports; closing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class Observation:
    """Something that was seen on a wire. What does not apply, or cannot be read, is None (`values`: empty)."""

    def __new__(
        cls,
        kind: Literal["request", "response", "unanswered", "noise"],
        number: int,
        request: int | None,
        unit: int | None,
        function: int | None,
        address: int | None,
        quantity: int | None,
        values: tuple[int, ...],
        exception: int | None,
        bytes: builtins.bytes,
        begins: Stamp,
        at: Stamp,
        sure: bool = True,
        problem: str | None = None,
    ) -> Observation: ...
    @property
    def kind(self) -> Literal["request", "response", "unanswered", "noise"]: ...
    @property
    def number(self) -> int:
        """Its number on this monitor, from 0 on."""
    @property
    def request(self) -> int | None:
        """Of a response and of an unanswered request: the number of the request. None: nobody was seen to ask."""
    @property
    def unit(self) -> int | None:
        """Who was asked, or answers; 0 is a broadcast."""
    @property
    def function(self) -> int | None:
        """The function code, of an exception response that of the request."""
    @property
    def address(self) -> int | None:
        """The first address; of a response, that of its request."""
    @property
    def quantity(self) -> int | None:
        """How many items were asked for or written."""
    @property
    def values(self) -> tuple[int, ...]:
        """What was read or written: registers as unsigned 16-bit numbers; coils and discrete inputs as bools."""
    @property
    def exception(self) -> int | None:
        """The exception code of a response."""
    @property
    def bytes(self) -> builtins.bytes:
        """The frame; of an unanswered request, that of the request."""
    @property
    def begins(self) -> Stamp:
        """When the first byte was complete; of an unanswered request, as `at`."""
    @property
    def at(self) -> Stamp:
        """When the last byte was complete; of an unanswered request, when it was clear that nothing comes."""
    @property
    def sure(self) -> bool:
        """False where a request repeated and its echo look alike: nothing should be decided by it."""
    @property
    def problem(self) -> str | None:
        """What is wrong with it, in words."""
    def until(self, later: HasInstant, /) -> Span:
        """The span from this to a later event."""
    def describe(self) -> str:
        """One line for a failure text."""
    def __getnewargs__(self) -> tuple[object, ...]: ...

@final
class Monitor:
    """Reads along on a wire, listening when the constructor returns. It sends nothing.

    A request ends with its response, or as unanswered: when the next request begins, or after `answer_within`.

    Args:
        url: `wire://NAME` (a wire of the rig), `rtu:///dev/ttyUSB0?line=9600+8E1`, `pty://?line=9600+8E1`.
        rig: the rig to share; without one, the monitor has its own.
        name: what failure texts call it; the URL if not given.
        answer_within: how long without a response makes a request unanswered; one second if not given.
        belongs_to: whose port it is: decides who is to blame when it goes away.

    Raises:
        PortError: the port is missing or busy.
        UsageError: a malformed URL or duration, or a URL that is no wire.
    """

    def __new__(
        cls,
        url: str,
        *,
        rig: Rig | None = None,
        name: str | None = None,
        answer_within: str | Span | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> Monitor: ...
    @property
    def url(self) -> str: ...
    @property
    def heard(self) -> Stamp | None:
        """When the last byte came, from whomever; None before the first."""
    def wait(self, index: int, deadline_ns: int, /) -> tuple[Observation, ...]:
        """The observations from place `index` on; waits for the first of them until the deadline of the run clock.

        At the deadline what has arrived is read once more, so an empty answer means that nothing came.

        Raises:
            PortLost: the wire is gone and there is nothing more to give (`ConnectionLost` if the port is the DUT's).
        """
    def observations(self) -> tuple[Observation, ...]:
        """All observations so far."""
    @property
    def resolution_ns(self) -> int:
        """So long may bytes have waited in the adapter before a look could find them; 0 if nothing holds them back."""
    def look(self) -> None:
        """Takes what has arrived, without waiting, so that what comes later is known to be later."""
    def now(self) -> Stamp: ...
    def stalls(self, since: Stamp, /) -> tuple[Stall, ...]: ...
    def alive(self) -> str | None:
        """Why it may have missed something: the wire is gone, or the inbox was too small; None if neither.

        On a wire in memory nothing else can go wrong. Of a real wire this does not prove that bytes would arrive:
        `heard` says when the last one did.
        """
    def missed(self) -> str | None:
        """What is known to have been lost before anybody looked, or None."""
    def close(self) -> None:
        """Leaves the wire; closing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

def adu_tcp(transaction: int, unit: int, pdu: bytes, *, protocol: int = 0, length: int | None = None) -> bytes:
    """An ADU of Modbus/TCP; the length field is the right one unless given."""

def adu_rtu(unit: int, pdu: bytes, *, crc: int | None = None) -> bytes:
    """An ADU of Modbus RTU; the CRC is the right one unless given."""

def describe_points(points: Mapping[str, Mapping[str, object]] | str | PathLike[str], /) -> dict[str, dict[str, Any]]:
    """Every point of a map, checked, with every key: table, address, registers, type, unit, scale, offset, readable,
    writable, and bits, range and labels if it has them.

    Raises `UsageError` and `BenchFileError` with the place of what is wrong.
    """

def crc16(data: bytes, /) -> int:
    """The CRC of Modbus RTU; on the wire its low byte comes first."""

def read_url(url: str, /) -> tuple[str, str, str | None]:
    """What a URL of Modbus says: the name of the protocol (`modbus-rtu`), the URL of the port, which opens a raw stream
    of bytes there, and speed and format of its line, if it has them (`9600 8E1`).

    Raises `UsageError`: it is no place for Modbus; the hint says what to write instead.
    """

def dissect_tcp(adu: bytes, /, sender: Literal["client", "server"] = "client") -> Dissection:
    """Takes an ADU of Modbus/TCP apart; any bytes will do, what is wrong becomes a note."""

def dissect_ascii(adu: bytes, /, sender: Literal["client", "server"] = "client") -> Dissection:
    """Takes an ADU of Modbus ASCII apart; any characters will do, what is wrong becomes a note."""

def dissect_rtu(adu: bytes, /, sender: Literal["client", "server"] = "client") -> Dissection:
    """Takes an ADU of Modbus RTU apart; any bytes will do, what is wrong becomes a note."""
