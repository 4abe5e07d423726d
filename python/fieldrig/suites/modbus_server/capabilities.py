"""What the maker of a server declares about it (`--caps FILE`).

Rows that need a capability are `not applicable` without it: neither passed nor failed. README.md lists the keys.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fieldrig.errors import UsageError


class CapabilityError(Exception):
    """The file cannot be used; the text names the key and the remedy."""


@dataclass(frozen=True)
class Table:
    """One of the four tables of the data model."""

    first: int | None = None
    last: int | None = None
    known: tuple[int, int] | None = None
    """Address and value of a register that always reads the same."""
    failing: int | None = None
    """Address of a register whose read fails inside the device."""
    changing: int | None = None
    """First of two registers that the device always changes together, to equal values."""


@dataclass(frozen=True)
class Idle:
    """What the server does with a connection on which nothing happens."""

    after: float
    then: str
    """`close` or `keep`."""


@dataclass(frozen=True)
class Security:
    """Who certifies clients, and what roles may do."""

    ca: Path
    """PEM file: whose signature on the certificates of clients the server accepts ..."""
    ca_key: Path
    """... and the key to sign with."""
    server_ca: Path | None = None
    """PEM file: who signed the certificate of the server, if it is another."""
    full_role: str | None = None
    """A role that may do everything; without it, clients with no role are taken for such."""
    role: str | None = None
    """A role that may read one thing, as nobody without it may, and not another."""
    allowed: tuple[int, int] | None = None
    """Function and address that it may read."""
    forbidden: tuple[int, int] | None = None
    """Function and address that it may not read."""
    max_fragment_length: bool | None = None
    """The server negotiates max_fragment_length (RFC 6066 4)."""

    @property
    def issuer(self) -> Path:
        """Who signed the certificate of the server."""
        return self.server_ca or self.ca


@dataclass(frozen=True)
class Capabilities:
    """Everything that is declared; `None` and empty mean not declared."""

    unit_ids: tuple[int, ...] = ()
    gateway: bool = False
    max_connections: int | None = None
    max_transactions: int | None = None
    idle: Idle | None = None
    alone: bool = False
    """Nobody else is on the line."""
    full_duplex: bool | None = None
    """Both sides of the line may send at the same time."""
    response_time: float | None = None
    """How long the server takes for an answer, at most (seconds)."""
    outside: str | None = None
    """A local address that is not on the server's access list."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    security: Security | None = None

    @property
    def holding(self) -> Table:
        return self.tables.get("holding", Table())

    def has(self, name: str) -> bool:
        """Whether a capability named in requirements (`max_connections`, `holding.last`) is declared."""
        if name == "access":
            return self.outside is not None
        table, _, key = name.rpartition(".")
        if table == "security":
            return getattr(self.security, key, None) is not None
        owner: object = self.tables.get(table, Table()) if table else self
        return getattr(owner, key) is not None


TABLES = {"holding": 3, "input": 4, "coils": 1, "discrete": 2}
"""The tables and the functions that read them."""

SERIAL = ("alone", "full_duplex", "response_time")
_TOP = ("unit_ids", "gateway", "max_connections", "max_transactions", "idle", "access", "security", *SERIAL, *TABLES)
_TABLE = ("first", "last", "known", "failing", "changing")


