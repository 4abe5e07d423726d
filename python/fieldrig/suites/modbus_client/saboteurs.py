"""Saboteurs: for each requirement a client, or several, that break it. What a saboteur does not fail proves nothing.

The client is `naive.NaiveClient`, which passes every row; a saboteur is one of its switches.
`tests/meta/test_client_kill_matrix.py` judges each of them by all rows of its carrier and demands that the row fails (a
`should` row: is missed), and with it exactly the rows that are declared here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fieldrig.suites.common.outcome import Row

from .client import Timing
from .driver import DriverObject
from .naive import NaiveDriver
from .run import judge_all

LOOPBACK = Timing(timeout=0.25, settle=0.02, hang=2.0)
"""How long to wait for a client in the same process."""
SECURITY = "SEC"
"""How the ids of rows about TLS begin."""


@dataclass(frozen=True)
class Saboteur:
    """A client that breaks one requirement."""

    carrier: str
    switch: str
    falls: tuple[str, ...] = ()
    """Rows that must fail with it: they look at the same thing."""


def _tcp(switch: str, *falls: str) -> Saboteur:
    return Saboteur("tcp", switch, falls)


def _rtu(switch: str, *falls: str) -> Saboteur:
    return Saboteur("rtu", switch, falls)


def _tls(switch: str, *falls: str) -> Saboteur:
    return Saboteur("tls", switch, falls)


SABOTEURS: dict[str, Saboteur] = {
    "CLI-01": _tcp("length of request", "INT-11", "INT-12", "INT-13"),
    "CLI-01 values": _tcp("low byte first", "CLI-20", "INT-12"),
    "CLI-02": _tcp("same ids", "CLI-04"),
    "CLI-03": _tcp("any transaction", "CLI-05"),
    "CLI-03 low byte": _tcp("low byte"),
    "CLI-03 exceptions": _tcp("believes exceptions", "CLI-05"),
    "CLI-04": _tcp("answers in order"),
    "CLI-05": _tcp("late"),
    "CLI-06": _tcp("second copy", "CLI-14"),
    "CLI-07": _tcp("any protocol"),
    "CLI-08": _tcp("any unit"),
    "CLI-08 unit 0": _tcp("unit 0 is any"),
    "CLI-09": _tcp("any function"),
    "CLI-10": _tcp("any exception"),
    "CLI-11": _tcp("any byte count", "CLI-14"),
    "CLI-11 other functions": _tcp("careful with 3", "CLI-12", "CLI-13"),
    "CLI-12": _tcp("any count"),
    "CLI-12 bits": _tcp("highest bit first", "INT-11"),
    "CLI-13": _tcp("odd counts"),
    "CLI-14": _tcp("any length"),
    "CLI-15": _tcp("unknown exceptions"),
    "CLI-15 writes": _tcp("deaf writes", "CLI-10"),
    "CLI-16": _tcp("whole segments"),
    "CLI-17": _tcp("slow time-out"),
    "CLI-17 bytes": _tcp("patient with bytes"),
    "CLI-18": _tcp("lost as time-out"),
    "CLI-19": _tcp("new connection"),
    "CLI-20": _tcp("any echo"),
    "CLI-20 values": _rtu("low byte first", "INT-12"),
    "CLI-21": _tcp("illegal quantities"),
    "CLI-22": _tcp("busy again"),
    "CLI-23": _tcp("circles"),
    "CLI-24": _tcp("any fifo"),
    "CLI-25": _rtu("any check"),
    "CLI-26": _rtu("unit ends"),
    "CLI-26 unit 0": _rtu("unit 0 is any"),
    "CLI-26 exceptions": _rtu("believes exceptions", "CLI-25"),
    "CLI-27": _rtu("no drain"),
    "CLI-28": _rtu("no turnaround"),
    "CLI-29": _rtu("broadcast reads"),
    "CLI-30": _rtu("no silence"),
    "CLI-31": _rtu("reserved units"),
    "CLI-32": _rtu("tasks"),
    "CLI-33": _rtu("echo stays"),
    "CLI-34": _rtu("strict gaps", "CLI-35"),
    "CLI-35": _rtu("first read"),
    "CLI-36": _tcp("wrap"),
    "SEC-01": _tls("old versions", "SEC-11"),
    "SEC-02": _tls("hangs up on 1.2", "SEC-08", "SEC-10"),
    "SEC-05": _tls("any dates"),
    "SEC-06": _tls("any certificate", "SEC-05"),
    "SEC-07": _tls("no certificate"),
    "SEC-08": _tls("session stays"),
    "SEC-10": _tls("another suite"),
    "SEC-11": _tls("weak suites"),
    "SEC-13": _tls("null suites first"),
    "SEC-14": _tls("leaf only"),
    "SEC-15": _tls("compression"),
    "SEC-16": _tls("no renegotiation"),
    "SEC-28": _tls("block ciphers", "SEC-10"),
    "INT-11": _tcp("one table", "CLI-09", "CLI-12"),
    "INT-12": _tcp("last first", "CLI-01", "CLI-20"),
    "INT-13": _tcp("no address", "CLI-15"),
}


def row_of(name: str) -> str:
    """The requirement that a saboteur breaks: the first word of its name, for a requirement may have several."""
    return name.partition(" ")[0]


def run(carrier: str, *switches: str) -> dict[str, Row]:
    """Judges the naive client with some switches by every row of a carrier; inside TLS by those about security."""
    return judged(lambda: NaiveDriver(*switches), carrier, (SECURITY,) if switches and carrier == "tls" else ())


def judged(make: Callable[[], DriverObject], carrier: str, only: tuple[str, ...] = ()) -> dict[str, Row]:
    """Judges a client in this process by every row of a carrier; what this machine was too busy for, again."""
    rows = judge_all(make, carrier, timing=LOOPBACK, only=only)
    for _ in range(3):
        undecided = tuple(name for name, row in rows.items() if row.verdict in ("inconclusive", "not tested"))
        if undecided:
            rows |= judge_all(make, carrier, timing=LOOPBACK.patient(), only=undecided)
    return rows
