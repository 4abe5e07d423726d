"""Saboteurs: for each requirement a device that breaks it. A row that its saboteur does not fail proves nothing.

The device is fieldrig's own emulated one, which passes every row; a saboteur is a change of its habits.
`tests/meta/test_kill_matrix.py` runs the whole suite against each of them and demands that the row fails (a `should`
row: is missed), and with it exactly the rows that are declared here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .capabilities import Capabilities, Idle, Table
from .judge import judge
from .outcome import Row, requirements
from .probe import probe
from .rows import tests
from .server import Server, Timing

if TYPE_CHECKING:
    from fieldrig.modbus import Device

LAST = 2499
FAILING = 2450  # behind the last coil: the habit knows addresses, not tables
CHANGING = 2460
MAX_CONNECTIONS = 8
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"

CAPABILITIES = Capabilities(
    unit_ids=(1, 247, 255, 0),
    max_connections=MAX_CONNECTIONS,
    max_transactions=16,
    idle=Idle(after=0.6, then="keep"),
    outside=OUTSIDE,
    tables={
        "holding": Table(first=0, last=LAST, known=(1, 0x1234), failing=FAILING, changing=CHANGING),
        "input": Table(first=0, last=LAST),
        "coils": Table(first=0, last=2399),
        "discrete": Table(first=0, last=2399),
    },
)
"""What the device declares: everything a row can ask for."""

LOOPBACK = Timing(answer=0.6, silence=0.12, settle=0.03)
"""How long to wait for a device in the same process."""

HABITS: tuple[tuple[str, object], ...] = (
    ("max_connections", MAX_CONNECTIONS),
    ("access_list", INSIDE),
    ("fail_at", FAILING),
)
"""What the device needs to do what it declares; nothing of it breaks a requirement."""


@dataclass(frozen=True)
class Saboteur:
    """A device that breaks one requirement."""

    habits: tuple[tuple[str, object], ...]
    falls: tuple[str, ...] = ()
    """Rows that must fail with it: they look at the same thing."""
    ends: bool = False
    """The device serves nobody after this row: the rows behind it are not tested."""


def _one(habit: str, value: object, *falls: str, ends: bool = False) -> Saboteur:
    return Saboteur(((habit, value),), falls, ends)


SABOTEURS: dict[str, Saboteur] = {
    "MBAP-01": _one("transaction_ids", "fifteen_bits"),
    "MBAP-02": _one("protocol_id", 1),
    "MBAP-03": _one("length_delta", -1),
    "MBAP-04": _one("answer_unit", 1),
    "MBAP-05": _one("answer_foreign_protocol", True),
    "MBAP-06": _one("lose_lone_first_byte", True),
    "MBAP-07": _one("lose_short_first_read", True),
    "MBAP-08": _one("answer_only_first_of_segment", True, "MBAP-09", "MBAP-10"),
    "MBAP-09": _one("deaf_while_busy", "20ms"),
    "MBAP-10": _one("drop_beyond", 8),
    "MBAP-12": _one("answer_length_zero", True),
    "MBAP-13": _one("answer_empty_pdu", True),
    "MBAP-14": _one("accept_long", True),
    "MBAP-15": _one("wedge_on_huge_length", True, ends=True),
    "MBAP-16": _one("impatient", "60ms"),
    "MBAP-17": _one("trailing_as_next", True, "MBAP-20"),
    "MBAP-18": _one("answer_truncated", True),
    "MBAP-19": _one("deaf_to_next_connection", "length", "MBAP-15"),
    "MBAP-20": _one("deaf_after_malformed", "truncated"),
    "MBAP-21": _one("greeting", "ready\r\n"),
    "MBAP-22": _one("max_connections", 1, "MBAP-23"),
    "MBAP-23": _one("beyond_maximum", "close_all"),
    "MBAP-24": _one("close_on_half_close", True),
    "MBAP-25": _one("wedge_after_resets", 50, ends=True),
    "MBAP-26": _one("idle_close", "400ms"),
    "MBAP-27": _one("answers_apart", "40ms"),
    "MBAP-28": _one("ignore_access_list", True),
    "MBAP-30": _one("ignore_unit_255", True),
    "MBAP-31": _one("unit_zero_is_broadcast", True),
    "PDU-01": _one("inputs_answered_as_holding", True, "PDU-05", "PDU-06"),
    "PDU-02": _one("exception_extra_byte", True),
    "PDU-03": _one("little_endian", True),
    "PDU-04": _one("max_bits", 1999),
    "PDU-05": _one("address_zero_missing", True),
    "PDU-06": _one("end_off_by_one", True),
    "PDU-07": _one("wrap_addresses", True),
    "PDU-08": _one("judge_address_first", True),
    "PDU-09": _one("judge_data_first", True),
    "PDU-10": _one("failure_code", 2),
    "FC03-01": _one("max_registers", 124, "PDU-04", "PDU-07"),
    "FC03-02": _one("accept_quantity_zero", True),
    "FC03-03": _one("byte_count_overflow", True),
    "FC03-04": _one("invent_missing", True),
    "FC03-05": _one("tear", True),
}


@contextlib.contextmanager
def emulated(*habits: tuple[str, object]) -> Iterator[tuple[Device, Server]]:
    """Our device with some habits, and the suite's view of it, probed."""
    from fieldrig import Rig, modbus

    from .stream_wire import opener

    registers = list(range(LAST + 1))
    registers[1] = 0x1234
    bits = [index % 3 == 0 for index in range(2400)]
    words, flags = {0: registers}, {0: bits}
    with (
        Rig(trace="counts", name="saboteur") as rig,
        modbus.Device(unit=None, holding=words, input=words, coils=flags, discrete=flags, rig=rig) as device,
    ):
        for name, value in (*HABITS, *habits):
            device.habit(name, value)
        device.set("holding", CHANGING, [0, 0])
        server = Server(opener(device.url, rig), 1, CAPABILITIES, LOOPBACK)
        probe(server, device.url)
        yield device, server


@contextlib.contextmanager
def changing(device: Device) -> Iterator[None]:
    """Changes the two registers of `CHANGING` together, all the time."""
    done = threading.Event()

    def change() -> None:
        value = 0
        while not done.wait(0.0005):
            value = (value + 0x0101) % 0x10000
            device.set("holding", CHANGING, [value, value])

    thread = threading.Thread(target=change, name="changing registers")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(*habits: tuple[str, object], stop: Callable[[Row], bool] = lambda row: False) -> dict[str, Row]:
    """Judges our device with some habits by every row; `stop` ends the run behind a row."""
    judged: dict[str, Row] = {}
    functions = tests()
    with emulated(*habits) as (device, server):
        for requirement in requirements().values():
            with changing(device) if requirement.id == "FC03-05" else contextlib.nullcontext():
                row = judge(requirement, functions[requirement.id], server)
                if row.verdict == "inconclusive":  # this machine was busy: judged once more
                    row = judge(requirement, functions[requirement.id], server)
            judged[requirement.id] = replace(row, exchanges=row.exchanges[-8:])
            if stop(row):
                break
    return judged
