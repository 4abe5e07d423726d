"""Writing to the server under test, and undoing it.

The rules:
1. Nothing is written unless somebody permits it (`permission.py`). A row that needs more is `not run`, and says what
   would have to be permitted.
2. A request that should be refused may still be executed by a server that is wrong. So a request is sent only if every
   address it could touch may be written, or is declared not to exist.
3. Before the first write to an address its value is read and kept. When the row ends, however it ends, what differs is
   written back, and read again. What could not be restored is said loudly, and stays in the report; if the server could
   not be reached then, it is tried again after every later row, and when the run ends.
4. Requests that write are counted; beyond the cap no row writes any more. Restoring is counted, and never refused.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from .capabilities import Table
from .frames import Adu
from .outcome import Absent, Inapplicable, Missed, NotRun, Requirement, Undecided
from .pdus import OFF, ON, packed, write_coil, write_coils, write_records, write_register, write_registers
from .server import Server
from .tables import NAMES, RECORDS_AT_A_TIME, exchange, last_of, read
from .wire import WireError

TRIES = 3
"""How often restoring is tried before it is given up."""

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""By what a run is ended."""

_CHUNK = {"coils": 1968, "holding": 123}
"""How many items one request may write; of records `RECORDS_AT_A_TIME`."""


def permit(server: Server, requirement: Requirement) -> None:
    """Raises `NotRun` if a row may not run at all."""
    permitted = {"files" if name.startswith("file") else name for name in server.permission.places}
    if requirement.writes and not permitted & set(requirement.writes):
        table = requirement.writes[0]
        raise NotRun(f"it writes; permit it with --writable {'file4' if table == 'files' else table}:FIRST-LAST")
    missing = [action for action in requirement.allow if action not in server.permission.allow]
    if missing:
        raise NotRun(f"it needs --allow {','.join(missing)}")


def run_of(server: Server, table: str, count: int) -> int:
    """The first of that many addresses in a row that may be written. Raises `NotRun`."""
    first = server.permission.run(table, count)
    if first is None:
        noun = NAMES[table] + ("s in a row" if count > 1 else "")
        raise NotRun(f"it writes {count} {noun}; permit it with --writable {table}:FIRST-LAST")
    return first


def end_of(server: Server, table: str, count: int) -> int:
    """The first of the `count` last addresses of a table, which may be written, and behind which nothing exists.

    Raises `NotRun` if they may not be written, `Inapplicable` if the end of the table is not declared.
    """
    last = behind(server, table) - 1
    first = last - count + 1
    if first < 0 or not may(server, table, first, count):
        raise NotRun(f"it writes the last {count} of {table}; permit it with --writable {table}:{max(first, 0)}-{last}")
    return first


def may(server: Server, table: str, address: int, count: int) -> bool:
    """Whether every one of these addresses may be written or is declared not to exist (also behind FFFF)."""
    last = last_of(server, table)
    return all(
        at > 0xFFFF or (last is not None and at > last) or server.permission.writable(table, at)
        for at in range(address, address + count)
    )


def behind(server: Server, table: str) -> int:
    """An address behind the last one, for a request that writes. Raises `NotRun`, `Inapplicable`.

    It must be declared (`last`): that a read is refused with 02 does not show that nothing can be written there.
    """
    run_of(server, table, 1)
    last = last_of(server, table)
    if last is None:
        raise Inapplicable(f"where the table ends is not declared: {table}.last")
    if last == 0xFFFF:
        raise Inapplicable(f"{table} has every address: nothing is behind the last")
    return last + 1


def ask(server: Server, table: str, address: int, count: int, pdu: bytes, what: str) -> Adu:
    """Sends a request that writes, or might; `count` is how far a wrong server could go. Gives the answer.

    Raises `NotRun` if it is not permitted, or too many were sent; `Absent` if no answer comes.
    """
    prepare(server, table, address, count)
    return exchange(server, pdu, what)


def put(server: Server, table: str, address: int, values: Sequence[int]) -> None:
    """Makes these values stand there, before a row begins with its own stimulus.

    Raises `NotRun`, `Undecided` if they do not stand there afterwards: that is the business of other rows.
    """
    seen = set_up(server, table, address, values)
    if seen != list(values):
        raise Undecided(f"the row could not be set up: {table} {address} reads {seen}, {list(values)} was written")


def set_up(server: Server, table: str, address: int, values: Sequence[int]) -> list[int]:
    """Writes values, whatever the server says to it, and gives what stands there then. Raises `NotRun`."""
    most = _at_once(server, table)
    for start in range(0, len(values), most):
        chunk = values[start : start + most]
        answer = ask(
            server, table, address + start, len(chunk), _many(table, address + start, chunk), "setting up the row"
        )
        if answer.exception == 1:  # it writes one by one only
            _write_singly(server, table, {address + index: value for index, value in enumerate(values)})
            break
    return read(server, table, address, len(values))


def prepare(server: Server, table: str, address: int, count: int) -> None:
    """Everything that must be done before a request that writes here is sent: see the rules. Raises `NotRun`."""
    if not may(server, table, address, count):
        raise NotRun(
            f"a wrong server could write {table} {address} to {address + count - 1}; "
            f"permit it with --writable {table}:{address}-{min(address + count - 1, 0xFFFF)}"
        )
    keep(server, table, address, count)
    spend(server)


def spend(server: Server) -> None:
    """Counts a request that writes. Raises `NotRun` beyond the cap."""
    if server.written >= server.permission.max_writes:
        raise NotRun(f"{server.written} requests that write were sent already; more with --max-writes")
    server.written += 1


