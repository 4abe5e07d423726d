"""TCP is a stream: requests come in pieces, several at once, and before the answer to the one before."""

from __future__ import annotations

import pytest

from .frames import Adu, is_normal
from .outcome import Absent, Inapplicable, Missed
from .server import Server, Talk


def one_normal_answer(server: Server, talk: Talk, what: str) -> None:
    server.expect_normal(talk, what)
    more = talk.anything(server.timing.settle)
    if more:
        raise Missed(f"{what} got its answer and {len(more)} more bytes: {more[:12].hex(' ')}")


@pytest.mark.requirement("MBAP-06")
def test_request_in_single_bytes_is_answered(server: Server) -> None:
    talk = server.connect()
    request = server.request(server.read())
    talk.send(*(request[index : index + 1] for index in range(len(request))), gap=0.010)
    one_normal_answer(server, talk, "a request sent byte by byte")


@pytest.mark.requirement("MBAP-07")
def test_request_in_two_pieces_is_answered(server: Server) -> None:
    for at in (3, 6, 7, 10):
        talk = server.connect()
        request = server.request(server.read())
        talk.send(request[:at], request[at:], gap=0.020)
        one_normal_answer(server, talk, f"a request split after byte {at}")
        talk.close()


@pytest.mark.requirement("MBAP-16")
def test_rest_of_a_request_is_waited_for(server: Server) -> None:
    talk = server.connect()
    request = server.request(server.read())
    talk.send(request[:9], request[9:], gap=0.100)
    one_normal_answer(server, talk, "a request whose last 3 bytes came 100 ms later")


class Volley:
    """Reads of different lengths, so that each answer shows which request it belongs to."""

    def __init__(self, server: Server, count: int) -> None:
        self.server = server
        self.requests: dict[int, tuple[int, bytes]] = {}
        for index in range(count):
            quantity = 1 + index % server.facts.run
            transaction = server.next_transaction()
            self.requests[transaction] = (quantity, server.request(server.read(quantity), transaction=transaction))

    @property
    def segments(self) -> list[bytes]:
        return [request for _, request in self.requests.values()]

    def check(self, answers: list[Adu]) -> tuple[int, int, int]:
        """How many requests were answered, refused as busy, and lost. Raises `Missed` if an answer is wrong."""
        busy = sum(answer.exception == 6 for answer in answers)
        seen: set[int] = set()
        for answer in answers:
            if answer.transaction not in self.requests:
                raise Missed(f"an answer has transaction id {answer.transaction:04X}, which no request had")
            if answer.transaction in seen:
                raise Missed(f"two answers have transaction id {answer.transaction:04X}")
            seen.add(answer.transaction)
            quantity = self.requests[answer.transaction][0]
            if answer.exception != 6 and not is_normal(answer, self.server.facts.function, quantity):
                raise Missed(f"the read of {quantity} ({answer.transaction:04X}) got {answer.says()}")
        return len(answers) - busy, busy, len(self.requests) - len(answers)


def all_answered(server: Server, volley: Volley, answers: list[Adu]) -> None:
    """Every request must be answered, as far as the server declares that it handles so many at a time."""
    count = len(volley.requests)
    declared = server.capabilities.max_transactions
    answered, busy, lost = volley.check(answers)
    if answered == count:
        server.note(f"{count} of {count} answered")
    elif declared is None:
        raise Inapplicable(
            f"{answered} of {count} answered, {busy} refused as busy, {lost} lost; max_transactions is not declared"
        )
    elif declared < count:
        raise Inapplicable(f"{count} requests at a time are more than the declared {declared}")
    elif busy:
        raise Missed(f"{busy} of {count} requests were refused as busy, {declared} at a time are declared")
    else:
        raise Absent(f"{lost} of {count} requests were not answered")


@pytest.mark.requirement("MBAP-08")
def test_three_requests_in_one_segment_are_answered(server: Server) -> None:
    talk = server.connect()
    volley = Volley(server, 3)
    talk.send(b"".join(volley.segments), note="three requests in one segment")
    all_answered(server, volley, talk.answers(3))


@pytest.mark.requirement("MBAP-09")
def test_next_request_need_not_wait_for_the_answer(server: Server) -> None:
    # In one segment the second one surely comes before the answer; later ones meet the server at work, or not.
    latency = min(server.facts.latency, 0.020)
    for round_ in range(12):
        talk = server.connect()
        volley = Volley(server, 2)
        if round_ % 3:
            talk.send(*volley.segments, gap=round_ % 3 * latency / 4)
        else:
            talk.send(b"".join(volley.segments))
        answers = talk.answers(2)
        talk.close()
        server.notes.clear()
        all_answered(server, volley, answers)


@pytest.mark.requirement("MBAP-10")
def test_no_request_is_dropped_silently(server: Server) -> None:
    # No server handles more than 16 at a time (MG 4.4.2.1), so 20 are too many for any.
    volley = Volley(server, (server.capabilities.max_transactions or 16) + 4)
    talk = server.connect()
    talk.send(b"".join(volley.segments))
    answered, busy, lost = volley.check(talk.answers(len(volley.requests)))
    seen = f"of {len(volley.requests)} in flight {answered} answered, {busy} refused as busy"
    if lost:
        raise Absent(f"{seen}, {lost} dropped silently{' and the connection closed' if talk.ended else ''}")
    server.note(seen if busy else f"{seen}: the server lets them wait in the socket")


@pytest.mark.requirement("MBAP-11")
def test_answers_that_come_together(server: Server) -> None:
    talk = server.connect()
    volley = Volley(server, 3)
    talk.send(b"".join(volley.segments))
    answers = talk.answers(3)
    server.note(f"{len(answers)} answers to 3 requests in one segment came in {talk.reads} pieces")
