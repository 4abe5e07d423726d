"""When RTU answers begin, how they flow, and how long they take."""

from __future__ import annotations

import statistics

import pytest

from .frames import is_normal
from .lines import must_tell, silences_of
from .outcome import Absent, Inapplicable, Missed
from .server import Server

READS = 40
ROUNDING = 1e-6
"""What the arithmetic of instants may lose (seconds)."""


@pytest.mark.requirement("RTU-16")
def test_answer_keeps_the_silence_before_it(server: Server) -> None:
    times = silences_of(server)
    must_tell(server, times.between, "t3.5")
    shortest = float("inf")
    for what, pdu in (("a read", server.read()), ("a read of quantity 0", server.read(0))):
        talk = server.connect()
        server.ask(talk, server.request(pdu), what)
        if not talk.stamps:
            raise Inapplicable("the port does not stamp bytes")
        silence = talk.stamps[0].latest - times.character - talk.sent_at
        shortest = min(shortest, silence)
        if silence < times.between - ROUNDING - 2 * server.resolution:
            raise Missed(
                f"the answer to {what} began {silence * 1000:.3f} ms after the request, "
                f"t3.5 is {times.between * 1000:.3f} ms"
            )
    server.note(f"{shortest * 1000:.3f} ms, t3.5 is {times.between * 1000:.3f} ms")


@pytest.mark.requirement("RTU-17")
def test_answer_has_no_silence_inside(server: Server) -> None:
    times = silences_of(server)
    must_tell(server, times.inside, "t1.5")
    longest = 0.0
    for quantity in range(1, server.facts.run + 1):
        talk = server.connect()
        answer = server.ask(talk, server.request(server.read(quantity)), f"a read of {quantity}")
        if len(talk.stamps) < len(answer.raw):
            raise Inapplicable("the port does not stamp every byte")
        gaps = [
            after.earliest - before.latest - times.character
            for before, after in zip(talk.stamps, talk.stamps[1:], strict=False)
        ]
        longest = max(longest, *gaps)
        if longest > times.inside + ROUNDING + 2 * server.resolution:
            at = gaps.index(max(gaps)) + 1
            raise Missed(
                f"the answer to a read of {quantity} has a silence of {longest * 1000:.3f} ms behind byte {at}, "
                f"t1.5 is {times.inside * 1000:.3f} ms"
            )
    server.note(f"at most {max(longest, 0.0) * 1000:.3f} ms, t1.5 is {times.inside * 1000:.3f} ms")


@pytest.mark.requirement("RTU-26")
def test_answers_come_in_the_stated_time(server: Server) -> None:
    stated = server.capabilities.response_time
    assert stated is not None, "the row needs it"
    character = 0.0 if server.silences is None else server.silences.character
    took: list[float] = []
    for _ in range(READS):
        talk = server.connect()
        answer = server.ask(talk, server.request(server.read()))
        took.append(max(0.0, talk.arrived_at - talk.sent_at - len(answer.raw) * character))
    took.sort()
    p50, p99 = statistics.median(took), took[int(0.99 * len(took))]
    seen = f"p50 {p50 * 1000:.2f} ms, p99 {p99 * 1000:.2f} ms of {READS} reads; stated are {stated * 1000:.0f} ms"
    if p50 > stated + server.resolution:
        raise Missed(f"answers take longer than stated: {seen}")
    if p99 > stated + server.resolution:
        raise Absent(f"some answers take longer than stated: {seen}")
    server.note(seen)


@pytest.mark.requirement("RTU-27")
def test_request_during_an_answer_does_not_mix_frames(server: Server) -> None:
    quantity = (
        125
        if is_normal(server.ask(server.connect(), server.request(server.read(125))), server.facts.function, 125)
        else server.facts.run
    )
    talk = server.connect()
    talk.send(server.request(server.read(quantity)))
    if not talk.begins():
        raise Absent(f"a read of {quantity} was not answered")
    talk.send(server.request(server.read()), at_once=True, note="while the answer comes")
    data = talk.anything(server.timing.answer / 2)
    frames = server.carrier.split(data, complete=True)
    broken = [frame for frame in frames if frame.problem is not None]
    if broken:
        raise Missed(f"what came is not made of whole answers: {broken[0].says()}")
    server.note(f"{len(frames)} whole answers to two requests")
