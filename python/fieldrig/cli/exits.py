"""Exit codes, and which error leads to which."""

from __future__ import annotations

import enum

from ..errors import BenchError, DutError, FieldrigError, InconclusiveError, UsageError


class Exit(enum.IntEnum):
    """What the exit code of ``fieldrig`` says."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    BENCH = 3
    INCONCLUSIVE = 4
    NOTHING = 5


_BY_ERROR: tuple[tuple[type[FieldrigError], Exit], ...] = (
    (UsageError, Exit.USAGE),
    (InconclusiveError, Exit.INCONCLUSIVE),  # a kind of BenchError: asked first
    (BenchError, Exit.BENCH),
    (DutError, Exit.FAIL),
)


def exit_of(error: FieldrigError) -> Exit:
    """The exit code for an error that ended a command."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.BENCH)
