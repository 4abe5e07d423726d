"""Serial lines: checks, units, silence, broadcasts, echoes."""

from __future__ import annotations

import itertools

import pytest

from fieldrig.suites.common.outcome import Inapplicable, Missed, NotRun, Undecided

from . import memory
from .client import Client, right, silent, wrong
from .frames import Request
from .station import Reply
from .test_transactions import nobody_gave_up, poison

SLOW = "1200+8N1"
SILENCE = 3.5 * 10 / 1200
"""t3.5 of that line (SL 2.5.1.1), counting 10 bits a character (seconds)."""
EXACTLY = 1e-7
"""Differences of seconds are not exact beyond this."""
PTY = "proves nothing: a pty has no line speed, and delivers late"


@pytest.mark.requirement("CLI-25")
def test_bad_check_is_rejected(client: Client) -> None:
    for what, wrong_by in (("one bit", 0x01), ("every bit", 0xFFFF)):
        client.open()
        outcome = client.read(wrong(poison(), check=wrong_by))
        client.must_reject(outcome, f"an answer whose check is wrong in {what}")
        if len(client.requests) > 1 + client.retries:
            raise Missed(f"asked {len(client.requests)} times; {client.retries} retries were set")
        client.must_read("the call behind an answer with a wrong check", address=600)
    client.open()
    outcome = client.read(wrong(b"\x83\x02", check=0x01))
    client.must_reject(outcome, "an exception whose check is wrong")
    if outcome.error == "exception":
        raise Missed(f"an exception whose check is wrong is reported as {outcome.says()}")


@pytest.mark.requirement("CLI-26")
def test_answer_of_another_unit_does_not_end_the_wait(client: Client) -> None:
    for unit, pdu in ((2, poison()), (247, poison()), (0, poison()), (2, b"\x83\x02")):
        client.open()

        def script(request: Request, reply: Reply, unit: int = unit, pdu: bytes = pdu) -> None:
            reply.send(pdu, unit=unit)
            reply.send(memory.good(request), after=client.timing.timeout / 4)

        what = "exception" if pdu[0] & 0x80 else "answer"
        client.must_read(f"an {what} of unit {unit}, then the answer of unit 1", script=script)
    client.note("each call waited for its own answer")


@pytest.mark.requirement("CLI-27")
def test_late_answer_is_not_taken_for_the_next(client: Client) -> None:
    client.open()
    first = client.read(silent, 0)
    if first.error is None:
        raise Missed(f"a call that nobody answered gave {first.says()}")
    if not client.requests:
        raise client.absent("the client sent nothing")
    Reply(client.station, client.requests[-1]).send(memory.good(client.requests[-1]))
    client.wait(client.timing.settle)
    client.must_read("a late answer before the next call", address=500)
    client.note("what came between two calls was discarded")
    client.note(f"a late answer behind the next request, which looks like its own: {behind(client)}")


def behind(client: Client) -> str:
    """What a client does that RTU and ASCII give no means to know better."""
    client.open()
    client.read(silent, 0)
    if not client.requests:
        return "not seen"
    late = memory.good(client.requests[-1])

    def script(request: Request, reply: Reply) -> None:
        reply.send(late)
        reply.send(memory.good(request), after=client.timing.timeout / 4)

    outcome = client.read(script, 500)
    if outcome.values == memory.registers(3, 500, 2):
        return "discarded"
    return f"taken ({outcome.says()})" if outcome.error is None else outcome.says()


