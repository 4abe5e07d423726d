"""What the maker of a server declares about it (`--caps FILE`).

Rows that need a capability are `not applicable` without it: neither passed nor failed. README.md lists the keys.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fieldrig.errors import UsageError

from . import permission
from .permission import Permission


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
    slow: int | None = None
    """Address of a register whose read takes long."""
    busy: int | None = None
    """Address of a register whose read finds the server busy at first."""
    refuses: tuple[int, int] | None = None
    """Address of a register, and a value that it does not accept."""
    max_read: int | None = None
    """How many items one request may read, if fewer than the standard has it."""
    max_write: int | None = None
    """Likewise, write."""


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
class Fifo:
    """Queues that function 24 reads."""

    pointers: tuple[int, ...] | None = None
    """Their addresses."""
    overfull: int | None = None
    """Address of one with more than 31 registers."""


@dataclass(frozen=True)
class SerialSide:
    """Units behind a gateway, by what they do, and its own time-out."""

    unit: int | None = None
    """Answers."""
    unrouted: int | None = None
    """Nobody knows the way to it."""
    dead: int | None = None
    """Does not answer."""
    damaged: int | None = None
    """Answers with a wrong CRC."""
    refused: tuple[int, int] | None = None
    """A holding register of `unit` that it refuses to read, and its exception code."""
    timeout: float | None = None
    """How long the gateway waits for a unit (seconds)."""


@dataclass(frozen=True)
class Capabilities:
    """Everything that is declared; `None` and empty mean not declared."""

    unit_ids: tuple[int, ...] = ()
    gateway: bool = False
    max_connections: int | None = None
    max_transactions: int | None = None
    idle: Idle | None = None
    alone: bool | None = None
    """Nobody else is on the line: what is broadcast reaches nobody else."""
    full_duplex: bool | None = None
    """Both sides of the line may send at the same time."""
    response_time: float | None = None
    """How long the server takes for an answer, at most (seconds)."""
    character_timeout: float | None = None
    """How far apart two characters of an ASCII frame may be (seconds)."""
    line: SerialSide | None = None
    """What is behind a gateway."""
    outside: str | None = None
    """A local address that is not on the server's access list."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    security: Security | None = None
    functions: frozenset[int] | None = None
    """All function codes the server has; what is not among them it does not have."""
    files: Mapping[int, int] | None = None
    """The last record of each file, by its number."""
    damaged: tuple[int, int] | None = None
    """File and record whose memory is damaged."""
    fifo: Fifo = field(default_factory=Fifo)
    server_id: bytes | None = None
    """What function 17 gives before the run indicator."""
    permission: Permission = field(default_factory=Permission)
    """What may be written, and done otherwise."""

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
        owner: object = self.tables.get(table, Table()) if table in TABLES else self
        if table == "fifo":
            owner = self.fifo
        if table == "line":
            owner = self.line or SerialSide()
        return getattr(owner, key) is not None


TABLES = {"holding": 3, "input": 4, "coils": 1, "discrete": 2}
"""The tables and the functions that read them."""

SERIAL = ("line", "alone", "full_duplex", "response_time", "character_timeout")
_TOP = (
    *("unit_ids", "gateway", "max_connections", "max_transactions", "idle", "access", "functions"),
    *("writable", "allow", "max_writes", "files", "damaged", "fifo", "server_id", "security", *SERIAL, *TABLES),
)
_ADDRESSES = ("first", "last", "failing", "changing", "slow", "busy")
_LIMITS = ("max_read", "max_write")
_TABLE = (*_ADDRESSES, *_LIMITS, "known", "refuses")


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
        unit_ids=_numbers(document.get("unit_ids", []), "unit_ids", 255),
        gateway=_switch(document, "gateway"),
        max_connections=_optional(document, "max_connections", "", 65535),
        max_transactions=_optional(document, "max_transactions", "", 65535),
        idle=_idle(document["idle"]) if "idle" in document else None,
        line=_line(document["line"]) if "line" in document else None,
        alone=_switch(document, "alone") or None,
        full_duplex=_switch(document, "full_duplex") or None,
        response_time=_duration(document, "response_time"),
        character_timeout=_duration(document, "character_timeout"),
        outside=access.get("outside"),
        tables=tables,
        security=_security(document["security"], beside) if "security" in document else None,
        functions=_functions(document, tables),
        files=_files(document["files"]) if "files" in document else None,
        damaged=_pair(document, "damaged", "", ("file", "record")),
        fifo=_fifo(document.get("fifo", {})),
        server_id=_bytes(document["server_id"]) if "server_id" in document else None,
        permission=_permission(document),
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
        max_fragment_length=_switch(table, "max_fragment_length", "security.") or None,
    )


def _read_of(table: Mapping[str, Any], key: str) -> tuple[int, int] | None:
    value = table.get(key)
    if value is None:
        return None
    _known(value, ("function", "address"), f"security.{key}.")
    function = _integer(value.get("function"), f"security.{key}.function", 4)
    return function, _integer(value.get("address"), f"security.{key}.address", 65535)


