"""Answers that are wrong below the frame: functions, counts, echoes; and what a client must not ask."""

from __future__ import annotations

import functools
import struct
from typing import Any

import pytest

from fieldrig.suites.common.outcome import Absent, Inapplicable, Missed, Undecided

from . import memory
from .calls import EVERY_CALL, READS
from .client import Client, right, silent, wrong
from .driver import Outcome
from .frames import Request
from .station import Reply, Script
from .test_transactions import POISON, must_be_asked, poison

CODES = (1, 2, 3, 4, 5, 6, 7, 8, 0x0A, 0x0B, 0x63)
TRIES = 3
LOOPS = 25
"""After so many requests a read of the identification does not end by itself."""


OTHERS: tuple[tuple[str, int, bytes], ...] = (
    ("read_input", 4, memory.registers_pdu(3, POISON[:1])),
    ("read_coils", 1, memory.bits_pdu(2, (True,) * 19)),
    ("write_register", 6, bytes.fromhex("05 0006 1234")),
)
"""Calls, their functions, and what would be the right answer if its function were the right one."""


def tried(client: Client, call: str, script: Script) -> Outcome | None:
    """A call with its usual arguments (`EVERY_CALL`) by a client that is opened anew; `None` if it has none such."""
    client.open()
    outcome = client.call(call, script, **EVERY_CALL[call])
    return None if outcome.error == "unsupported" else outcome


@pytest.mark.requirement("CLI-09")
def test_answer_of_another_function_is_rejected(client: Client) -> None:
    for function in (4, 1, 0x41):
        client.open()
        outcome = client.read(wrong(poison(function)))
        client.must_reject(outcome, f"an answer with function {function:02X} for 03")
    for call, function, answer in OTHERS:
        found = tried(client, call, wrong(answer))
        if found is not None:
            client.must_reject(found, f"an answer with function {answer[0]:02X} for {function:02X}")


@pytest.mark.requirement("CLI-10")
def test_exception_of_another_function_is_malformed(client: Client) -> None:
    for function in (4, 6):
        client.open()
        outcome = client.read(wrong(bytes([function | 0x80, 2])))
        what = f"an exception of function {function:02X} for 03"
        client.must_reject(outcome, what)
        if outcome.error == "exception":
            raise Missed(f"{what} is reported as {outcome.says()} of this call")
    for call, function in (("write_register", 0x10), ("read_coils", 0x02)):
        what = f"an exception of function {function:02X} for a {call}"
        found = tried(client, call, wrong(bytes([function | 0x80, 2])))
        if found is not None:
            client.must_reject(found, what)
        if found is not None and found.error == "exception":
            raise Missed(f"{what} is reported as {found.says()} of this call")


@pytest.mark.requirement("CLI-11")
def test_byte_count_that_lies_is_rejected(client: Client) -> None:
    data = struct.pack(">HHH", *POISON, 0xCAFE)
    for count, present in ((4, 2), (2, 4), (6, 4), (0, 4), (255, 4)):
        client.open()
        outcome = client.read(wrong(bytes([3, count]) + data[:present]))
        client.must_reject(outcome, f"byte count {count} with {present} bytes")
    for call, pdu in (
        ("read_input", bytes.fromhex("04 01 dead")),
        ("read_coils", bytes.fromhex("01 02 ffffff")),
        ("read_discrete_inputs", bytes([2, 249]) + bytes(250)),
        ("read_write_registers", bytes([23, 10]) + bytes(12)),
    ):
        found = tried(client, call, wrong(pdu))
        if found is not None:
            client.must_reject(found, f"{call}: byte count {pdu[1]} with {len(pdu) - 2} bytes")


@pytest.mark.requirement("CLI-12")
def test_other_quantity_than_asked_is_rejected(client: Client) -> None:
    for values in (POISON[:1], (*POISON, 0xCAFE), ()):
        client.open()
        outcome = client.read(wrong(memory.registers_pdu(3, values)))
        client.must_reject(outcome, f"{len(values)} registers instead of 2")
    for count in (1, 4):
        client.open()
        answer = memory.bits_pdu(1, (True,) * (8 * count))
        outcome = client.call("read_coils", wrong(answer), address=0, count=10)
        if outcome.error != "unsupported":
            client.must_reject(outcome, f"{count} bytes of coils instead of 2")
    for call, pdu in (
        ("read_input", memory.registers_pdu(4, POISON)),
        ("read_discrete_inputs", memory.bits_pdu(2, (True,) * 1992)),
        ("read_write_registers", memory.registers_pdu(23, POISON)),
    ):
        found = tried(client, call, wrong(pdu))
        if found is not None:
            client.must_reject(found, f"{call}: {len(pdu) - 2} bytes, another quantity than asked")
    right_answers_give_what_was_asked(client)