def keep(server: Server, table: str, address: int, count: int) -> None:
    """Remembers what stands at those addresses that may be written, once for each row.

    Raises `Absent`, `Inapplicable`.
    """
    fresh = [
        at
        for at in range(address, min(address + count, 0x10000))
        if server.permission.writable(table, at) and (table, at) not in server.kept
    ]
    for first, size in runs(fresh):
        last = last_of(server, table)
        size = size if last is None else min(size, last - first + 1)
        if size < 1:
            continue
        try:
            values = read(server, table, first, size)
        except Absent:  # it was there before the row
            raise
        except Missed as missed:
            raise Inapplicable(f"what cannot be read cannot be restored, so it is not written: {missed}") from missed
        server.kept |= {(table, first + index): value for index, value in enumerate(values)}


def runs(addresses: Sequence[int]) -> list[tuple[int, int]]:
    """First address and length of every gapless run."""
    ordered = sorted(addresses)
    groups = groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    found = [[at for _, at in group] for _, group in groups]
    return [(group[0], len(group)) for group in found]


def restore(server: Server) -> None:
    """Writes back what the row changed. What could not be restored is in `server.unrestored`."""
    kept = {**server.kept, **server.owed}  # what is owed stood there before what the latest row found
    server.kept, server.owed = {}, {}
    with undisturbed(), _unseen(server):
        for table in sorted({table for table, _ in kept}):
            values = {address: value for (owner, address), value in kept.items() if owner == table}
            lost = _restore_table(server, table, values)
            others = {
                place: why for place, why in server.not_restored.items() if place not in kept or place[0] != table
            }
            server.not_restored = {**others, **{(table, address): why for address, why in lost.items()}}


def unrestored(lost: Mapping[tuple[str, int], tuple[int, str]]) -> list[str]:
    """What could not be restored, in words: one line for each run of addresses with the same reason."""
    said = []
    for table, why in dict.fromkeys((table, why) for (table, _), (_, why) in sorted(lost.items())):
        addresses = [at for (owner, at), (_, reason) in lost.items() if (owner, reason) == (table, why)]
        for first, size in runs(addresses):
            values = " ".join(f"{lost[table, at][0]:04X}" for at in range(first, first + size))
            place = f"{first} was" if size == 1 else f"{first} to {first + size - 1} were"
            said.append(f"{table} {place} {values}: {why}")
    return said


@contextlib.contextmanager
def _unseen(server: Server) -> Iterator[None]:
    """What is done meanwhile does not belong to the row: its exchanges stay out of the row's report."""
    log, server.exchanges = server.exchanges, []
    try:
        yield
    finally:
        server.exchanges = log


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Whoever wants the run to end waits until everything is as it was. Raises `KeyboardInterrupt` then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    wanted: list[int] = []
    before = {number: signal.signal(number, lambda number, _: wanted.append(number)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if wanted:
        raise KeyboardInterrupt


def _restore_table(server: Server, table: str, values: dict[int, int]) -> dict[int, tuple[int, str]]:
    """Gives values and reasons for those addresses that could not be restored."""
    wrong, trouble, reached = dict(values), "", True
    for attempt in range(TRIES):
        try:
            wrong = _differing(server, table, values)
            if not wrong:
                return {}
            if attempt:
                _write_singly(server, table, wrong)
            else:
                _write_runs(server, table, values, wrong)
            wrong = _differing(server, table, values)
            if not wrong:
                return {}
            trouble, reached = "the values do not stay", True
        except (Missed, Absent, Undecided, WireError) as error:
            trouble, reached = str(error), not isinstance(error, (Absent, WireError))
    if not reached:
        server.owed |= {(table, address): value for address, value in wrong.items()}
    return {address: (value, trouble) for address, value in wrong.items()}


def _differing(server: Server, table: str, values: dict[int, int]) -> dict[int, int]:
    """Those of the kept values that do not stand there any more."""
    found: dict[int, int] = {}
    for first, size in runs(list(values)):
        now = read(server, table, first, size)
        found |= {first + index: values[first + index] for index in range(size) if now[index] != values[first + index]}
    return found


def _write_runs(server: Server, table: str, values: dict[int, int], wrong: dict[int, int]) -> None:
    """Writes each run of kept values from the first to the last wrong one: few requests, for memory wears out."""
    for first, size in runs(list(values)):
        inside = [at for at in range(first, first + size) if at in wrong]
        most = _at_once(server, table)
        for start in range(inside[0], inside[-1] + 1, most) if inside else ():
            chunk = [values[at] for at in range(start, min(start + most, inside[-1] + 1))]
            server.written += 1
            exchange(server, _many(table, start, chunk), "restoring")


def _at_once(server: Server, table: str) -> int:
    """How many items one request may write: as declared, or as the standard has it."""
    most = _CHUNK.get(table, RECORDS_AT_A_TIME)
    return min(server.capabilities.tables.get(table, Table()).max_write or most, most)


def _many(table: str, address: int, values: Sequence[int]) -> bytes:
    if table.startswith("file"):
        return write_records([(int(table[4:]), address, values)])
    if table == "coils":
        return write_coils(address, packed(values), quantity=len(values))
    return write_registers(address, values)


def _write_singly(server: Server, table: str, values: dict[int, int]) -> None:
    for address, value in values.items():
        pdu = write_coil(address, ON if value else OFF) if table == "coils" else write_register(address, value)
        pdu = _many(table, address, [value]) if table.startswith("file") else pdu
        server.written += 1
        exchange(server, pdu, "restoring")
