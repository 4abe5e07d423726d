"""Runs one row and says what it came to.

The rules, in the order in which they are applied:
1. A row that needs a capability that is not declared, or is not for the carrier at hand, is `not applicable`.
2. A row is judged only if a plain read on a new connection is answered before it; otherwise it is `not tested`.
3. Bytes that the row forbids fail it. A `should` row that is missed is `advice`: it is shown in its own column and does
   not fail the run. A row of kind `report` is `reported`, whatever it saw.
4. Something that did not come is tried once more, with twice the time. If it comes then, the row is
   `inconclusive`. If not, it is held against the server only if a plain read is answered afterwards too, or if
   connections are refused, which only a server that is gone can cause. A connection that cannot be made is never held
   against a server that is still there.
"""

from __future__ import annotations

from collections.abc import Callable

from .outcome import (
    Absent,
    Excluded,
    Inapplicable,
    Missed,
    NotRun,
    Requirement,
    Row,
    Undecided,
    Verdict,
)
from .server import Health, Server
from .wire import WireError

RowTest = Callable[[Server], None]


def judge(requirement: Requirement, test: RowTest, server: Server) -> Row:
    """Judges one row."""
    server.begin()
    carrier = server.carrier.name
    if carrier not in requirement.carriers:
        return Row(requirement, "not applicable", f"a row for {', '.join(requirement.carriers)}", carrier=carrier)
    lacking = [name for name in requirement.needs if not server.capabilities.has(name)]
    if lacking:
        return Row(requirement, "not applicable", f"not declared: {', '.join(lacking)}", carrier=carrier)
    health = _health(server, 1 if server.lost else 3)
    server.lost = health != "answers"
    if server.lost:
        return Row(
            requirement, "not tested", f"before this row a plain read was not answered ({health})", carrier=carrier
        )
    verdict, says = _judged(test, server)
    if verdict == "fail" and requirement.level != "must":
        verdict = "advice"
    if requirement.kind == "report" and verdict in ("pass", "fail", "advice"):
        verdict = "reported"
    return Row(requirement, verdict, says, tuple(server.exchanges), carrier)


def _judged(test: RowTest, server: Server) -> tuple[Verdict, str]:
    verdict, says, _ = _attempt(test, server)
    if verdict is not None:
        return verdict, says
    first, timing = says, server.timing
    try:
        server.timing = timing.patient()
        server.notes.clear()
        verdict, says, connected = _attempt(test, server)
    finally:
        server.timing = timing
    if verdict == "pass":
        stall = " (this machine stood still meanwhile)" if server.stalled else ""
        return "inconclusive", f"only the second, slower try succeeded; the first: {first}{stall}"
    if verdict is not None:
        return verdict, says
    health = _health(server)
    if not connected and health != "refused":
        return "inconclusive", says
    if health == "answers":
        return "fail", says
    if health == "refused":
        return "fail", f"{says}; afterwards connections are refused"
    return "inconclusive", f"{says}; afterwards a plain read was not answered either ({health})"


def _attempt(test: RowTest, server: Server) -> tuple[Verdict | None, str, bool]:
    """One try: verdict (none if something was absent), explanation, and whether every connection could be made."""
    try:
        test(server)
    except Absent as absent:
        return None, str(absent), True
    except Missed as missed:
        return "fail", str(missed), True
    except Undecided as undecided:
        return "inconclusive", str(undecided), True
    except Inapplicable as inapplicable:
        return "not applicable", str(inapplicable), True
    except Excluded as excluded:
        return "excluded by probe", str(excluded), True
    except NotRun as unrun:
        return "not run", str(unrun), True
    except WireError as error:
        return None, f"a connection could not be made: {error}", False
    finally:
        server.end()
    return "pass", "; ".join(server.notes) or "as it should be", True


def _health(server: Server, tries: int = 3) -> Health:
    health: Health = "silent"
    for _ in range(tries):
        health = server.health()
        if health == "answers":
            break
    return health
