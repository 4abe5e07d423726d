"""What a saboteur is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .patch import Patch


@dataclass(frozen=True)
class Saboteur:
    """A server that breaks one requirement: our device with other habits, or any server behind a patch."""

    habits: tuple[tuple[str, object], ...] = ()
    falls: tuple[str, ...] = ()
    """Rows that must fail with it: they look at the same thing."""
    ends: bool = False
    """The device serves nobody after this row: the rows behind it are not tested."""
    patch: Callable[[], Patch] | None = None
    """Makes the patch, one for each run."""
    on: str | None = None
    """Where it runs, if not where its section does (`device.ON`)."""


UNSABOTAGED = Saboteur()


def row_of(name: str) -> str:
    """The requirement that a saboteur breaks: the first word of its name, for a requirement may have several."""
    return name.partition(" ")[0]


def one(habit: str, value: object, *falls: str, ends: bool = False) -> Saboteur:
    """Our device with one habit."""
    return Saboteur(((habit, value),), falls, ends)


def patched(patch: Callable[[], Patch], *falls: str, habits: tuple[tuple[str, object], ...] = ()) -> Saboteur:
    """A server behind a patch."""
    return Saboteur(habits, falls, patch=patch)