def right_answers_give_what_was_asked(client: Client) -> None:
    """Raises `Missed`, `Absent`."""
    for call in ("read_coils", "read_discrete_inputs", "read_holding", "read_input", "read_write_registers"):
        outcome = tried(client, call, right)
        if outcome is None:
            continue
        arguments = EVERY_CALL[call]
        address, count = arguments["read_address" if "read_address" in arguments else "address"], arguments["count"]
        bits = call in ("read_coils", "read_discrete_inputs")
        of = memory.bits if bits else memory.registers
        function = {**READS, "read_write_registers": 3}[call]
        client.must_give(outcome, of(function, address, count), f"{call}, {count} from {address}")


@pytest.mark.requirement("CLI-13")
def test_odd_byte_count_is_rejected(client: Client) -> None:
    data = struct.pack(">HHH", *POISON, 0xCAFE)
    for count in (3, 5):
        client.open()
        outcome = client.read(wrong(bytes([3, count]) + data[:count]))
        client.must_reject(outcome, f"byte count {count}, as many bytes")
    found = tried(client, "read_input", wrong(bytes.fromhex("04 03 deadbe")))
    if found is not None:
        client.must_reject(found, "byte count 3 for an input register")


def refusing(request: Request, reply: Reply) -> None:
    """The script of a server that has no such address (AP 7)."""
    reply.send(bytes([request.function | 0x80, 2]))


@pytest.mark.requirement("CLI-15")
def test_exceptions_are_reported_with_their_code(client: Client) -> None:
    for code in CODES:
        client.open()
        outcome = client.read(wrong(bytes([0x83, code])))
        what = f"exception {code:02X}"
        if outcome.error is None:
            raise Missed(f"{what}: the call gave {outcome.says()}")
        if outcome.error != "exception" and not client.requests:
            raise client.absent(f"{what}: the client sent nothing ({outcome.says()})")
        if outcome.error == "timeout":
            raise client.absent(f"{what} is reported as {outcome.says()}")
        if outcome.error != "exception" or outcome.code != code:
            raise Missed(f"{what} is reported as {outcome.says()}")
    for call in EVERY_CALL:
        found = tried(client, call, refusing)
        if found is None or not client.requests:
            continue
        if found.error == "timeout":
            raise client.absent(f"{call}: exception 02 is reported as {found.says()}")
        if found.error != "exception" or found.code != 2:
            raise Missed(f"{call}: exception 02 is reported as {found.says()}")
    client.note(", ".join(f"{code:02X}" for code in CODES))


@pytest.mark.requirement("CLI-17")
def test_time_out_is_kept(client: Client) -> None:
    timeout = 2 * client.timing.timeout
    client.open(timeout=timeout)
    slow = max(overhead(client) for _ in range(TRIES))
    stated = float(client.facts.get("timeout") or timeout)
    expected = stated * (1 + client.retries)
    spans = []
    for _ in range(TRIES):
        outcome = client.read(silent)
        if outcome.error is None:
            raise Missed(f"a call that nobody answered gave {outcome.says()}")
        if not client.requests:
            raise client.absent(f"the client sent nothing ({outcome.says()})")
        if outcome.error != "timeout":
            raise Missed(f"no answer is reported as {outcome.says()}, not as a time-out")
        spans.append(duration(outcome, client.requests[0], slow))
    client.must_read("the call behind time-outs", address=900)
    shown = ", ".join(f"{low * 1000:.0f}..{high * 1000:.0f}" for low, high in spans)
    client.note(f"set to {expected * 1000:.0f} ms, took {shown} ms")
    if any(high < 0.9 * expected for _, high in spans):
        raise Missed(f"the time-out is {expected * 1000:.0f} ms; calls ended after {shown} ms")
    if any(low >= 0.9 * expected and high <= 1.1 * expected for low, high in spans):
        nothing_prolongs_it(client, timeout, slow)
        return
    if all(low > 1.1 * expected for low, _ in spans) and not client.stalled:
        raise client.absent(f"the time-out is {expected * 1000:.0f} ms; calls ended after {shown} ms")
    raise Undecided(f"the time-out is {expected * 1000:.0f} ms; calls ended after {shown} ms: not known well enough")


