"""Many requests, many connections, damaged requests, slow and vanishing clients: the server goes on."""

from __future__ import annotations

import statistics

import pytest

from .carriers.tcp import HEADER
from .frames import is_normal
from .lines import must_tell, silences_of
from .mutations import is_harmless, mutated, shrunk
from .outcome import Absent, Inapplicable, Missed, NotRun
from .server import Health, Server, Talk
from .test_mbap_stream import Volley, all_answered
from .wire import WireError

READS = 500
VOLLEYS = 20
CONNECTIONS = 100
MUTATIONS = 100
SEED = 1
SLOW_CLIENTS = 50
SLOW_BYTES = 3
OUTAGES = 5


def times(server: Server, count: int) -> int:
    """How often, by what the run was asked for."""
    return max(1, round(count * server.load))


@pytest.mark.requirement("ROB-01")
def test_no_read_is_lost(server: Server) -> None:
    count = times(server, READS)
    talk = server.connect()
    took: list[float] = []
    for number in range(count):
        talk.send(server.request(server.read()))
        answer = talk.answer()
        if answer is None or answer.problem is not None or not is_normal(answer, server.facts.function, 1):
            seen = "nothing came" if answer is None else answer.says()
            raise Absent(f"read {number + 1} of {count} was lost: {seen}")
        took.append((talk.arrived_at - talk.sent_at) * 1000)
    took.sort()
    rank = {
        name: took[min(int(share * count), count - 1)] for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    }
    shown = ", ".join(f"{name} {value:.2f} ms" for name, value in rank.items())
    jitter = statistics.pstdev(took)
    server.note(f"{count} reads: {shown}, max {took[-1]:.2f} ms, standard deviation {jitter:.2f} ms")


@pytest.mark.requirement("ROB-02")
def test_no_request_in_flight_is_lost(server: Server) -> None:
    rates = []
    for depth in (2, 4, 8, 16):
        talk = server.connect()
        began = server.clock.now()
        rounds = times(server, VOLLEYS)
        for _ in range(rounds):
            volley = Volley(server, depth)
            talk.send(b"".join(volley.segments))
            all_answered(server, volley, talk.answers(depth))
        server.notes.clear()
        rates.append(f"{depth}: {depth * rounds / (server.clock.now() - began):.0f}/s")
        talk.close()
    server.note(f"requests in flight: {', '.join(rates)}")


