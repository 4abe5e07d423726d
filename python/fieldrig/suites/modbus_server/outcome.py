"""What a row can come to, and how it says so."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Literal

Verdict = Literal["pass", "fail", "advice", "inconclusive", "not applicable", "not tested", "reported"]
VERDICTS: tuple[Verdict, ...] = (
    "pass",
    "fail",
    "advice",
    "inconclusive",
    "not applicable",
    "not tested",
    "reported",
)


class Missed(Exception):
    """The server did something that the row forbids: the bytes prove it."""


class Absent(Missed):
    """Something that should have come did not come. Held against the server only if the path is known to work."""


class Undecided(Exception):
    """The row cannot be judged here and now; not the server's fault."""


class Inapplicable(Exception):
    """The row does not concern this server, or the server does not show what the row needs."""


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
    """One row of requirements.toml."""

    id: str
    level: Literal["must", "should", "may"]
    kind: Literal["tested", "report"]
    spec: str
    text: str
    needs: tuple[str, ...] = ()
    reason: str | None = None

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


def _document() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("requirements.toml").read_text("utf-8"))


def requirements() -> dict[str, Requirement]:
    """All requirements by id, in the order of the file."""
    rows = [Requirement(**{**row, "needs": tuple(row.get("needs", ()))}) for row in _document()["requirement"]]
    return {row.id: row for row in rows}


def sections() -> dict[str, str]:
    """The titles of the sections, in order."""
    return {name: table["title"] for name, table in _document().items() if name != "requirement"}
