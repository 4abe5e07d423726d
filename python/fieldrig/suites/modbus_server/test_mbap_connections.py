"""Connections: several at a time, too many, half closed, reset, idle, unwanted; and the latency of small answers."""

from __future__ import annotations

import statistics
import time

import pytest

from .outcome import Absent, Inapplicable, Missed, Undecided
from .server import Server, Talk
from .wire import WireError

RESETS = 100
READS_AFTER_RESETS = 5
READS_FOR_LATENCY = 80
PROMPT = 0.010
"""What is not held back comes sooner behind its first byte, in seconds."""
NAGLE = (0.035, 0.055)
"""Where latencies gather when Nagle's algorithm meets the delayed ACK of the client (40 ms on Linux), in seconds."""


@pytest.mark.requirement("MBAP-22")
def test_second_connection_is_served(server: Server) -> None:
    maximum = server.capabilities.max_connections
    if maximum == 1:
        raise Inapplicable("one connection is declared as the maximum")
    first = server.connect()
    first, _ = server.ask_again(first, server.request(server.read()), "a read on the first connection")
    if first.ends(server.timing.settle):
        raise Inapplicable("the server closes each connection after its answer: there are never two")
    try:
        second = server.connect(patient=False)
        second, _ = server.ask_again(second, server.request(server.read()), "a read on the second connection")
        server.ask(first, server.request(server.read()), "a further read on the first connection")
    except (Absent, WireError) as absent:
        if maximum is None:
            raise Inapplicable(f"{absent}; max_connections is not declared") from None
        raise Absent(f"two connections are not served, {maximum} are declared: {absent}") from absent


@pytest.mark.requirement("MBAP-23")
def test_one_connection_too_many(server: Server) -> None:
    maximum = server.capabilities.max_connections
    assert maximum is not None, "the row needs it"
    talks = [server.connect() for _ in range(maximum)]
    for index, talk in enumerate(talks):  # from now on the first one is the oldest unused one
        talks[index], _ = server.ask_again(talk, server.request(server.read()), f"a read on connection {talk.number}")
    refused = _refused(server)
    closed = [talk.number for talk in talks if talk.anything(0.0) == b"" and talk.ended]
    alive = [talk for talk in talks if talk.number not in closed]
    for talk in alive:
        server.ask(talk, server.request(server.read()), f"a read on connection {talk.number}, one too many open,")
    if [number for number in closed if number != talks[0].number] or (refused and closed):
        oldest = talks[0].number
        raise Missed(f"connection {closed} of {maximum} was closed for the extra one; unused the longest was {oldest}")
    if refused is None and not closed:
        server.note(f"{maximum + 1} connections were served, {maximum} are declared")
    else:
        server.note(refused or "the oldest unused connection was closed")


def _refused(server: Server) -> str | None:
    """How one more connection is refused; `None` if it is served. Raises `Absent` if it is neither."""
    try:
        extra = server.connect(patient=False)
    except WireError as error:
        return f"the extra connection was refused ({error})"
    extra.send(server.request(server.read()))
    if extra.answer() is not None:
        return None
    if not extra.ended:
        raise Absent("the extra connection was neither refused nor closed nor served")
    return f"the extra connection was closed ({extra.ended})"


@pytest.mark.requirement("MBAP-24")
def test_half_closed_connection_gets_its_answer(server: Server) -> None:
    for _ in range(5):
        talk = server.connect()
        talk.send(server.request(server.read()))
        talk.close("half")
        server.expect_normal(talk, "a request followed by FIN")
        if not talk.ends():
            raise Absent("after the answer the server did not close the connection that the client had closed")
        talk.close()


