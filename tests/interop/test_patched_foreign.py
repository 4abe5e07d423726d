"""The patches that prove the suite's rows on our own device, in front of servers nobody here wrote.

A row that a foreign server passes must fail when its patch stands between: the row finds the flaw, not our device.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fieldrig import Rig
from fieldrig.suites.modbus_server import capabilities, rows
from fieldrig.suites.modbus_server.carriers import CARRIERS
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.probe import ProbeFailure, probe
from fieldrig.suites.modbus_server.saboteurs import SABOTEURS, Patch
from fieldrig.suites.modbus_server.saboteurs.base import row_of
from fieldrig.suites.modbus_server.saboteurs.proxy import Proxy
from fieldrig.suites.modbus_server.server import Server, Timing
from fieldrig.suites.modbus_server.stream_wire import clock_of, opener

from .foreign import COMMANDS, capabilities_of, running

QUICK = Timing(answer=1.5, silence=0.2, settle=0.05)
GIVE_UP = 0.8  # libmodbus waits for half a second before it says no
INSTANCES = 4
"""How many processes of each server."""
PATCHED = [
    name
    for name, saboteur in SABOTEURS.items()
    if saboteur.patch is not None and not saboteur.habits and not saboteur.ends
    if requirements()[row_of(name)].section != "ROB"
]
"""Not those about robustness: they count what the proxy itself takes part in."""
"""Those that make a server end for good are left out: a proxy cannot refuse connections."""

UNMET = {"tokio-modbus": {"EXC-09"}}
"""Patches that a server never meets: this one writes behind a refusal; that server ends the connection instead."""

Judged = dict[tuple[str, str], "Future[tuple[Row, Row]]"]


@contextlib.contextmanager
def behind(url: str, patch: Patch, caps: Path) -> Iterator[Server]:
    """A server behind a patch, probed."""
    with Rig(trace="counts") as rig:
        clock = clock_of(rig)
        with Proxy(opener(url, rig), CARRIERS["tcp"], patch, clock, GIVE_UP) as proxy:
            server = Server(opener(proxy.url, rig), 1, capabilities.load(caps), QUICK, clock=clock)
            probe(server, proxy.url)
            yield server


def by_row(url: str, name: str, patch: Patch, caps: Path) -> Row:
    with behind(url, patch, caps) as server:
        row = judge(requirements()[row_of(name)], rows.tests()[row_of(name)], server)
        return replace(row, exchanges=row.exchanges[-8:])


def both(instances: queue.Queue[int], name: str, caps: Path) -> tuple[Row, Row]:
    """What a row says of a server behind a patch that changes nothing, and behind that of the row."""
    patch = SABOTEURS[name].patch
    assert patch is not None
    port = instances.get()  # to itself: rows write the same addresses, and libmodbus serves one at a time
    try:
        url = f"tcp://127.0.0.1:{port}"
        return by_row(url, name, Patch(), caps), by_row(url, name, patch(), caps)
    except ProbeFailure as failure:
        raise AssertionError(f"{name}: {failure}") from failure
    finally:
        instances.put(port)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """Every row that a patch breaks, by every server; under way, several at a time."""
    with contextlib.ExitStack() as servers, ThreadPoolExecutor(INSTANCES * len(COMMANDS)) as pool:
        instances: dict[str, queue.Queue[int]] = {}
        for server, command in COMMANDS.items():
            line = command(tmp_path_factory.mktemp(server))
            instances[server] = queue.Queue()
            for _ in range(INSTANCES):
                instances[server].put(servers.enter_context(running(line)))
        yield {
            (server, name): pool.submit(both, instances[server], name, capabilities_of(server))
            for name in PATCHED
            for server in COMMANDS
            if "tcp" in requirements()[row_of(name)].carriers
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("server", COMMANDS)
def test_rows_that_a_foreign_server_passes_find_their_patch(server: str, judged: Judged) -> None:
    survived, found = {}, []
    for (of, name), pair in judged.items():
        if of != server:
            continue
        clean, patched = pair.result()
        if clean.verdict != "pass":
            continue
        if patched.verdict in ("fail", "advice"):
            found.append(name)
        else:
            survived[name] = patched.says
    assert survived.keys() == UNMET.get(server, set()), "\n".join(f"{name}: {says}" for name, says in survived.items())
    assert found, f"{server} passes no row that has a patch"
