"""What an unknown Modbus device is: its unit ids, its functions, and which addresses can be read.

Rules of this file:

- It only reads: functions 01 to 04, 07, 08 (echo of a query), 11, 12, 17, 20, 43. Nothing is written, restarted or
  silenced; functions that write are not asked for. A device whose registers change by being read is beyond it.
- Requests are at least `pace` apart, and there are at most `most` of them for each unit; what was left out because of
  that is said.
- A block that is refused is cut in half; in a small one every address is asked for by itself. With a `grain` above 1
  only every so many-th is, and its neighbours where it can be read: smaller islands may be missed then.
- An exception is an answer. Silence is not: a unit that never answers is absent, one that falls silent ends its probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import ExceptionAnswer, InconclusiveError, NoAnswer, ProtocolError

if TYPE_CHECKING:
    from . import Rig
    from .modbus import Answer, Client

TABLES = {"holding": 3, "input": 4, "coils": 1, "discrete": 2}
"""The tables, and the functions that read them."""
MOST_AT_ONCE = {"holding": 125, "input": 125, "coils": 2000, "discrete": 2000}
"""Items of one read (AP 6.1 to 6.4)."""
OTHER_FUNCTIONS: dict[int, bytes] = {
    7: bytes([7]),
    8: bytes([8, 0, 0, 0xA5, 0x37]),
    11: bytes([11]),
    12: bytes([12]),
    17: bytes([17]),
    20: bytes([20, 7, 6, 0, 1, 0, 0, 0, 1]),
    43: bytes([43, 14, 1, 0]),
}
"""Further functions that only read, and how they are asked for."""
SMALL = 16
"""A refused block of so many addresses is asked for one by one."""
ILLEGAL_VALUE, BUSY, NO_PATH, NO_TARGET = 3, 6, 0x0A, 0x0B
SILENCES = 3
"""After so many unanswered requests in a row a unit is left alone."""


@dataclass(frozen=True)
class Scope:
    """What is probed, and how gently."""

    units: Sequence[int] = (1,)
    tables: Sequence[str] = tuple(TABLES)
    first: int = 0
    last: int = 299
    grain: int = 1
    pace: float = 0.02
    """Seconds between two requests, at least."""
    most: int = 4000
    """Requests for each unit."""


@dataclass(frozen=True)
class Range:
    """Addresses that can be read, and what stood there."""

    table: str
    first: int
    values: tuple[int, ...]

    @property
    def last(self) -> int:
        return self.first + len(self.values) - 1


@dataclass
class Unit:
    """A unit that answers."""

    unit: int
    functions: dict[int, str] = field(default_factory=dict)
    """What became of each function: `answers`, `exception 02`, `unknown` (exception 01), `silent`, `broken answer`."""
    ranges: list[Range] = field(default_factory=list)
    identification: dict[int, str] = field(default_factory=dict)
    requests: int = 0
    left_out: str | None = None
    """Why something was not asked for, if so."""

    def knows(self, function: int) -> bool:
        """Whether it did anything else than to refuse or ignore the function."""
        return self.functions.get(function, "unknown") not in ("unknown", "silent")


class _Enough(Exception):
    """No more requests to this unit."""


class Probe:
    """Probes what is behind one client."""

    def __init__(self, client: Client, rig: Rig, scope: Scope, say: Callable[[str], None] = lambda text: None) -> None:
        self._client = client
        self._rig = rig
        self._scope = scope
        self._say = say
        self._next = rig.now().earliest
        self._silences = 0
        self._block = dict(MOST_AT_ONCE)

    def run(self) -> Iterator[Unit]:
        """Every unit that answers, in order, probed.

        Raises:
            PortLost, ConnectionLost: the path is gone.
        """
        for number in self._scope.units:
            self._say(f"unit {number}")
            unit = Unit(number)
            self._silences = 0
            if self._is_there(unit):
                try:
                    self._functions(unit)
                    self._tables(unit)
                except _Enough as enough:
                    unit.left_out = str(enough)
                yield unit

    def _is_there(self, unit: Unit) -> bool:
        outcome = self._ask(unit, bytes([3, 0, 0, 0, 1]))
        return outcome is not None and outcome not in (NO_PATH, NO_TARGET)

    def _functions(self, unit: Unit) -> None:
        reads = {code: bytes([code]) + self._scope.first.to_bytes(2, "big") + b"\0\1" for code in TABLES.values()}
        for code, pdu in sorted({**reads, **OTHER_FUNCTIONS}.items()):
            outcome = self._ask(unit, pdu)
            unit.functions[code] = _word(outcome)
            if code == 43 and isinstance(outcome, bytes):
                unit.identification = _objects(outcome)

    def _tables(self, unit: Unit) -> None:
        for table in self._scope.tables:
            if not unit.knows(TABLES[table]):
                continue
            address = self._scope.first
            while address <= self._scope.last:
                count = min(self._block[table], self._scope.last - address + 1)
                self._say(f"unit {unit.unit}: {table} {address} to {address + count - 1}")
                self._split(unit, table, address, count)
                address += count

    def _split(self, unit: Unit, table: str, first: int, count: int) -> None:
        outcome = self._read(unit, table, first, count)
        if isinstance(outcome, tuple):
            _append(unit.ranges, Range(table, first, outcome))
            return
        if outcome is None or count == 1:
            return
        half = count // 2
        if outcome == ILLEGAL_VALUE:
            # It refuses the quantity: ask for less from here on.
            self._block[table] = min(self._block[table], half)
        elif count <= SMALL:
            self._singles(unit, table, first, count)
            return
        self._split(unit, table, first, half)
        self._split(unit, table, first + half, count - half)

    def _singles(self, unit: Unit, table: str, first: int, count: int) -> None:
        """Asks for every address by itself, or for every `grain`-th and the neighbours of those that can be read."""
        found: dict[int, int] = {}
        refused: set[int] = set()

        def readable(address: int) -> bool:
            if not first <= address < first + count or address in refused:
                return False
            if address not in found:
                outcome = self._read(unit, table, address, 1)
                if not isinstance(outcome, tuple):
                    refused.add(address)
                    return False
                found[address] = outcome[0]
            return True

        for start in range(first, first + count, self._scope.grain):
            for step in (1, -1) if readable(start) else ():
                address = start + step
                while address not in found and readable(address):
                    address += step
        for address in sorted(found):
            _append(unit.ranges, Range(table, address, (found[address],)))

    def _read(self, unit: Unit, table: str, first: int, count: int) -> tuple[int, ...] | int | None:
        """The values, an exception code, or nothing."""
        function = TABLES[table]
        outcome = self._ask(unit, bytes([function]) + first.to_bytes(2, "big") + count.to_bytes(2, "big"))
        if not isinstance(outcome, bytes):
            return outcome
        data, bits = outcome[2:], function in (1, 2)
        if len(data) != (-(-count // 8) if bits else 2 * count):
            return None
        if bits:
            return tuple(data[index // 8] >> index % 8 & 1 for index in range(count))
        return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, 2 * count, 2))

    def _ask(self, unit: Unit, pdu: bytes) -> bytes | int | None:
        """The PDU of the answer, an exception code, or nothing; busy is asked again."""
        for _ in range(3):
            outcome = self._ask_once(unit, pdu)
            if outcome != BUSY:
                break
        self._silences = self._silences + 1 if outcome is None else 0
        if self._silences >= SILENCES:
            raise _Enough(f"it did not answer {SILENCES} requests in a row")
        return outcome

    def _ask_once(self, unit: Unit, pdu: bytes) -> bytes | int | None:
        if unit.requests >= self._scope.most:
            raise _Enough(f"{self._scope.most} requests were made")
        unit.requests += 1
        now = self._rig.now().latest
        if now < self._next:
            self._rig.sleep(f"{self._next - now:.6f}s")
        self._next = self._rig.now().latest + self._scope.pace
        try:
            answer: Answer = self._client.raw_pdu(pdu, unit=unit.unit)
        except ExceptionAnswer as error:
            return error.code
        except (NoAnswer, InconclusiveError, ProtocolError):
            return None
        return answer.pdu if answer.pdu[:1] == pdu[:1] else None


def _word(outcome: bytes | int | None) -> str:
    match outcome:
        case None:
            return "silent"
        case bytes():
            return "answers"
        case 1:
            return "unknown"
        case code:
            return f"exception {code:02X}"


def _append(ranges: list[Range], found: Range) -> None:
    """Adds a range; one that follows the last of its table becomes part of it."""
    if ranges and ranges[-1].table == found.table and ranges[-1].last + 1 == found.first:
        ranges[-1] = Range(found.table, ranges[-1].first, ranges[-1].values + found.values)
    else:
        ranges.append(found)


def _objects(pdu: bytes) -> dict[int, str]:
    """The objects of a Read Device Identification answer, as far as they are whole (AP 6.21)."""
    found: dict[int, str] = {}
    at = 7
    while at + 2 <= len(pdu) and at + 2 + pdu[at + 1] <= len(pdu):
        found[pdu[at]] = pdu[at + 2 : at + 2 + pdu[at + 1]].decode("utf-8", "backslashreplace")
        at += 2 + pdu[at + 1]
    return found


def map_text(unit: Unit, url: str, points: bool = False) -> str:
    """A map file (TOML) of what was found: raw values, or with `points` one point for each address."""
    known = [str(code) for code in sorted(unit.functions) if unit.knows(code)]
    lines = [
        f"# What {url} unit {unit.unit} let read when it was probed.",
        *([f"# Not all of it: {unit.left_out}."] if unit.left_out else []),
        "[device]",
        f"unit = {unit.unit}",
        f"functions = [{', '.join(known)}]",
    ]
    if unit.identification:
        lines.append("[device.identification]")
        lines += [f"{number} = {_quoted(text)}" for number, text in unit.identification.items()]
    for found in unit.ranges:
        lines += _points(found) if points else []
    for table in TABLES if not points else ():
        there = [found for found in unit.ranges if found.table == table]
        lines += ["", f"[{table}]"] if there else []
        lines += [f"{found.first} = [{', '.join(map(str, found.values))}]" for found in there]
    return "\n".join(lines) + "\n"


def _points(found: Range) -> Iterator[str]:
    kind = "bool" if found.table in ("coils", "discrete") else "u16"
    for offset, value in enumerate(found.values):
        address = found.first + offset
        yield f"\n[points.{found.table}_{address}]"
        yield f'table = "{found.table}"\naddress = {address}\ntype = "{kind}"\ninitial = {value}'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in escaped) + '"'