def nothing_prolongs_it(client: Client, timeout: float, slow: float) -> None:
    """Answers to others are none. Bytes of a frame that is never whole may be the beginning of one: that is told."""
    for what, script, judged in (
        ("answers to others, again and again", babble, True),
        ("an answer that comes in bytes and is never whole", trickle, False),
    ):
        client.open(timeout=timeout)
        client.must_read("a read before")
        stated = float(client.facts.get("timeout") or timeout)
        outcome = client.read(functools.partial(script, timeout=stated), count=100)
        if not client.requests:
            raise client.absent(f"the client sent nothing ({outcome.says()})")
        low, high = duration(outcome, client.requests[0], slow)
        if judged and low > 1.1 * stated * (1 + client.retries):
            text = f"{what}, and a time-out of {stated * 1000:.0f} ms: the call took {low * 1000:.0f} ms or more"
            raise client.absent(text)
        client.note(f"{what}: {outcome.says()} after {high * 1000:.0f} ms")  # what is taken, others judge


def trickle(request: Request, reply: Reply, timeout: float) -> None:
    """Bytes of an answer, so far apart that all but the last come in time only for who waits for each anew."""
    data = reply.framing.answer(request, memory.good(request))
    reply.pieces([data[at : at + 1] for at in range(5)], 0.4 * timeout)


def babble(request: Request, reply: Reply, timeout: float) -> None:
    """Answers of another unit with another transaction id, as often."""
    for index in range(5):
        other = (request.transaction + 100 + index) % 0x10000
        reply.raw(reply.framing.answer(request, poison(), unit=2, transaction=other), after=0.4 * timeout * index)


def overhead(client: Client) -> float:
    """How long it takes at most from our answer until the driver tells what came of it (seconds)."""
    outcome = client.read(right)
    client.must_give(outcome, memory.registers(3, 0, 2), "a read before")
    return outcome.ended - client.requests[-1].at


def duration(outcome: Outcome, request: Request, slow: float) -> tuple[float, float]:
    """How long the client waited: at least, at most. It began after the call began, before the request was seen.

    Args:
        slow: how long the driver may take to tell that the call ended, if it does not say how long the call took.
    """
    before = request.at - outcome.began
    if outcome.took is not None:
        return max(outcome.took - before, 0.0), outcome.took
    took = outcome.ended - outcome.began
    return max(took - before - slow, 0.0), took


WRITES: tuple[tuple[str, dict[str, Any], tuple[tuple[str, int, int], ...]], ...] = (
    ("write_coil", {"address": 10, "value": True}, (("address", 1, 11), ("value", 3, 0))),
    ("write_register", {"address": 10, "value": 0x1234}, (("address", 1, 11), ("value", 3, 0x4321))),
    ("write_coils", {"address": 10, "values": [True, False, True]}, (("address", 1, 11), ("quantity", 3, 4))),
    ("write_registers", {"address": 10, "values": [1, 2]}, (("address", 1, 11), ("quantity", 3, 3))),
    (
        "mask_write",
        {"address": 10, "and_mask": 0x00F2, "or_mask": 0x0025},
        (("address", 1, 11), ("and mask", 3, 0x00F3), ("or mask", 5, 0x0125)),
    ),
)
"""Calls, arguments, and each field of the answer: name, place in the PDU, wrong value."""


@pytest.mark.requirement("CLI-20")
def test_echo_that_differs_is_rejected(client: Client) -> None:
    seen = 0
    for call, arguments, fields in WRITES:
        for name, place, value in fields:
            client.open()

            def changed(pdu: bytes, place: int = place, value: int = value) -> bytes:
                return pdu[:place] + struct.pack(">H", value) + pdu[place + 2 :]

            outcome = client.call(call, wrong(changed), **arguments)
            if outcome.error == "unsupported":
                break
            client.must_reject(outcome, f"{call}: another {name} in the answer")
            seen += 1
    if not seen:
        raise Inapplicable("the client does not write")
    for call, arguments, _ in WRITES:
        client.open()
        outcome = client.call(call, right, **arguments)
        if outcome.error is not None and outcome.error != "unsupported":
            raise client.absent(f"{call}: the right answer, and the call ended with {outcome.says()}")
        must_be_asked(client, call, arguments)