def _line(table: Mapping[str, Any]) -> SerialSide:
    units = ("unit", "unrouted", "dead", "damaged")
    _known(table, (*units, "refused", "timeout"), "line.")
    refused = table.get("refused")
    if refused is not None:
        _known(refused, ("address", "code"), "line.refused.")
        refused = tuple(_integer(refused.get(key), f"line.refused.{key}", 65535) for key in ("address", "code"))
    numbers = {key: _optional(table, key, "line.", 247) for key in units}
    return SerialSide(refused=refused, timeout=_duration(table, "timeout", "line."), **numbers)


def _duration(document: Mapping[str, Any], key: str, prefix: str = "") -> float | None:
    import fieldrig

    try:
        return fieldrig.duration(document[key]) if key in document else None
    except UsageError as error:
        raise CapabilityError(f"{prefix}{key}: {error.message}") from error


def permitting(
    capabilities: Capabilities, writable: Sequence[str], allow: Sequence[str], max_writes: int | None
) -> Capabilities:
    """Capabilities with more permission: what is given here is added, the number of writes replaced. Raises
    `CapabilityError`."""
    try:
        more = permission.parse(writable, allow)
        joined = capabilities.permission.joined(more, max_writes)
    except permission.PermissionInvalid as error:
        raise CapabilityError(str(error)) from error
    return replace(capabilities, permission=joined)


def _functions(document: Mapping[str, Any], tables: Mapping[str, Table]) -> frozenset[int] | None:
    if "functions" not in document:
        return None
    functions = frozenset(_numbers(document["functions"], "functions", 127))
    for name, table in tables.items():
        if TABLES[name] not in functions and (table.first is not None or table.last is not None):
            raise CapabilityError(f"[{name}] is declared, but function {TABLES[name]:02} is not in functions")
    return functions


def _files(table: Mapping[str, Any]) -> dict[int, int]:
    """`files = { 4 = 99 }`: file 4 has the records 0 to 99."""
    if not isinstance(table, Mapping) or not all(number.isdigit() and 0 < int(number) < 65536 for number in table):
        raise CapabilityError(f"files is {table!r}; it is a table of file numbers with the last record of each")
    return {int(number): _integer(last, f"files.{number}", 9999) for number, last in table.items()}


def _fifo(table: Mapping[str, Any]) -> Fifo:
    _known(table, ("pointers", "overfull"), "fifo.")
    pointers = table.get("pointers")
    if pointers is not None:
        pointers = _numbers(pointers, "fifo.pointers", 65535)
    return Fifo(pointers, _optional(table, "overfull", "fifo.", 65535))


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise CapabilityError(f'server_id is {value!r}; it is a text, or bytes as "0x0A1B"')
    try:
        return bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode()
    except ValueError:
        raise CapabilityError(f"server_id is {value!r}; behind 0x stand two hexadecimal digits for each byte") from None


def _permission(document: Mapping[str, Any]) -> Permission:
    try:
        highest = _optional(document, "max_writes", "", 10**9)
        maximum = {} if highest is None else {"max_writes": highest}
        return permission.parse(_texts(document, "writable"), _texts(document, "allow"), **maximum)
    except permission.PermissionInvalid as error:
        raise CapabilityError(str(error)) from error


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
    known, refuses = (_pair(table, key, f"{name}.", ("address", "value")) for key in ("known", "refuses"))
    numbers = {key: _optional(table, key, f"{name}.", 65535) for key in (*_ADDRESSES, *_LIMITS)}
    for key in _LIMITS:
        if numbers[key] == 0:
            raise CapabilityError(f"{name}.{key} is 0: leave functions that do not work out of `functions`")
    if numbers["last"] is not None and (numbers["first"] or 0) > numbers["last"]:
        raise CapabilityError(f"{name}.first is behind {name}.last")
    return Table(known=known, refuses=refuses, **numbers)


def _pair(table: Mapping[str, Any], key: str, prefix: str, names: tuple[str, str]) -> tuple[int, int] | None:
    """A table of two numbers."""
    value = table.get(key)
    if value is None:
        return None
    _known(value, names, f"{prefix}{key}.")
    first, second = (_integer(value.get(name), f"{prefix}{key}.{name}", 65535) for name in names)
    return first, second


def _optional(table: Mapping[str, Any], key: str, prefix: str, highest: int) -> int | None:
    return _integer(table[key], prefix + key, highest) if key in table else None


def _numbers(value: object, name: str, highest: int) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise CapabilityError(f"{name} is {value!r}; it is a list of numbers, such as [1, 2]")
    return tuple(_integer(number, name, highest) for number in value)


def _texts(document: Mapping[str, Any], key: str) -> list[str]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise CapabilityError(f'{key} is {value!r}; it is a list of texts, such as ["..", ".."]')
    return value


def _switch(table: Mapping[str, Any], key: str, prefix: str = "") -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise CapabilityError(f"{prefix}{key} is {value!r}; it is true or false")
    return value


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
