"""What a row of a suite can come to, and how it says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

CARRIERS = ("tcp", "udp", "tls", "rtu", "ascii", "rtu+tcp", "ascii+tcp")
"""What a suite can judge over."""

Verdict = Literal[
    "pass",
    "fail",
    "advice",
    "inconclusive",
    "not applicable",
    "excluded by probe",
    "not run",
    "not tested",
    "reported",
    "untestable",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Missed(Exception):
    """Who is judged did something that the row forbids: the bytes prove it."""


class Absent(Missed):
    """Something that should have come did not come. Held against the server only if the path is known to work."""


class Undecided(Exception):
    """The row cannot be judged here and now; not the fault of who is judged."""


class Inapplicable(Exception):
    """The row does not concern who is judged, or it does not show what the row needs."""


class Excluded(Exception):
    """Who is judged was asked and does not have what the row needs, and nobody declared that it has.

    What is declared and not there is `Missed`.
    """


class NotRun(Exception):
    """The row cannot be decided with this port or within these permissions (too coarse a resolution, say)."""


@dataclass(frozen=True)
class Exchange:
    """One thing that happened on a connection of a row."""

    connection: int
    what: Literal["sent", "received", "note"]
    at: float
    data: bytes = b""
    text: str = ""


@dataclass(frozen=True)
class Requirement:
    """One row of a requirements file; the README.md of the suite explains the keys."""

    id: str
    level: Literal["must", "should", "may"]
    kind: Literal["tested", "report", "untestable"]
    spec: str
    text: str
    needs: tuple[str, ...] = ()
    reason: str | None = None
    carriers: tuple[str, ...] = CARRIERS
    """On which carriers it is judged."""
    functions: tuple[int, ...] = ()
    """Functions that a server must have."""
    writes: tuple[str, ...] = ()
    """Tables that it writes (`files`: records); without permission for any of them it is not run."""
    allow: tuple[str, ...] = ()
    """What else must be allowed."""

    @property
    def section(self) -> str:
        return self.id.rpartition("-")[0]


@dataclass(frozen=True)
class Row:
    """A judged row."""

    requirement: Requirement
    verdict: Verdict
    says: str
    exchanges: tuple[Exchange, ...] = field(default=())
    carrier: str = "tcp"


def requirements_of(documents: Iterable[Mapping[str, Any]]) -> Mapping[str, Requirement]:
    """All requirements of some requirements files by id, in the order of the files and within them."""
    rows = [_requirement(row, document) for document in documents for row in document.get("requirement", ())]
    return MappingProxyType({row.id: row for row in rows})


def _requirement(row: Mapping[str, Any], document: Mapping[str, Any]) -> Requirement:
    section = document[str(row["id"]).rpartition("-")[0]]
    lists = {name: tuple(row.get(name, section.get(name, ()))) for name in ("needs", "functions", "writes", "allow")}
    carriers = tuple(row.get("carriers", section.get("carriers", CARRIERS)))
    return Requirement(**{**row, **lists, "carriers": carriers})


def sections_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The titles of the sections, in order."""
    return {name: table["title"] for document in documents for name, table in document.items() if name != "requirement"}