@pytest.mark.requirement("CLI-28")
def test_broadcast_is_followed_by_a_pause(client: Client) -> None:
    least = client.capabilities.turnaround
    gaps = []
    for index in range(3):
        client.open()
        outcome = client.call("write_register", silent, unit=0, address=10 + index, value=1)
        client.must_be_possible(outcome, "a broadcast")
        if outcome.error == "refused" and not client.station.requests:
            raise Inapplicable(f"the client does not broadcast ({outcome.text})")
        if outcome.error == "timeout":
            raise Missed("a broadcast, which nobody answers, ended as a time-out: the client waited for an answer")
        if outcome.error is not None:
            raise Missed(f"a broadcast ended with {outcome.says()}")
        client.must_read("the call behind a broadcast")
        broadcasts = [request for request in client.station.requests if request.unit == 0]
        if not broadcasts:
            raise Missed("a write to unit 0 was not sent to unit 0")
        following = next(request for request in client.station.requests if request.unit != 0)
        gaps.append(client.station.silence(outcome.began, broadcasts[-1].at, following))
    shown = ", ".join(f"{low * 1000:.1f}..{high * 1000:.1f}" for low, high in gaps)
    if any(high < least - EXACTLY for _, high in gaps):
        raise Missed(f"the next request came {shown} ms after a broadcast; {least * 1000:.0f} ms are the least")
    if not client.station.exact:
        raise NotRun(f"no answer was waited for; the next request came {shown} ms later, which {PTY}")
    if any(low < least - EXACTLY for low, _ in gaps):
        raise Undecided(f"the next request came {shown} ms after a broadcast")
    client.note(f"the next request came {shown} ms later")


@pytest.mark.requirement("CLI-29")
def test_read_cannot_be_broadcast(client: Client) -> None:
    client.open()
    outcome = client.read(silent, unit=0)
    if client.requests:
        raise Missed(f"a read of unit 0 was sent: {client.requests[0].raw[:8].hex(' ')}")
    if outcome.error is None:
        raise Missed(f"a read of unit 0 gave {outcome.says()}")
    client.note(outcome.says())


@pytest.mark.requirement("CLI-30")
def test_silence_before_a_request_is_kept(client: Client) -> None:
    client.open(line=None if client.station.exact else SLOW, timeout=max(client.timing.timeout, 1.0))
    for index in range(8):
        outcome = client.read(right, address=index)
        if outcome.values is None:
            raise Undecided(f"a read ended with {outcome.says()}")
    requests, sent = client.station.requests, client.station.sent
    spans = [
        client.station.silence(before.at, before.at, after) for before, after in zip(sent, requests[1:], strict=False)
    ]
    least = client.station.shortest_silence or SILENCE
    shown = ", ".join(f"{low * 1000:.1f}..{high * 1000:.1f}" for low, high in spans)
    if any(high < least - EXACTLY for _, high in spans):
        raise Missed(f"requests came {shown} ms after the answer before them; t3.5 is {least * 1000:.2f} ms")
    gap = client.station.gap_inside()
    if gap is not None:
        raise Missed(gap)
    if not client.station.exact:
        raise NotRun(
            f"requests came {shown} ms after the answer before them (t3.5 is {least * 1000:.1f} ms), which {PTY}"
        )
    if any(low < least - EXACTLY for low, _ in spans):
        raise Undecided(f"requests came {shown} ms after the answer before them; t3.5 is {least * 1000:.2f} ms")
    client.note(f"requests came {shown} ms after the answer before them; t3.5 is {least * 1000:.2f} ms")


@pytest.mark.requirement("CLI-31")
def test_reserved_units_are_refused(client: Client) -> None:
    for unit in (248, 255):
        client.open()
        outcome = client.read(silent, unit=unit)
        client.wait(client.timing.settle)
        if client.requests:
            raise Missed(f"a request to unit {unit}, which is reserved, was sent")
        client.note(f"{unit}: {outcome.says()}")


@pytest.mark.requirement("CLI-32")
def test_one_request_at_a_time(client: Client) -> None:
    places = [100 * index for index in range(4)]
    after = client.timing.timeout / 8
    clashes: list[str] = []

    def script(request: Request, reply: Reply) -> None:
        if len(client.station.sent) < len(client.station.requests) - 1:
            clashes.append(f"register {request.address} was asked for before the request before it was answered")
        reply.send(memory.good(request), after=after)

    client.open(timeout=max(client.timing.timeout, 2.0))  # a busy kernel holds bytes of a pty back for a while
    outcomes = client.together([{"call": "read_holding", "address": place, "count": 2} for place in places], script)
    nobody_gave_up(client, outcomes)
    if clashes:
        raise Missed(clashes[0])
    if client.station.unreadable:
        raise Missed(f"requests of several tasks ran into each other: {client.station.unreadable[:16].hex(' ')}")
    for outcome, place in zip(outcomes, places, strict=True):
        client.must_give(outcome, memory.registers(3, place, 2), f"register {place}")
    client.note(f"{len(places)} calls at the same time, one after the other")


