"""Gateways that the suite once accused, and should not: a short queue, few connections, a busy moment.

The gateway here is a few lines of sockets, with a unit 1 behind it that takes its time.
"""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fieldrig import Rig
from fieldrig.suites.modbus_server import places, rows
from fieldrig.suites.modbus_server.capabilities import Capabilities, SerialSide
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Row, requirements
from fieldrig.suites.modbus_server.server import Facts, Server, Timing
from fieldrig.suites.modbus_server.stream_wire import clock_of

UNIT, UNROUTED, NOWHERE = 1, 99, 5000
TURN = 0.02
"""How long the line takes for a request (seconds)."""


class Gateway(socketserver.ThreadingTCPServer):
    """A gateway from TCP to one unit.

    Args:
        queue: so many requests may be on the line or wait for it; another gets 0A.
        connections: so many are served at a time, others wait.
        busy_every: each request of that number, counted from 1, gets 06.
        spoils: what is asked while the line is in use is answered with 0B.
    """

    daemon_threads = True

    def __init__(self, queue: int = 99, connections: int = 99, busy_every: int = 0, spoils: bool = False) -> None:
        self.queue, self.busy_every, self.spoils = queue, busy_every, spoils
        self.places = threading.Semaphore(connections)
        self.line, self.counts = threading.Lock(), threading.Lock()
        self.waiting = self.asked = 0
        super().__init__(("127.0.0.1", 0), Connection)

    def said(self, unit: int, pdu: bytes) -> bytes:
        with self.counts:
            self.asked += 1
            if self.busy_every and self.asked % self.busy_every == 0:
                return bytes([pdu[0] | 0x80, 6])
            if unit == UNROUTED or self.waiting >= self.queue:
                return bytes([pdu[0] | 0x80, 0x0A])
            self.waiting += 1
            meets = self.spoils and self.waiting > 1
        try:
            with self.line:
                time.sleep(TURN)
                address, quantity = struct.unpack(">HH", pdu[1:5])
                if meets:
                    return bytes([pdu[0] | 0x80, 0x0B])
                return b"\x83\x02" if address == NOWHERE else bytes([3, 2 * quantity]) + bytes(2 * quantity)
        finally:
            with self.counts:
                self.waiting -= 1


class Connection(socketserver.StreamRequestHandler):
    server: Gateway

    def handle(self) -> None:
        try:
            with self.server.places:
                while head := self.rfile.read(7):
                    transaction, _, length, unit = struct.unpack(">HHHB", head)
                    said = self.server.said(unit, self.rfile.read(length - 1))
                    self.wfile.write(struct.pack(">HHHB", transaction, 0, 1 + len(said), unit) + said)
        except (OSError, struct.error):  # the client left
            pass


@contextmanager
def seen(gateway: Gateway) -> Iterator[Server]:
    """A gateway as the suite sees it, with nothing declared but its line."""
    serving = threading.Thread(target=gateway.serve_forever, args=(0.02,))
    serving.start()
    try:
        with Rig(trace="counts", name="gateway") as rig:
            place = places.parse(f"tcp://127.0.0.1:{gateway.server_address[1]}", None)
            timing = place.timing(Timing())
            declared = Capabilities(line=SerialSide(unit=UNIT, unrouted=UNROUTED, refused=(NOWHERE, 2), timeout=1.0))
            server = Server(place.opener(rig, timing), UNIT, declared, timing, clock=clock_of(rig))
            server.facts = Facts(3, 0, 3, parallel=True, latency=TURN)
            yield server
    finally:
        gateway.shutdown()
        serving.join()
        gateway.server_close()


def judged(name: str, gateway: Gateway) -> Row:
    with seen(gateway) as server:
        return judge(requirements()[name], rows.tests()[name], server)


@pytest.mark.parametrize("name", ["GW-03", "GW-04", "GW-06"])
def test_a_gateway_whose_queue_is_full_is_not_accused(name: str) -> None:
    row = judged(name, Gateway(queue=1))
    assert row.verdict in ("pass", "inconclusive"), row.says


@pytest.mark.parametrize("name", ["GW-03", "GW-04"])
def test_a_gateway_with_two_connections_is_not_asked_by_more_unless_that_is_declared(name: str) -> None:
    row = judged(name, Gateway(connections=2))
    assert row.verdict in ("pass", "inconclusive"), row.says
    assert "2 clients" in row.says


@pytest.mark.parametrize("name", ["GW-01", "GW-08"])
def test_a_gateway_that_is_busy_for_a_moment_is_asked_again(name: str) -> None:
    row = judged(name, Gateway(busy_every=2))  # the plain read before the row is the first
    assert row.verdict == "pass" and "busy" in row.says, row.says


def test_a_gateway_that_stays_busy_is_judged_by_nobody() -> None:
    gateway = Gateway()
    with seen(gateway) as server:
        server.health = lambda: "answers"  # type: ignore[method-assign]
        gateway.busy_every = 1
        row = judge(requirements()["GW-01"], rows.tests()["GW-01"], server)
    assert row.verdict == "inconclusive" and "busy" in row.says, row.says


def test_requests_that_meet_on_the_line_are_found() -> None:
    row = judged("GW-04", Gateway(spoils=True))
    assert row.verdict == "fail" and "they meet on the line" in row.says, row.says
