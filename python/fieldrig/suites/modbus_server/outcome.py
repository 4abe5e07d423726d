"""What a row can come to, and how it says so."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal, get_args

FILES = ("mbap", "pdu", "functions", "rtu", "ascii", "gateway", "security", "robustness")
"""The files of the folder `requirements`, in the order in which rows run and are reported."""

CARRIERS = ("tcp", "udp", "tls", "rtu", "ascii", "rtu+tcp", "ascii+tcp")
"""What a server can be reached over."""

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
    """The server did something that the row forbids: the bytes prove it."""


class Absent(Missed):
    """Something that should have come did not come. Held against the server only if the path is known to work."""


class Undecided(Exception):
    """The row cannot be judged here and now; not the server's fault."""


class Inapplicable(Exception):
    """The row does not concern this server, or the server does not show what the row needs."""


class Excluded(Exception):
    """The server was asked and does not have what the row needs, and nobody declared that it has.

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
    """One row of the files in `requirements`; README.md there explains the keys."""

    id: str
    level: Literal["must", "should", "may"]
    kind: Literal["tested", "report", "untestable"]
    spec: str
    text: str
    needs: tuple[str, ...] = ()
    reason: str | None = None
    carriers: tuple[str, ...] = CARRIERS
    """On which carriers it is judged."""

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


@functools.cache
def _documents() -> tuple[dict[str, Any], ...]:
    folder = resources.files(__package__).joinpath("requirements")
    return tuple(tomllib.loads(folder.joinpath(f"{name}.toml").read_text("utf-8")) for name in FILES)


@functools.cache
def requirements() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the files and within them."""
    rows = [_requirement(row, document) for document in _documents() for row in document.get("requirement", ())]
    return MappingProxyType({row.id: row for row in rows})


def _requirement(row: Mapping[str, Any], document: Mapping[str, Any]) -> Requirement:
    section = document[str(row["id"]).rpartition("-")[0]]
    carriers = row.get("carriers", section.get("carriers", CARRIERS))
    return Requirement(**{**row, "needs": tuple(row.get("needs", ())), "carriers": tuple(carriers)})


def sections() -> dict[str, str]:
    """The titles of the sections, in order."""
    return {
        name: table["title"] for document in _documents() for name, table in document.items() if name != "requirement"
    }