@pytest.mark.requirement("CLI-33")
def test_echo_of_the_adapter_is_no_answer(client: Client) -> None:
    def script(request: Request, reply: Reply) -> None:
        reply.raw(request.raw)
        reply.send(memory.good(request), after=client.timing.timeout / 10)

    try:
        client.open(echo=True)
    except Inapplicable as reason:
        client.note(str(reason))
    else:
        client.must_read("an answer behind an echo that was announced", script=script)
        client.must_give(client.read(script, 50, 4), memory.registers(3, 50, 4), "the next one")
        client.note("announced: stripped")
    client.open()
    for call, arguments in (
        ("read_holding", {"address": 10, "count": 2}),
        ("write_register", {"address": 20, "value": 7}),
        ("read_holding", {"address": 30, "count": 2}),
    ):
        outcome = client.call(call, script, **arguments)
        expected = memory.registers(3, int(arguments["address"]), 2)
        if outcome.values is not None and outcome.values != expected:
            raise Missed(f"an echo that was not announced: {call} gave {outcome.says()}")
        client.wait(client.timing.settle)
        client.note(f"{call}: {outcome.error or 'right'}")


@pytest.mark.requirement("CLI-34")
def test_pauses_of_an_adapter_are_tolerated(client: Client) -> None:
    for pauses in ((0.001, 0.005), (0.010, 0.020), (0.016, 0.016)):
        client.open(gap_tolerance=0.05)

        def script(request: Request, reply: Reply, pauses: tuple[float, ...] = pauses) -> None:
            data = client.station.framing.answer(request, memory.good(request))
            reply.raw(data[:3])
            reply.raw(data[3:6], after=pauses[0])
            reply.raw(data[6:], after=sum(pauses))

        shown = " and ".join(f"{pause * 1000:.0f}" for pause in pauses)
        outcome = client.read(script, 20, 4)
        if outcome.error is not None and not punctual(client, 0.04):
            raise Undecided("our pauses became longer than planned (this machine was busy)")
        client.must_give(outcome, memory.registers(3, 20, 4), f"an answer with pauses of {shown} ms")


@pytest.mark.requirement("CLI-35")
def test_answer_of_unknown_length_is_whole(client: Client) -> None:
    for size in (4, 40, 200):
        client.open(line=SLOW, timeout=max(client.timing.timeout, 1.0))
        pdu = bytes([0x41]) + bytes(index % 251 + 1 for index in range(size))

        def script(request: Request, reply: Reply, pdu: bytes = pdu) -> None:
            data = client.station.framing.answer(request, pdu)
            reply.pieces([data[: len(data) // 2], data[len(data) // 2 :]], 0.006)

        outcome = client.call("raw", script, pdu="41 01 02 03")
        what = f"an answer of function 41 with {len(pdu)} PDU bytes, in two pieces"
        client.must_be_possible(outcome, what)
        if not punctual(client, SILENCE / 2):
            raise Undecided("our pieces came too far apart (this machine was busy)")
        if outcome.error is not None:
            raise client.absent(f"{what}: {outcome.says()}")
        if outcome.pdu != pdu:
            raise Missed(f"{what}: the call gave {outcome.says()}")
    client.note("5, 41 and 201 PDU bytes, each in two pieces, whole")


def punctual(client: Client, most: float) -> bool:
    """What we sent in pieces went out without a pause longer than this."""
    instants = [sent.at for sent in client.station.sent[client.sent_before :]]
    return all(later - earlier <= most for earlier, later in itertools.pairwise(instants))
