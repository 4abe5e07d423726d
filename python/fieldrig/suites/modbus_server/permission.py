"""What may be done to the server beside reading it.

Nothing, unless somebody says so: `--writable` and `--allow` of the command line, `writable` and `allow` of the
capabilities file. A place is written as in a bench file: `holding:100-199`, `coils:3`; records of a file are
`file4:0-9`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ACTIONS = ("restart", "listen-only", "counters")
"""What `allow` may name: restart its communication, silence it until it is restarted, clear its diagnostic counters."""

MAX_WRITES = 1000
"""How many requests that write one run may send, unless `--max-writes` says otherwise: memory wears out."""

_TABLES = ("holding", "coils")
_PLACE = re.compile(r"(holding|coils|file([0-9]+)):([0-9]+)(?:-([0-9]+))?")


class PermissionInvalid(Exception):
    """A permission that makes no sense; the text names it and the remedy."""


@dataclass(frozen=True)
class Permission:
    """What may be written, how often, and what else may be done."""

    places: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """First and last address of each range, by table (`holding`, `coils`, `file4`)."""
    allow: frozenset[str] = frozenset()
    max_writes: int = MAX_WRITES

    def writable(self, table: str, address: int) -> bool:
        """Whether this address may be written."""
        return any(first <= address <= last for first, last in self.places.get(table, ()))

    def run(self, table: str, count: int) -> int | None:
        """The first address of that many writable ones in a row."""
        return next((first for first, last in self.places.get(table, ()) if last - first + 1 >= count), None)

    def joined(self, other: Permission, max_writes: int | None = None) -> Permission:
        """What both together permit; so many writes, if a number is given. Raises `PermissionInvalid`."""
        names = [*self.places, *(name for name in other.places if name not in self.places)]
        places = {name: _merged((*self.places.get(name, ()), *other.places.get(name, ()))) for name in names}
        most = self.max_writes if max_writes is None else _counted(max_writes)
        return Permission(places, self.allow | other.allow, most)


def parse(writable: Iterable[str] = (), allow: Iterable[str] = (), max_writes: int = MAX_WRITES) -> Permission:
    """Makes a permission of what somebody wrote. Raises `PermissionInvalid`."""
    places: dict[str, list[tuple[int, int]]] = {}
    for entry in writable:
        table, first, last = _place(entry)
        places.setdefault(table, []).append((first, last))
    for word in allow:
        if word not in ACTIONS:
            near = difflib.get_close_matches(word, ACTIONS, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(ACTIONS)}"
            raise PermissionInvalid(f"{word!r} is nothing that can be allowed; {hint}")
    merged = {name: _merged(ranges) for name, ranges in places.items()}
    return Permission(merged, frozenset(allow), _counted(max_writes))


def _counted(max_writes: int) -> int:
    if max_writes < 0:
        raise PermissionInvalid(f"the number of writes is {max_writes}; it cannot be less than 0")
    return max_writes


def _place(entry: str) -> tuple[str, int, int]:
    found = _PLACE.fullmatch(entry.strip())
    if not found:
        hint = "TABLE:FIRST-LAST with holding, coils or fileN, e.g. holding:100-199"
        if entry.split(":")[0] in ("input", "discrete"):
            hint = f"{entry.split(':')[0]} can only be read"
        raise PermissionInvalid(f"{entry!r} is no place that can be written; {hint}")
    table, first = found[1], int(found[3])
    last = int(found[4] or first)
    highest = 65535 if table in _TABLES else 9999
    if not first <= last <= highest:
        raise PermissionInvalid(f"{entry!r}: addresses go from 0 to {highest}, the first is not behind the last")
    return table, first, last


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges in order, those that touch joined."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)
