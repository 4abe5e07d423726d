"""Runs one row and says what it came to; `common.judge` states the rules.

The plainest exchange is a read on a connection of its own. A connection that cannot be made is never held against a
server that is still there.
"""

from __future__ import annotations

from collections.abc import Callable

from fieldrig.suites.common import judge as common

from .outcome import Requirement, Row
from .server import Server

RowTest = Callable[[Server], None]


def judge(requirement: Requirement, test: RowTest, server: Server) -> Row:
    """Judges one row."""
    return common.judge(requirement, test, server)