ILLEGAL: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("0 registers", "read_holding", {"address": 0, "count": 0}),
    ("126 registers", "read_holding", {"address": 0, "count": 126}),
    ("0 coils", "read_coils", {"address": 0, "count": 0}),
    ("2001 coils", "read_coils", {"address": 0, "count": 2001}),
    ("registers 65535 and 65536", "read_holding", {"address": 65535, "count": 2}),
    ("register 65536", "read_holding", {"address": 65536, "count": 1}),
    ("no register to write", "write_registers", {"address": 0, "values": []}),
    ("124 registers to write", "write_registers", {"address": 0, "values": [1] * 124}),
    ("1969 coils to write", "write_coils", {"address": 0, "values": [True] * 1969}),
)


@pytest.mark.requirement("CLI-21")
def test_illegal_requests_are_refused_before_they_are_sent(client: Client) -> None:
    refused = 0
    for what, call, arguments in ILLEGAL:
        client.open()
        outcome = client.call(call, silent, **arguments)
        if outcome.error == "unsupported":
            continue
        client.wait(client.timing.settle)
        if client.requests:
            raise Missed(f"{what}: the request was sent, {client.requests[0].pdu[:8].hex(' ')}")
        if outcome.error is None and outcome.values:
            raise Missed(f"{what}: nothing was sent, and the call gave {outcome.says()}")
        refused += 1
    client.note(f"{refused} refused")


@pytest.mark.requirement("CLI-22")
def test_busy_device_is_not_asked_again_blindly(client: Client) -> None:
    for code in (5, 6):
        client.open()
        outcome = client.read(wrong(bytes([0x83, code])))
        client.wait(client.timing.timeout)
        if not client.requests:
            raise client.absent(f"the client sent nothing ({outcome.says()})")
        if len(client.requests) > 1:
            first, second = client.requests[:2]
            after = (second.at - first.at) * 1000
            raise Missed(f"exception {code:02X}: asked {len(client.requests)} times, the second after {after:.0f} ms")
        client.note(f"{code:02X}: asked once")


@pytest.mark.requirement("CLI-23")
def test_identification_that_goes_in_circles_ends(client: Client) -> None:
    for what, following in (("the same object again", (0, 0, 0)), ("objects backwards", (3, 2, 1))):
        client.open()
        asked: list[int] = []

        def script(
            request: Request, reply: Reply, following: tuple[int, ...] = following, asked: list[int] = asked
        ) -> None:
            asked.append(request.pdu[3] if len(request.pdu) > 3 else -1)
            if len(asked) <= LOOPS:
                step = following[min(len(asked), len(following)) - 1]
                reply.send(memory.identification_pdu(1, {asked[-1]: b"again"}, step))

        try:
            outcome = client.call("read_device_id", script, code=1, object=0)
        except Absent:
            if len(asked) > LOOPS:
                raise Missed(f"{what}: asked more than {LOOPS} times") from None
            raise
        client.must_be_possible(outcome, what)
        if len(asked) > LOOPS:
            raise Missed(f"{what}: asked {len(asked)} times")
        if not asked:
            raise client.absent(f"the client sent nothing ({outcome.says()})")
        if outcome.error is None and len(asked) > 1:
            raise Missed(f"{what}: asked {len(asked)} times and gave {outcome.says()} as if that were all")
        client.note(f"{what}: asked {len(asked)} times, {outcome.says()}")


@pytest.mark.requirement("CLI-24")
def test_impossible_fifo_is_rejected(client: Client) -> None:
    values = tuple(range(0xDE00, 0xDE00 + 32))
    body = struct.pack(">HHH", *values[:3])
    client.open()
    good = client.call("read_fifo", right, address=24)
    client.must_be_possible(good, "a FIFO")
    if good.values != memory.FIFO:
        raise Inapplicable(f"the client does not read a right FIFO: {good.says()}")
    for what, pdu in (
        ("a FIFO of 32 registers", memory.fifo_pdu(values)),
        ("byte count 8, FIFO count 5, 3 registers", struct.pack(">BHH", 24, 8, 5) + body),
        ("byte count 6, FIFO count 3, 3 registers", struct.pack(">BHH", 24, 6, 3) + body),
        ("byte count 12, FIFO count 3, 3 registers", struct.pack(">BHH", 24, 12, 3) + body),
    ):
        client.open()
        client.must_reject(client.call("read_fifo", wrong(pdu), address=24), what)