@pytest.mark.requirement("ROB-03")
def test_connections_do_not_leak(server: Server) -> None:
    at_a_time = server.capabilities.max_connections or 1
    rounds = max(1, times(server, CONNECTIONS) // at_a_time)
    for round_ in range(rounds):
        talks = []
        for number in range(at_a_time):
            place = f"connection {round_ * at_a_time + number + 1}, {number + 1} at a time,"
            try:
                talks.append(server.connect())
            except WireError as error:
                raise Absent(f"{place} was refused: {error}") from error
            server.ask(talks[-1], server.request(server.read()), f"a read on {place}")
        for talk in talks:
            talk.close()
    server.note(f"{rounds * at_a_time} connections, {at_a_time} at a time")


@pytest.mark.requirement("ROB-04")
def test_damaged_requests_do_no_harm(server: Server) -> None:
    requests = [server.request(server.read(quantity)) for quantity in (1, 2)]
    pdu_at = HEADER if server.carrier.name in ("tcp", "udp", "tls") else 1
    plain = [request for request in requests if is_harmless(request, pdu_at)]
    if not plain:
        raise NotRun("every plain read holds a byte that is the code of a function that writes")
    count = times(server, MUTATIONS)
    for number, (what, frame) in enumerate(mutated(plain, pdu_at, SEED, count)):
        if not harms(server, frame):
            continue
        told = f"after damaged request {number + 1} of {count} (seed {SEED}; {what}: {frame.hex(' ')}) a plain read"
        state = _gone(server)
        if state is not None:
            raise _lost_for_good(server, state, told)
        if harms(server, frame) and _gone(server) is None:
            least = shrunk(frame, lambda candidate: _harms_again(server, candidate, pdu_at))
            raise Missed(f"{told} is not answered for a while; as little as {least.hex(' ')} does it")
        server.note(f"once, {told} was not answered; at the second try it was")
    server.note(f"{count} damaged requests, seed {SEED}")


def harms(server: Server, frame: bytes) -> bool:
    """Whether a plain read is not answered after it."""
    talk = server.connect()
    talk.send(frame)
    if server.carrier.line:
        talk.anything(server.timing.settle)
    talk.close()
    return server.health() != "answers"


def _harms_again(server: Server, frame: bytes, pdu_at: int) -> bool:
    return is_harmless(frame, pdu_at) and harms(server, frame) and _gone(server) is None


def _gone(server: Server) -> Health | None:
    """In what state it is if it does not come back in the time that three answers may take."""
    deadline = server.clock.now() + 3 * server.timing.answer
    while (health := server.health()) != "answers":
        if server.clock.now() > deadline:
            return health
        server.clock.sleep(server.timing.settle)
    return None


def _lost_for_good(server: Server, state: Health, told: str) -> Missed:
    """A server whose machine still makes connections, or refuses them, is gone by its own fault: it answered before,
    and the network works. On a line, which may be behind a connection, over UDP, or if nothing comes from there at all,
    a cable may be to blame."""
    own = server.carrier.name in ("tcp", "tls")
    if state == "silent" and own:
        return Missed(f"{told} was not answered any more: connections are made, requests not answered")
    if state == "refused" and own:
        return Missed(f"{told} was not answered any more: connections are refused")
    return Absent(f"{told} was not answered any more")


@pytest.mark.requirement("ROB-05")
def test_slow_clients_do_not_keep_others_waiting(server: Server) -> None:
    if not server.facts.parallel:
        raise Inapplicable("the server serves one connection at a time")
    maximum = server.capabilities.max_connections
    slow: list[Talk] = []
    for _ in range(SLOW_CLIENTS if maximum is None else min(SLOW_CLIENTS, maximum - 1)):
        try:
            slow.append(server.connect(patient=False))
        except WireError:
            if maximum is not None:
                raise
            break
    request = server.request(server.read())
    for number in range(times(server, SLOW_BYTES)):
        for talk in slow:
            talk.send(request[number % len(request) :][:1])
        server.clock.sleep(min(1.0, server.timing.answer))
        if server.health() != "answers":
            seen = f"while {len(slow)} slow connections were open, a plain read on another one was not answered"
            if maximum is None:
                raise Inapplicable(f"{seen}; max_connections is not declared")
            raise Missed(f"{seen}; {maximum} are declared")
    server.note(f"{len(slow)} slow connections, a client beside them was served")


@pytest.mark.requirement("ROB-06")
def test_vanished_clients_are_forgotten(server: Server) -> None:
    request = server.request(server.read())
    silent: list[Talk] = []
    kept = max(0, min(2, (server.capabilities.max_connections or 0) - 2))  # beside one more silent, and the plain read
    ways = ("rst", "fin", "silence") if server.facts.parallel else ("rst", "fin")
    for _ in range(times(server, OUTAGES)):
        for how in ways:
            talk = server.connect()
            talk.send(request[:9])
            if how == "rst":
                talk.close("rst")
            elif how == "fin":
                talk.close()
            else:
                silent.append(talk)
            server.must_be_usable(f"a connection that ended in the middle of a request ({how})")
        if len(silent) > kept:
            silent.pop(0).close("rst")
    done = "reset, closed, silent" if server.facts.parallel else "reset, closed; it serves one connection at a time"
    server.note(f"{times(server, OUTAGES)} of each: {done}")


@pytest.mark.requirement("ROB-07")
def test_busy_line_keeps_its_silences(server: Server) -> None:
    silences = silences_of(server)
    quantity = server.facts.run
    busy = 0.0
    count = times(server, READS // 5)
    began = server.clock.now()
    shortest = float("inf")
    talk = server.connect()
    for number in range(count):
        request = server.request(server.read(quantity))
        talk.send(request)
        answer = talk.answer()
        if answer is None or answer.problem is not None:
            raise Absent(f"answer {number + 1} of {count}: {'nothing came' if answer is None else answer.says()}")
        busy += (len(request) + len(answer.raw)) * silences.character + 2 * silences.between
        if talk.stamps:
            shortest = min(shortest, talk.stamps[0].latest - silences.character - talk.sent_at)
    used = min(100.0, 100 * busy / (server.clock.now() - began))
    load = f"{count} reads, the line was used for {used:.0f} % of the time"
    try:
        must_tell(server, silences.between, "t3.5")
    except NotRun:
        server.note(f"{load}; whether t3.5 is kept, this port cannot tell")
        return
    if shortest < silences.between - 2 * server.resolution - 1e-6:
        raise Missed(f"{load}; an answer began {shortest * 1000:.3f} ms after its request")
    server.note(f"{load}; at least {shortest * 1000:.3f} ms before an answer")
