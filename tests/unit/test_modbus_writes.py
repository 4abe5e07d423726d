"""What rows of the suite for Modbus servers may write, and that it is as before when they end, however they end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from fieldrig.suites.modbus_server import permission, rows
from fieldrig.suites.modbus_server.functions import require
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Excluded, Inapplicable, Missed, Requirement, requirements
from fieldrig.suites.modbus_server.pdus import write_register, write_registers
from fieldrig.suites.modbus_server.permission import PermissionInvalid, parse
from fieldrig.suites.modbus_server.saboteurs.base import patched
from fieldrig.suites.modbus_server.saboteurs.device import emulated
from fieldrig.suites.modbus_server.saboteurs.patch import Patch, exception
from fieldrig.suites.modbus_server.server import Server
from fieldrig.suites.modbus_server.tables import read
from fieldrig.suites.modbus_server.writes import ask, put, run_of, undisturbed, unrestored

WRITING = Requirement("X-01", "must", "tested", "AP 1", "a statement.", writes=("holding",))
VALUES = [100, 101, 102]


@pytest.fixture
def server() -> Iterator[Server]:
    with emulated(on="memory") as server:
        server.begin()
        yield server


def writing(then: Callable[[Server], None] = lambda server: None) -> Callable[[Server], None]:
    def row(server: Server) -> None:
        put(server, "holding", 100, [7, 8, 9])
        then(server)

    return row


# -- permission ----------------------------------------------------------------------------------------------------


def test_places_are_joined_and_told_apart() -> None:
    given = parse(["holding:100-199", "holding:200", "coils:3", "file4:0-9"], ["restart"])
    assert given.places == {"holding": ((100, 200),), "coils": ((3, 3),), "file4": ((0, 9),)}
    assert given.run("holding", 101) == 100 and given.run("holding", 102) is None
    assert given.writable("coils", 3) and not given.writable("coils", 4)


@pytest.mark.parametrize(
    ("writable", "allow", "complaint"),
    [
        (["input:0-9"], [], "input can only be read"),
        (["holding"], [], "'holding' is no place that can be written; TABLE:FIRST-LAST"),
        (["holding:9-3"], [], "the first is not behind the last"),
        (["holding:0-65536"], [], "addresses go from 0 to 65535"),
        ([], ["restrt"], "'restrt' is nothing that can be allowed; did you mean `restart`?"),
    ],
)
def test_a_permission_that_makes_no_sense_is_told(writable: list[str], allow: list[str], complaint: str) -> None:
    with pytest.raises(PermissionInvalid) as caught:
        parse(writable, allow)
    assert complaint in str(caught.value)


def test_without_permission_a_row_that_writes_is_not_run(server: Server) -> None:
    server.permission = permission.Permission()
    row = judge(WRITING, writing(), server)
    assert (row.verdict, server.written) == ("not run", 0)
    assert "--writable holding:FIRST-LAST" in row.says


def test_without_permission_a_server_is_not_restarted(server: Server) -> None:
    server.permission = replace(server.permission, allow=frozenset())
    row = judge(replace(WRITING, allow=("restart",)), writing(), server)
    assert (row.verdict, row.says) == ("not run", "it needs --allow restart")


def test_a_request_is_not_sent_if_a_wrong_server_could_go_too_far_with_it(server: Server) -> None:
    server.permission = parse(["holding:100-101"])
    row = judge(WRITING, lambda subject: ask_three(subject), server)
    assert (row.verdict, server.written) == ("not run", 0)
    assert "could write holding 100 to 102" in row.says


def ask_three(server: Server) -> None:
    ask(server, "holding", 100, 3, write_registers(100, [1], quantity=3), "a lie")


def test_the_number_of_writes_is_capped_and_restoring_is_not(server: Server) -> None:
    server.permission = replace(server.permission, max_writes=1)

    def row(server: Server) -> None:
        put(server, "holding", 100, [1])
        put(server, "holding", 100, [2])

    judged = judge(WRITING, row, server)
    assert judged.verdict == "not run" and "--max-writes" in judged.says
    assert server.written == 2
    assert read(server, "holding", 100, 1) == [100]


# -- restoring -----------------------------------------------------------------------------------------------------


def missed(server: Server) -> None:
    raise Missed("wrong")


def test_what_a_row_wrote_is_restored(server: Server) -> None:
    assert judge(WRITING, writing(), server).verdict == "pass"
    assert read(server, "holding", 100, 3) == VALUES


def test_what_a_row_that_fails_wrote_is_restored(server: Server) -> None:
    assert judge(WRITING, writing(missed), server).verdict == "fail"
    assert read(server, "holding", 100, 3) == VALUES


def test_what_an_interrupted_row_wrote_is_restored(server: Server) -> None:
    def interrupted(server: Server) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(WRITING, writing(interrupted), server)
    assert read(server, "holding", 100, 3) == VALUES


def test_what_stands_as_before_is_not_written_again(server: Server) -> None:
    judge(WRITING, lambda subject: put(subject, "holding", 100, VALUES), server)
    assert server.written == 1


class SticksAtSeven(Patch):
    """Register 100 cannot be given another value any more once it is 7."""

    def request(self, pdu: bytes) -> bytes | None:
        now = self.server(b"\x03\x00\x64\x00\x01")
        stuck = pdu[0] in (6, 16) and now == b"\x03\x02\x00\x07"
        return b"\x03\x00\x64\x00\x01" if stuck else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu[:5] if pdu[0] in (6, 16) else answer


def test_what_cannot_be_restored_is_said_with_address_and_value() -> None:
    with emulated(patched(SticksAtSeven), "memory") as server:
        row = judge(WRITING, writing(), server)
        assert row.verdict == "pass"
        assert "NOT RESTORED: holding 100 to 102 were 0064 0065 0066" in row.says
        assert [lost.partition(":")[0] for lost in server.unrestored] == ["holding 100 to 102 were 0064 0065 0066"]


def test_what_was_lost_for_different_reasons_or_apart_is_said_apart() -> None:
    lost = {("holding", at): (at, "silent") for at in (7, 8, 9, 20)} | {("coils", 3): (1, "refused")}
    assert unrestored(lost) == [
        "coils 3 was 0001: refused",
        "holding 7 to 9 were 0007 0008 0009: silent",
        "holding 20 was 0014: silent",
    ]


class LosesOneWrite(Patch):
    """Does not do the third write of a record, and says it did."""

    writes = 0

    def request(self, pdu: bytes) -> bytes | None:
        self.writes += pdu[0] == 21
        return b"\x14\x07" + pdu[2:9] if pdu[0] == 21 and self.writes == 3 else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return pdu if pdu[0] == 21 and self.writes == 3 else answer


def test_records_of_files_are_restored_as_persistently_as_registers() -> None:
    patch = LosesOneWrite()
    with emulated(patched(lambda: patch), "memory") as server:
        before = read(server, "file4", 10, 4)
        row = judge(requirements()["FC21-01"], rows.tests()["FC21-01"], server)
        assert (row.verdict, patch.writes) == ("pass", 7), row.says
        assert read(server, "file4", 10, 4) == before and not server.unrestored


# -- functions -----------------------------------------------------------------------------------------------------


class GoesAway(Patch):
    """Says nothing while it is away."""

    away = False

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return None if self.away else answer


def test_what_could_not_be_restored_is_restored_once_the_server_is_back() -> None:
    patch = GoesAway()

    def leaves(server: Server) -> None:
        patch.away = True

    with emulated(patched(lambda: patch), "memory") as server:
        assert "NOT RESTORED: holding 100 to 102 were 0064 0065 0066" in judge(WRITING, writing(leaves), server).says
        patch.away = False
        assert read(server, "holding", 100, 3) == [7, 8, 9]
        judge(WRITING, lambda subject: None, server)
        assert read(server, "holding", 100, 3) == VALUES and not server.unrestored and not server.owed


def test_a_server_that_is_silent_before_a_write_is_not_said_to_lack_what_is_written() -> None:
    patch = GoesAway()

    def leaves(server: Server) -> None:
        patch.away = True
        ask_three(server)

    with emulated(patched(lambda: patch), "memory") as server:
        assert judge(WRITING, leaves, server).verdict == "inconclusive"


def test_who_wants_the_run_to_end_while_it_restores_is_heard_afterwards() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), undisturbed():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done


class WritesOneByOne(Patch):
    """Does not have function 16."""

    def request(self, pdu: bytes) -> bytes | None:
        return b"\x41" if pdu[0] == 16 else pdu

    def answer(self, pdu: bytes, answer: bytes | None) -> bytes | None:
        return exception(pdu, 1) if pdu[0] == 16 else answer


def test_a_server_that_writes_registers_one_by_one_is_restored_so() -> None:
    with emulated(patched(WritesOneByOne), "memory") as server:
        assert judge(WRITING, writing(), server).verdict == "pass"
        assert read(server, "holding", 100, 3) == VALUES and not server.unrestored


def test_a_function_that_nobody_declares_and_the_server_lacks_is_excluded() -> None:
    with emulated(patched(WritesOneByOne), "memory") as server:
        server.begin()
        server.capabilities = replace(server.capabilities, functions=None)
        require(server, 6)
        with pytest.raises(Excluded, match="function 16 got exception 01"):
            require(server, 16)
        assert read(server, "holding", 100, 1) == [100]


def test_a_declared_function_is_there_and_an_undeclared_one_does_not_apply(server: Server) -> None:
    require(server, 16)
    with pytest.raises(Inapplicable, match="function 17 is not among the declared ones"):
        require(server, 17)


def test_a_declared_function_that_the_server_lacks_is_a_fail() -> None:
    def row(server: Server) -> None:
        from fieldrig.suites.modbus_server.test_fc15_16 import test_registers_are_written

        test_registers_are_written(server)

    with emulated(patched(WritesOneByOne), "memory") as server:
        judged = judge(replace(WRITING, functions=(16, 3)), row, server)
    assert judged.verdict == "fail"
    assert "exception 01" in judged.says


def test_every_function_that_a_row_needs_can_be_asked_for(server: Server) -> None:
    server.capabilities = replace(server.capabilities, functions=None)
    needed = {function for requirement in requirements().values() for function in requirement.functions}
    missing = set()
    for function in sorted(needed):
        try:
            require(server, function)
        except Excluded:
            missing.add(function)
    assert missing == {7, 8, 11, 12, 17}, "the device has all the others on this carrier"


def test_a_function_that_writes_is_asked_for_with_the_value_that_stands_there(server: Server) -> None:
    server.capabilities = replace(server.capabilities, functions=None)
    before = read(server, "holding", 100, 1)
    for function in (6, 16, 22, 23):
        require(server, function)
    assert read(server, "holding", run_of(server, "holding", 1), 1) == before
    written = [exchange.data for exchange in server.exchanges if exchange.what == "sent"]
    assert any(data.endswith(write_register(100, before[0])) for data in written)
