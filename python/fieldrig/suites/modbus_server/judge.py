"""Runs one row and says what it came to; `common.judge` states the rules.

The plainest exchange is a read on a connection of its own. A connection that cannot be made is never held against a
server that is still there. Beside the common rules:
- A row that writes, restarts or silences is `not run` without permission for it.
- A row for a function that the server does not have is `not applicable` (by declaration) or `excluded by probe`.
- A server that says that it is busy (exceptions 05, 06) is asked again, a few times and later each time.
- What a row writes is restored, however the row ends; what could not be is said with its verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fieldrig.suites.common import judge as common

from .functions import require
from .outcome import Busy, Requirement, Row
from .server import BUSY_WAITS, Server
from .writes import permit, restore

RowTest = Callable[[Server], None]


def judge(requirement: Requirement, test: RowTest, server: Server) -> Row:
    """Judges one row."""
    before = list(server.unrestored)
    row = common.judge(requirement, lambda subject: _run(requirement, test, subject), server)
    lost = [text for text in server.unrestored if text not in before]
    says = row.says
    if server.busy:
        says += f"; {server.busy} requests were sent again because the server was busy"
    if lost:
        says += f"; NOT RESTORED: {'; '.join(lost)}"
    return replace(row, says=says)


def _run(requirement: Requirement, test: RowTest, server: Server) -> None:
    permit(server, requirement)
    try:
        for function in requirement.functions:
            require(server, function)
        try:
            test(server)
        except Busy:  # with a request that the row sent by hand
            server.end()
            server.notes.clear()
            server.busy += 1
            server.clock.sleep(BUSY_WAITS[-1])
            test(server)
    finally:
        restore(server)
