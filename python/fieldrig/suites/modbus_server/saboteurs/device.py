"""The device that saboteurs are made of: fieldrig's own emulated one, which passes every row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from .. import permission, places
from ..capabilities import Capabilities, Fifo, Idle, SerialSide, Table
from ..carriers import Carrier
from ..judge import judge
from ..outcome import Row, requirements
from ..probe import probe
from ..rows import tests
from ..server import Clock, Server, Timing
from ..wire import Ending, Opener, Wire
from .base import UNSABOTAGED, Saboteur
from .wire import patched

if TYPE_CHECKING:
    from fieldrig import Rig
    from fieldrig.modbus import Device, Gateway

LAST = 2599
FAILING = 2410  # behind the last coil: the habit knows addresses, not tables
BUSY = 2415
CHANGING = 2420
REFUSING = 2425  # a point: its values go up to 100
MAX_CONNECTIONS = 8
FUNCTIONS = (1, 2, 3, 4, 5, 6, 15, 16, 20, 21, 22, 23, 24, 43)
SERIAL = (7, 8, 11, 12, 17)
"""Functions that it has on a line only."""
PLAIN = ("tcp", "udp", "tls")
"""Carriers on which it has not."""
LACKING = ("FC07-02", "FC17-02")
"""Rows about two of them missing."""
RECORDS = 100
IDENTIFICATION = {
    0: "fieldrig",
    1: "conformance",
    2: "1.0",
    **{number: chr(0x60 + number) * 90 for number in range(3, 7)},
}
"""Its regular objects do not fit in one answer; there are no extended ones."""
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"

CAPABILITIES = Capabilities(
    unit_ids=(1, 247, 255, 0),
    max_connections=MAX_CONNECTIONS,
    max_transactions=16,
    idle=Idle(after=0.6, then="keep"),
    outside=OUTSIDE,
    alone=True,
    response_time=0.1,
    tables={
        "holding": Table(
            first=0,
            last=LAST,
            known=(1, 0x1234),
            failing=FAILING,
            changing=CHANGING,
            slow=1,
            busy=BUSY,
            refuses=(REFUSING, 101),
        ),
        "input": Table(first=0, last=LAST),
        "coils": Table(first=0, last=2399),
        "discrete": Table(first=0, last=2399),
    },
    functions=frozenset(FUNCTIONS),
    permission=permission.parse(
        ["holding:100-2399", "holding:2430-2599", "coils:100-2399", "holding:2425", "file4:10-19"], permission.ACTIONS
    ),
    files={4: RECORDS - 1},
    fifo=Fifo(pointers=(50, 60), overfull=70),
    damaged=(4, 0),
    server_id=b"fieldrig",
)
"""What the device declares: everything a row can ask for."""

CONNECTED: tuple[tuple[str, object], ...] = (("max_connections", MAX_CONNECTIONS), ("access_list", INSIDE))
"""The same, where there are connections."""

BEHIND = SerialSide(unit=17, unrouted=99, dead=18, damaged=19, refused=(5000, 2), timeout=0.3)
"""What is on the line of a gateway beside unit 1."""

LOOPBACK = Timing(answer=0.6, silence=0.12, settle=0.03)
"""How long to wait for a device in the same process."""

SLOWER = {"rtu+tcp": replace(LOOPBACK, answer=1.5)}
"""Where the end of a request of unknown length is a pause of half a second."""

HABITS: tuple[tuple[str, object], ...] = (("fail_at", FAILING),)
"""What the device needs to do what it declares; nothing of it breaks a requirement."""

PLACES = {
    "tcp": ("tcp://127.0.0.1:0", None, "tcp"),
    "memory": ("memory://device", None, "tcp"),
    "gateway": ("wire://line", 1, "tcp"),
    "udp": ("udp://127.0.0.1:0", None, "udp"),
    "rtu": ("wire://line", 1, "rtu"),
    "pty": ("pty://?line=19200+8E1", 1, "rtu"),
    "rtu+tcp": ("rtu+tcp://127.0.0.1:0", 1, "rtu+tcp"),
    "ascii": ("ascii+wire://line", 1, "ascii"),
    "tls": ("", None, "tls"),
    "tls rsa": ("", None, "tls"),
    "front": ("", None, "tls"),
    "front rsa": ("", None, "tls"),
}
"""Where a device can run: URL, the unit id it answers to, carrier. Those with TLS are those of `shielded`."""

ONLY = {
    "pty": ("RTU", "PDU", "ROB", "INT"),
    "gateway": ("GW", "PDU"),
    "udp": ("MBAP", "PDU", "FC01", "FC03", "FC16"),
    "rtu+tcp": ("RTU", "PDU", "FC03", "FC16", "INT"),
    "tls": ("SEC", "PDU", "INT"),
    "tls rsa": ("SEC",),
    "front": ("SEC",),
    "front rsa": ("SEC",),
}
"""Sections by which our device is judged where that costs time and shows nothing new."""

AGAIN = 3
"""How often a row is judged again that could not be decided."""

REAL_TIME = ("tcp", "udp", "pty", "rtu+tcp", "tls", "tls rsa", "front", "front rsa")


ON: dict[str, str] = {
    "MBAP": "tcp",
    "RTU": "rtu",
    "ASC": "ascii",
    "ROB": "tcp",
    "GW": "gateway",
    "SEC": "tls",
    **dict.fromkeys(("FC07", "FC08", "FC11", "FC12", "FC17"), "rtu"),
}
"""Where the saboteurs of a section run, if not in `memory`."""

RELATED: dict[str, tuple[str, ...]] = {
    "MBAP": ("PDU", "FC03"),
    "PDU": ("EXC", "FC01", "FC02", "FC03", "FC04"),
    "EXC": ("PDU",),
    "RTU": (),
    "ASC": (),
    "ROB": (),
    "GW": (),
    "SEC": (),
    "INT": (),
}
"""Besides its own section, by which a saboteur is judged, too: rows that may look at the same thing. Sections of
functions are related to PDU and EXC."""

LINE = "19200 8E1"
"""Speed and format of the line in memory."""


def home(requirement: str, saboteur: Saboteur) -> str:
    """Where a saboteur runs: `tcp` (on the loopback interface), or on virtual time, where waiting costs nothing:
    `memory` (Modbus/TCP), `rtu`, `ascii` (on a line)."""
    return saboteur.on or ON.get(requirement.rpartition("-")[0], "memory")


@contextlib.contextmanager
def emulated(saboteur: Saboteur = UNSABOTAGED, on: str = "tcp") -> Iterator[Server]:
    """Our device, sabotaged or not, as the suite sees it, probed."""
    from fieldrig import Rig, modbus

    from .shielded import shielded

    url, unit, carrier = PLACES[on]
    if carrier == "tls":
        with shielded(saboteur, on) as server:
            yield server
        return
    with contextlib.ExitStack() as ends:
        clock: Literal["real", "virtual"] = "real" if on in REAL_TIME else "virtual"
        rig = ends.enter_context(Rig(trace="counts", name="saboteur", clock=clock))
        rig.add_wire("line", LINE)
        device = ends.enter_context(modbus.Device(url, unit=unit, rig=rig, **_tables()))
        behind = on == "gateway"
        for name, value in (*HABITS, *(CONNECTED if on == "tcp" else ())):
            device.habit(name, value)
        judged = ends.enter_context(_gateway(rig)) if behind else device
        for name, value in saboteur.habits:
            judged.habit(name, value)
        device.set("holding", CHANGING, [0, 0])
        device.rule(when={"address": BUSY, "access": "read", "quantity": 1}, busy=2)
        server = _seen(judged.url, rig, device, saboteur, on)
        probe(server, judged.url)
        yield server


def _seen(url: str, rig: Rig, device: Device, saboteur: Saboteur, on: str) -> Server:
    """What runs at a URL, as the suite sees it."""
    from ..stream_wire import clock_of

    place = places.parse(url, LINE)
    timing, clock = place.timing(SLOWER.get(on, LOOPBACK)), clock_of(rig)
    opener = _sabotaged(place.opener(rig, timing), place.carrier, saboteur, clock)
    return Server(
        lambda source: ChangingWire(opener(source), device),
        1,
        _declared(on),
        timing,
        carrier=place.carrier,
        clock=clock,
        silences=place.silences,
        resolution=place.resolution,
    )


@contextlib.contextmanager
def _gateway(rig: Rig) -> Iterator[Gateway]:
    """A gateway to the line, on which there are unit 17 and one whose answers are damaged, too."""
    from fieldrig import modbus

    routes = [1, BEHIND.unit, BEHIND.dead, BEHIND.damaged]
    with (
        modbus.Device("wire://line", unit=BEHIND.unit, rig=rig, **_tables()),
        modbus.Device("wire://line", unit=BEHIND.damaged, holding={0: [1, 2, 3]}, rig=rig) as damaged,
        modbus.Gateway(
            "memory://gateway",
            line="wire://line",
            units=[route for route in routes if route is not None],
            timeout=f"{BEHIND.timeout}s",
            own={"holding": {0: [255]}},
            rig=rig,
        ) as gateway,
    ):
        damaged.habit("wrong_crc", True)
        yield gateway


def _declared(on: str) -> Capabilities:
    """What the device declares at a place."""
    functions = frozenset(FUNCTIONS if on == "gateway" or PLACES[on][2] in PLAIN else (*FUNCTIONS, *SERIAL))
    declared = replace(CAPABILITIES, functions=functions)
    if on == "gateway":
        return replace(declared, gateway=True, line=BEHIND, response_time=None)
    if on == "pty":
        return replace(declared, full_duplex=True, response_time=1.0)
    return declared


def _tables() -> dict[str, Any]:
    registers = list(range(LAST + 1))
    registers[1] = 0x1234
    bits = [index % 3 == 0 for index in range(2400)]
    return {
        "holding": {0: registers[:REFUSING], REFUSING + 1: registers[REFUSING + 1 :]},
        "input": {0: registers},
        "coils": {0: bits},
        "discrete": {0: bits},
        "files": {4: list(range(RECORDS))},
        "fifos": {50: list(range(31)), 60: [], 70: list(range(32))},
        "identification": IDENTIFICATION,
        "conformity": 0x82,
        "server_id": b"fieldrig",
        "map": {"limited": {"table": "holding", "address": REFUSING, "type": "u16", "range": [0, 100]}},
    }


def _sabotaged(opener: Opener, carrier: Carrier, saboteur: Saboteur, clock: Clock) -> Opener:
    return opener if saboteur.patch is None else patched(opener, carrier, saboteur.patch(), clock)


class ChangingWire:
    """A connection on which the two registers of `CHANGING` change, together, before everything that is sent."""

    def __init__(self, inner: Wire, device: Device) -> None:
        self._inner = inner
        self._device = device
        self.receive = inner.receive
        self.close = inner.close

    @property
    def ended(self) -> Ending | None:
        return self._inner.ended

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        value = (self._device.get("holding", CHANGING)[0] + 0x0101) % 0x10000
        self._device.set("holding", CHANGING, [value, value])
        return self._inner.send(parts)


def run(saboteur: Saboteur, on: str, rows: Iterable[str], stop: str | None = None) -> dict[str, Row]:
    """Judges our device, sabotaged, by some rows; the last one is `stop` if that is given."""
    judged: dict[str, Row] = {}
    functions = tests()
    with emulated(saboteur, on) as server:
        for name in rows:
            requirement = requirements()[name]
            row = judge(requirement, functions[name], server)
            for _ in range(AGAIN):
                if row.verdict in ("inconclusive", "not tested"):  # this machine was busy
                    row = judge(requirement, functions[name], server)
            judged[name] = replace(row, exchanges=row.exchanges[-8:])
            if name == stop:
                break
    return judged


def rows_for(requirement: str) -> list[str]:
    """The rows by which the saboteur of a requirement is judged: those of its section and of related sections."""
    section = requirement.rpartition("-")[0]
    related = {section, *RELATED.get(section, ("PDU", "EXC") if section.startswith("FC") else ())}
    return [name for name in judged_rows() if requirements()[name].section in related]


def rows_at(on: str) -> list[str]:
    """The rows by which our device is judged at a place: those of its carrier; on virtual time none about TCP itself,
    and where waiting costs time only some sections."""
    carrier, sections = PLACES[on][2], ONLY.get(on)
    return [
        name
        for name in judged_rows()
        if carrier in requirements()[name].carriers
        and not (carrier not in PLAIN and name in LACKING)
        and (sections is None or requirements()[name].section in sections)
        and (requirements()[name].section != "GW" or on == "gateway")
        and (on in REAL_TIME or ON.get(requirements()[name].section) not in REAL_TIME)
    ]


def judged_rows() -> list[str]:
    """The rows that have a test, in order."""
    return [name for name, requirement in requirements().items() if requirement.kind != "untestable"]
