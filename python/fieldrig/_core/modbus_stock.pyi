"""The stock Modbus client and server: tokio-modbus."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Literal, Self, final

from fieldrig._core import Rig, Span
from fieldrig._core.modbus import Answer

__all__ = ["StockClient", "StockDialogue", "StockServer"]

@final
class StockClient:
    """tokio-modbus 0.17, a Modbus client of the field, on a link of fieldrig; connected when the constructor returns.

    It shows whether a normal client works with a device: requests, and what is made of answers, are tokio-modbus'; the
    link is traced, stamped and dissected as all others are. It also works on virtual time, because tokio-modbus'
    client has no clock: the time-out is ours. One request at a time; what the device answers otherwise than by an
    exception and tokio-modbus cannot use ends the connection, and the next request makes a new one. In RTU, such a
    failure is followed by a rest, until the late answer came whole or for one more time-out, because tokio-modbus takes
    what comes next for the answer; an answer that is later still is not told apart. What comes unasked in RTU is
    dropped and stands in `deviations` of the next answer, as `unasked`.

    Args:
        url: as for `Client`, but no ASCII and no UDP, which tokio-modbus does not speak.
        unit: unit id of the device, unless a call names another.
        timeout: how long an answer may take, unless a call says otherwise; one second if not given.
        rig: the rig to share; without one, the client has its own.
        name: what failure texts and the trace call it.
        belongs_to: whose port it is: decides who is to blame when it goes away.

    Raises:
        PortError: the port is missing, busy, or nobody listens there.
        UsageError: a malformed URL or duration; what tokio-modbus does not speak; in a request, what is never answered
            (a broadcast in RTU, Force Listen Only Mode).

    All requests return and raise what those of `Client` do. What tokio-modbus cannot use is a `ProtocolError` with its
    words only if fieldrig finds fault with it, too; else an `InconclusiveError` that says so. Bits are as many as were
    asked for; too few, too many registers or another echo are no answer.
    """

    def __new__(
        cls,
        url: str,
        *,
        unit: int = 1,
        timeout: str | Span | None = None,
        rig: Rig | None = None,
        name: str | None = None,
        belongs_to: Literal["bench", "dut"] = "bench",
    ) -> StockClient: ...
    @property
    def url(self) -> str: ...
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
    def report_server_id(self, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """17 (0x11) Report Server ID. Fields: `data`. tokio-modbus wants an id of one byte and a run indicator behind
        it, which the standard leaves to the device."""
    def read_device_id(
        self, code: int = 1, object: int = 0, *, unit: int | None = None, timeout: str | Span | None = None
    ) -> Answer:
        """43/14 (0x2B/0x0E) Read Device Identification: as that of `Client`."""
    def raw_pdu(self, pdu: bytes, *, unit: int | None = None, timeout: str | Span | None = None) -> Answer:
        """Asks with any PDU that tokio-modbus has a request for, also functions it does not know by name; the answer is
        in `.pdu`. Raises `UsageError` for one that it refuses."""
    def close(self) -> None:
        """Closes the connection; closing twice is fine."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

@final
class StockDialogue:
    """tokio-modbus' client with somebody else's link: it says what to send, and is told what came. It keeps no time.

    Args:
        framing: `"tcp"` or `"rtu"`.
    """

    def __new__(cls, framing: Literal["tcp", "rtu"]) -> StockDialogue: ...
    def ask(self, pdu: bytes, *, unit: int) -> bytes:
        """What it sends for this request PDU. Raises `UsageError` for one that it has no request for."""
    def take(
        self, data: bytes, /
    ) -> (
        tuple[Literal["answer"], tuple[int, ...]]
        | tuple[Literal["exception"], int]
        | tuple[Literal["odd", "panic"], str]
        | None
    ):
        """Tells it what came. None as long as it waits for more; else what it makes of it: values, an exception code,
        or what it says of bytes that it cannot use. After these last ones the dialogue is over."""

@final
class StockServer:
    """tokio-modbus 0.17 as a Modbus server of the field, on a link of fieldrig. It runs when the constructor returns.

    It shows whether a client works with a normal server. Functions 01 to 06, 15, 16, 22 and 23, and on lines 17 if it
    has a server id; others are exception 01. What tokio-modbus cannot read as a request ends the connection. On TCP it
    answers for every unit, on a line (also one in a TCP connection) for its own. It does not run on virtual time.

    Args:
        url: as for `Device`, but no ASCII and no UDP: `tcp://127.0.0.1:0` (a free port), `pty://`, `rtu+tcp://..`.
        unit: the unit that answers on a line, 1 to 247.
        holding, input, coils, discrete: tables by address: `{0: [1, 2], 100: 7}`.
        server_id: id and further bytes for function 17.
        rig: the rig to share; without one, the server has its own.

    Raises:
        PortError: the address cannot be listened on, the port is missing or busy; the clock of the rig is virtual.
        UsageError: a malformed URL or table; what tokio-modbus does not speak.

    If this machine has no file descriptor left for its runtime, who comes waits for one, and the next `get`, `set` or
    `close` raises `BenchError`: whoever got no answer meanwhile proves nothing.
    """

    def __new__(
        cls,
        url: str = "tcp://127.0.0.1:0",
        *,
        unit: int = 1,
        holding: Mapping[int, int | Sequence[int]] | None = None,
        input: Mapping[int, int | Sequence[int]] | None = None,
        coils: Mapping[int, int | Sequence[int]] | None = None,
        discrete: Mapping[int, int | Sequence[int]] | None = None,
        server_id: bytes | None = None,
        rig: Rig | None = None,
    ) -> StockServer: ...
    @property
    def url(self) -> str:
        """Where a client reaches it."""
    def get(self, table: str, address: int, count: int = 1) -> tuple[int, ...]:
        """The values of cells. Raises `UsageError` for a table or cells that are not there."""
    def set(self, table: str, address: int, values: int | Sequence[int]) -> None:
        """Sets cells. Raises `UsageError` for a table or cells that are not there, and a value that does not fit."""
    def close(self) -> None:
        """Ends it and closes its port; closing twice is fine. Raises `BenchError` after that, if one is due."""
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