@pytest.mark.requirement("MBAP-25")
def test_resets_in_mid_request_leave_nothing_behind(server: Server) -> None:
    """A few at a time, so that the server has room for them and turns none away before it was a request; between them,
    and several times at the end, a plain read: a server may see the resets after it has answered the first one."""
    request = server.request(server.read())
    log = server.exchanges
    at_a_time = max(1, (server.capabilities.max_connections or 1) // 2)
    for count in range(RESETS):
        talk = _connected_in_time(server, count)
        talk.send(request[:9], note=f"reset {count + 1} of {RESETS}")
        talk.close("rst")
        del log[4:]  # all alike
        if (count + 1) % at_a_time == 0:
            _served_in_time(server, count + 1)
    for _ in range(READS_AFTER_RESETS):
        _served_in_time(server, RESETS)
    server.note(f"served after {RESETS} resets")


def _served_in_time(server: Server, count: int) -> None:
    """A plain read is answered, at least after the time that an answer may take."""
    deadline = time.monotonic() + server.timing.answer
    while server.health() != "answers":
        if time.monotonic() > deadline:
            server.must_be_usable(f"{count} resets in the middle of a request")
            return


def _connected_in_time(server: Server, count: int) -> Talk:
    """A connection; a server that is still busy with the resets before may turn some down for a while."""
    deadline = time.monotonic() + server.timing.answer
    while True:
        try:
            return server.connect()
        except WireError as error:
            if time.monotonic() < deadline:
                time.sleep(server.timing.settle)
            elif error.kind == "refused":
                raise Missed(f"after {count} resets connections are refused") from error
            else:
                raise Undecided(f"after {count} resets the server cannot be reached: {error}") from error


@pytest.mark.requirement("MBAP-26")
def test_idle_connection_is_treated_as_declared(server: Server) -> None:
    idle = server.capabilities.idle
    assert idle is not None, "the row needs it"
    talk = server.connect()
    server.ask(talk, server.request(server.read()))
    began = time.monotonic()
    closed = talk.ends(idle.after if idle.then == "keep" else 1.5 * idle.after + server.timing.answer)
    seen = f"after {time.monotonic() - began:.2f} s without a request"
    if idle.then == "close":
        if not closed:
            raise Absent(f"{seen} the connection is open; declared is a close after {idle.after:g} s")
        if time.monotonic() - began < 0.5 * idle.after:
            raise Missed(f"{seen} the connection was closed, much before the declared {idle.after:g} s")
        server.note(f"closed {seen}")
    elif closed:
        raise Missed(f"{seen} the connection was closed; declared is that it is kept")
    else:
        server.expect_normal(_asked(server, talk), f"a read {seen}")
        server.note(f"still served {seen}")


def _asked(server: Server, talk: Talk) -> Talk:
    talk.send(server.request(server.read()))
    return talk


@pytest.mark.requirement("MBAP-27")
def test_small_answers_are_not_held_back(server: Server) -> None:
    for what, count in (("single answers", 1), ("the second of two answers", 2)):
        reads = _latencies(server, count)
        if not reads:
            continue  # requests in flight are lost or refused: the business of other rows
        took = sorted(last for _, last in reads)
        # What is held back stands behind something that was sent at once.
        behind = [last - first for first, last in reads]
        if count == 1 and statistics.median(first for first, _ in reads) > NAGLE[0]:
            raise Undecided("answers begin later than 35 ms: a delay of 40 ms cannot be told from the server's own")
        p99 = took[len(took) * 99 // 100 - 1]
        held = sum(NAGLE[0] <= pause <= NAGLE[1] for pause in behind)
        seen = f"{what}: p50 {statistics.median(took) * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms"
        if held > len(took) // 20 and held > sum(pause > PROMPT for pause in behind) // 2:
            raise Missed(
                f"{held} of {len(took)} ended about 40 ms after they began ({seen}): Nagle's algorithm waits for the "
                "delayed ACK; the server should set TCP_NODELAY"
            )
        server.note(seen)


def _latencies(server: Server, count: int) -> list[tuple[float, float]]:
    """When the first byte of `count` answers came, and the last, many times; empty if not all are answered."""
    talk = server.connect()
    kept = len(server.exchanges) + 3 * count
    took = []
    unseen = 1 if count == 1 else 0  # inside TLS: one answer begins when it ends, the first of two comes at once
    for _ in range(READS_FOR_LATENCY):
        # In one segment: a second segment of ours would carry the ACK that the held back answer waits for.
        talk.send(b"".join(server.request(server.read()) for _ in range(count)))
        if len(talk.answers(count)) < count:
            if count == 1:
                raise Absent("a read was not answered")
            return []
        last = talk.arrived_at - talk.sent_at
        first = min(talk.stamps[0].latest - talk.sent_at, last) if talk.stamps else unseen * last
        took.append((first, last))
        del server.exchanges[kept:]  # all alike
    talk.close()
    return took


@pytest.mark.requirement("MBAP-28")
def test_client_outside_the_access_list_is_turned_away(server: Server) -> None:
    outside = server.capabilities.outside
    try:
        talk = server.connect(outside)
    except WireError as error:
        if error.kind == "refused":
            server.note(f"a connection from {outside} is refused")
            return
        raise Undecided(f"cannot connect from {outside}: {error}") from error
    talk.send(server.request(server.read()))
    answer = talk.answer()
    if answer is not None:
        raise Missed(f"a read from {outside}, which is not on the access list, got {answer.says()}")
    if not talk.ends():
        raise Absent(f"the connection from {outside} was neither answered nor closed")
    server.note(f"the connection from {outside} was closed without an answer ({talk.ended})")