def load(path: Path) -> Capabilities:
    """Reads a capabilities file.

    Raises `CapabilityError`: the file is missing, is no TOML, has an unknown key or a value of the wrong kind.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise CapabilityError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CapabilityError(f"{path}: {error}") from error
    try:
        return parse(document, path.parent)
    except CapabilityError as error:
        raise CapabilityError(f"{path}: {error}") from error


def parse(document: Mapping[str, Any], beside: Path | None = None) -> Capabilities:
    """Makes capabilities of a parsed document; files must be in the folder `beside`, if one is given.

    Raises `CapabilityError`.
    """
    _known(document, _TOP, "")
    tables = {name: _table(name, document[name]) for name in TABLES if name in document}
    access = document.get("access", {})
    _known(access, ("outside",), "access.")
    return Capabilities(
        unit_ids=tuple(_integer(unit, "unit_ids", 255) for unit in document.get("unit_ids", [])),
        gateway=bool(document.get("gateway", False)),
        max_connections=_optional(document, "max_connections", "", 65535),
        max_transactions=_optional(document, "max_transactions", "", 65535),
        idle=_idle(document["idle"]) if "idle" in document else None,
        alone=bool(document.get("alone", False)),
        full_duplex=True if document.get("full_duplex", False) else None,
        response_time=_duration(document, "response_time"),
        outside=access.get("outside"),
        tables=tables,
        security=_security(document["security"], beside) if "security" in document else None,
    )


_SECURITY = ("ca", "ca_key", "server_ca", "full_role", "role", "allowed", "forbidden", "max_fragment_length")


def _security(table: Mapping[str, Any], beside: Path | None) -> Security:
    _known(table, _SECURITY, "security.")

    def file(key: str) -> Path | None:
        if key not in table:
            return None
        path = (beside or Path()) / str(table[key])
        if beside is not None and not path.is_file():
            raise CapabilityError(f"security.{key}: there is no file {path}")
        return path

    ca, ca_key = file("ca"), file("ca_key")
    if ca is None or ca_key is None:
        raise CapabilityError("security needs `ca` and `ca_key`: certificates of clients are made with them")
    role, allowed, forbidden = table.get("role"), _read_of(table, "allowed"), _read_of(table, "forbidden")
    if (role, allowed, forbidden).count(None) not in (0, 3):
        raise CapabilityError("security: `role`, `allowed` and `forbidden` go together")
    return Security(
        ca=ca,
        ca_key=ca_key,
        server_ca=file("server_ca"),
        full_role=table.get("full_role"),
        role=role,
        allowed=allowed,
        forbidden=forbidden,
        max_fragment_length=True if table.get("max_fragment_length", False) else None,
    )


def _read_of(table: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    value = table.get(key)
    if value is None:
        return None
    _known(value, ("function", "address"), f"security.{key}.")
    function = _integer(value.get("function"), f"security.{key}.function", 4)
    return function, _integer(value.get("address"), f"security.{key}.address", 65535)


def _duration(document: Mapping[str, Any], key: str) -> float | None:
    import fieldrig

    try:
        return fieldrig.duration(document[key]) if key in document else None
    except UsageError as error:
        raise CapabilityError(f"{key}: {error.message}") from error


def _idle(table: Mapping[str, Any]) -> Idle:
    import fieldrig

    _known(table, ("after", "then"), "idle.")
    then = table.get("then")
    if then not in ("close", "keep"):
        raise CapabilityError(f'idle.then is {then!r}; it is "close" or "keep"')
    try:
        after = fieldrig.duration(table.get("after", ""))
    except UsageError as error:
        raise CapabilityError(f"idle.after: {error.message}") from error
    return Idle(after=after, then=then)


def _table(name: str, table: Mapping[str, Any]) -> Table:
    _known(table, _TABLE, f"{name}.")
    known = table.get("known")
    if known is not None:
        _known(known, ("address", "value"), f"{name}.known.")
        known = (
            _integer(known.get("address"), f"{name}.known.address", 65535),
            _integer(known.get("value"), f"{name}.known.value", 65535),
        )
    numbers = {key: _optional(table, key, f"{name}.", 65535) for key in ("first", "last", "failing", "changing")}
    if numbers["last"] is not None and (numbers["first"] or 0) > numbers["last"]:
        raise CapabilityError(f"{name}.first is behind {name}.last")
    return Table(known=known, **numbers)


def _optional(table: Mapping[str, Any], key: str, prefix: str, highest: int) -> int | None:
    return _integer(table[key], prefix + key, highest) if key in table else None


def _integer(value: object, name: str, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise CapabilityError(f"{name} is {value!r}; it is a number from 0 to {highest}")
    return value


def _known(table: object, names: tuple[str, ...], prefix: str) -> None:
    if not isinstance(table, Mapping):
        raise CapabilityError(f"{prefix.rstrip('.')} is {table!r}; it is a table with {', '.join(names)}")
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(names)}"
            raise CapabilityError(f"unknown key `{prefix}{key}`{hint}")
