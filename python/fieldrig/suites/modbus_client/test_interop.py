"""What the client makes of tokio-modbus, a server that clients meet in the field: an ordinary session."""

from __future__ import annotations

import pytest

from fieldrig.suites.common.outcome import Inapplicable, Missed, Undecided

from .client import Client
from .driver import Outcome
from .field import FieldServer

FIRST = 10
LATE = 2.0
"""How long an answer that was not there in time is waited for (seconds)."""
REGISTERS = [0x1234, 0xFFFF, 0, 0x8001]
BITS = [1, 0, 0, 1, 1, 0, 1, 0, 1, 1]
TABLES = {
    "holding": {FIRST: REGISTERS},
    "input": {FIRST: [~value & 0xFFFF for value in REGISTERS]},
    "coils": {FIRST: BITS},
    "discrete": {FIRST: [1 - bit for bit in BITS]},
}
READS = {"read_holding": "holding", "read_input": "input", "read_coils": "coils", "read_discrete_inputs": "discrete"}
WRITES = {
    "write_register": ("holding", [0x5678]),
    "write_registers": ("holding", [0x0102, 0xFEFF, 7]),
    "write_coil": ("coils", [0]),
    "write_coils": ("coils", [0, 1, 1, 0, 0, 1, 0, 1, 0]),
}


def must_be_in_time(client: Client, server: FieldServer, outcome: Outcome, what: str) -> None:
    """Whoever gave up before tokio-modbus had answered proves nothing. Raises `Undecided`."""
    told = len(client.station.sent) > client.sent_before
    if outcome.error == "timeout" and not told and server.answers(LATE):
        raise Undecided(f"{what}: tokio-modbus answered late (this machine was busy)")


@pytest.mark.requirement("INT-11")
def test_every_table_is_read(client: Client) -> None:
    client.open()
    read = []
    with FieldServer(client.over, TABLES) as server:
        for call, table in READS.items():
            values = TABLES[table][FIRST]
            outcome = client.call(call, server.script, address=FIRST, count=len(values))
            if outcome.error != "unsupported":
                what = f"{call} of {len(values)} from {FIRST}"
                must_be_in_time(client, server, outcome, what)
                client.must_give(outcome, values, what)
                read.append(table)
    if not read:
        raise Inapplicable("the client has no call that reads a table")
    client.note(", ".join(read))


@pytest.mark.requirement("INT-12")
def test_what_is_written_stands_there(client: Client) -> None:
    client.open()
    written = []
    with FieldServer(client.over, TABLES) as server:
        for call, (table, values) in WRITES.items():
            items = [bool(value) for value in values] if table == "coils" else values
            given = {"value": items[0]} if call in ("write_register", "write_coil") else {"values": items}
            outcome = client.call(call, server.script, address=FIRST, **given)
            if outcome.error == "unsupported":
                continue
            what = f"{call} of {values} to {FIRST}"
            must_be_in_time(client, server, outcome, what)
            if outcome.error is not None:
                raise client.absent(f"{what} ended with {outcome.says()}")
            held = list(server.holds(table, FIRST, len(values)))
            if held != values:
                raise Missed(f"after {what} tokio-modbus holds {held}")
            written.append(call)
    if not written:
        raise Inapplicable("the client has no call that writes")
    client.note(", ".join(written))


@pytest.mark.requirement("INT-13")
def test_a_refusal_is_an_exception(client: Client) -> None:
    client.open()
    with FieldServer(client.over, TABLES) as server:
        what = "a read of registers that are not there"
        outcome = client.read(server.script, FIRST + len(REGISTERS) - 1, 2)
        client.must_be_possible(outcome, what)
        must_be_in_time(client, server, outcome, what)
        if outcome.error is None:
            raise Missed(f"{what} gave {outcome.says()}")
        if outcome.error in ("timeout", "lost"):
            raise client.absent(f"{what}, which tokio-modbus refuses, ended with {outcome.says()}")
        if (outcome.error, outcome.code) != ("exception", 2):
            raise Missed(f"{what} is exception 02; it is reported as {outcome.says()}")
        what, outcome = "the read behind the refusal", client.read(server.script, FIRST, 2)
        must_be_in_time(client, server, outcome, what)
        client.must_give(outcome, REGISTERS[:2], what)
