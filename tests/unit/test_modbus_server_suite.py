"""The judge of the suite for Modbus/TCP servers, against servers made of functions: it accuses nobody wrongly."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from fieldrig.suites import modbus_server
from fieldrig.suites.modbus_server import report
from fieldrig.suites.modbus_server.capabilities import Capabilities, CapabilityError, load, parse
from fieldrig.suites.modbus_server.carriers.tcp import adu, messages, split, taken_apart
from fieldrig.suites.modbus_server.frames import is_normal, read_pdu
from fieldrig.suites.modbus_server.judge import judge
from fieldrig.suites.modbus_server.outcome import Missed, Requirement, Row, Undecided, requirements
from fieldrig.suites.modbus_server.probe import ProbeFailure, probe
from fieldrig.suites.modbus_server.server import Server, Timing
from fieldrig.suites.modbus_server.wire import Arrival, Ending, WireError

MUST = Requirement("X-01", "must", "tested", "AP 1", "a statement")
SHOULD = Requirement("X-02", "should", "tested", "AP 1", "a statement")
REPORT = Requirement("X-03", "may", "report", "AP 1", "a statement", reason="reported only")
ANSWER = bytes.fromhex("0000 0000 0005 01 03 02 1234")
QUICK = Timing(answer=0.02, silence=0.01, settle=0.005)


def answering(request: bytes) -> bytes | None:
    """What a good server says to a read of one register."""
    return request[:2] + ANSWER[2:]


@dataclass
class Script:
    """A server: what it says to the n-th request of all connections; `refuses` turns connections down."""

    says: Callable[[int, bytes], bytes | None]
    refuses: Callable[[int], bool] = lambda _: False
    requests: int = 0
    connections: int = 0
    wires: list[ScriptedWire] = field(default_factory=list)

    def open(self, source: str | None) -> ScriptedWire:
        self.connections += 1
        if self.refuses(self.connections):
            raise WireError("refused", "Connection refused")
        self.wires.append(ScriptedWire(self))
        return self.wires[-1]


class ScriptedWire:
    """A connection to a script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._pending = b""
        self.closed = False

    @property
    def ended(self) -> Ending | None:
        return None

    def send(self, parts: Sequence[tuple[float, bytes]]) -> float | None:
        self._script.requests += 1
        self._pending += self._script.says(self._script.requests, b"".join(data for _, data in parts)) or b""
        return 0.0

    def receive(self, enough: Callable[[bytes], bool], within: float) -> Arrival | None:
        data, self._pending = self._pending, b""
        return Arrival(data, 0.0, 0.0) if data else None

    def close(self, how: Literal["fin", "rst", "half"]) -> None:
        self.closed = True


def server(script: Script, stalled: bool = False) -> Server:
    stalls = iter(range(1000))
    return Server(script.open, 1, Capabilities(), QUICK, lambda: next(stalls) if stalled else 0)


def one_read(server: Server) -> None:
    server.ask(server.connect(), server.request(server.read()), "a read")


def always(request_number: int, request: bytes) -> bytes | None:
    return answering(request)


def test_a_good_answer_passes() -> None:
    script = Script(always)
    row = judge(MUST, one_read, server(script))
    assert (row.verdict, row.says) == ("pass", "as it should be")
    assert [exchange.what for exchange in row.exchanges] == ["sent", "received"]
    assert all(wire.closed for wire in script.wires)


def test_forbidden_bytes_fail_a_must_and_advise_a_should() -> None:
    def row(_: Server) -> None:
        raise Missed("wrong bytes")

    for requirement, verdict in ((MUST, "fail"), (SHOULD, "advice"), (REPORT, "reported")):
        assert judge(requirement, row, server(Script(always))).verdict == verdict


def test_silence_is_held_against_a_server_that_answers_before_and_after() -> None:
    # Request 1 is the plain read before, 2 and 3 are the two tries, 4 is the plain read after.
    script = Script(lambda number, request: answering(request) if number in (1, 4) else None)
    row = judge(MUST, one_read, server(script))
    assert (row.verdict, script.requests) == ("fail", 4)
    assert row.says == "a read was not answered: nothing came"


def test_an_answer_at_the_second_try_is_inconclusive() -> None:
    script = Script(lambda number, request: answering(request) if number != 2 else None)
    row = judge(MUST, one_read, server(script, stalled=True))
    assert row.verdict == "inconclusive"
    assert "only the second, slower try succeeded" in row.says
    assert "this machine stood still" in row.says


def test_silence_of_a_server_that_is_silent_afterwards_is_inconclusive() -> None:
    script = Script(lambda number, request: answering(request) if number == 1 else None)
    row = judge(MUST, one_read, server(script))
    assert row.verdict == "inconclusive"
    assert row.says.endswith("afterwards a plain read was not answered either (silent)")


def test_a_server_that_is_gone_afterwards_fails() -> None:
    script = Script(lambda number, request: answering(request) if number == 1 else None)
    script.refuses = lambda connection: connection > 3
    row = judge(MUST, one_read, server(script))
    assert row.verdict == "fail"
    assert row.says.endswith("afterwards connections are refused")


def test_a_connection_that_cannot_be_made_is_not_held_against_a_server_that_is_there() -> None:
    # Connections 2 and 3 are those of the two tries.
    row = judge(MUST, one_read, server(Script(always, refuses=lambda connection: connection in (2, 3))))
    assert (row.verdict, row.says) == ("inconclusive", "a connection could not be made: Connection refused")


def test_a_server_with_room_for_one_connection_is_given_time_to_close_the_last() -> None:
    crowded = server(Script(always, refuses=lambda connection: connection % 2 == 0))
    crowded.facts = replace(crowded.facts, parallel=False)
    assert judge(MUST, one_read, crowded).verdict == "pass"


def test_a_server_that_does_not_answer_before_a_row_is_not_tested() -> None:
    script = Script(lambda number, request: None)
    silent = server(script)
    assert judge(MUST, one_read, silent).verdict == "not tested"
    asked = script.requests
    assert judge(MUST, one_read, silent).verdict == "not tested"
    assert script.requests == asked + 1, "a server that is lost is asked once for each further row"


def test_a_busy_server_is_inconclusive() -> None:
    script = Script(lambda number, request: answering(request) if number == 1 else request[:6] + b"\x01\x83\x06")
    assert judge(MUST, one_read, server(script)).verdict == "inconclusive"


def test_an_undecided_row_is_inconclusive_at_any_level() -> None:
    def row(_: Server) -> None:
        raise Undecided("the bench")

    assert judge(MUST, row, server(Script(always))).verdict == "inconclusive"
    assert judge(REPORT, row, server(Script(always))).verdict == "inconclusive"


def test_a_row_without_its_capability_is_not_applicable() -> None:
    requirement = Requirement("X-04", "must", "tested", "AP 1", "a statement", needs=("idle", "holding.last"))
    row = judge(requirement, one_read, server(Script(always)))
    assert (row.verdict, row.says) == ("not applicable", "not declared: idle, holding.last")


def test_exit_codes_count_musts() -> None:
    def run(*verdicts: str) -> int:
        rows = [report.Row(MUST, verdict, "") for verdict in verdicts]  # type: ignore[arg-type]
        return report.exit_code(rows)

    assert run("pass", "advice", "not applicable", "reported") == 0
    assert run("pass", "fail", "inconclusive") == 1
    assert run("pass", "inconclusive") == 4
    assert run("pass", "not tested") == 4
    assert run("not applicable", "reported") == 5


def test_coverage_counts_every_requirement_once() -> None:
    counts = report.coverage([])
    assert {name: section["not tested"] for name, section in counts.items()}["MBAP"] == 31
    assert sum(sum(section.values()) for section in counts.values()) == len(requirements())
    assert report.coverage_table([])[-1][0] == "all"


def test_sections_that_nobody_asked_for_are_not_in_the_table() -> None:
    row = Row(requirements()["PDU-01"], "not tested", "", carrier="tcp")
    assert [line[0] for line in report.coverage_table([row])] == ["PDU", "all"]


# -- probe ---------------------------------------------------------------------------------------------------------


def refused(script: Script) -> ProbeFailure:
    with pytest.raises(ProbeFailure) as caught:
        probe(server(script), "tcp://device:502")
    return caught.value


def test_probe_finds_where_a_server_can_be_read() -> None:
    def says(_: int, request: bytes) -> bytes:
        address, quantity = request[8:10], request[11]
        if address != b"\x00\x64":
            return request[:4] + b"\x00\x03\x01" + bytes([request[7] | 0x80, 2])
        return request[:4] + bytes([0, 3 + 2 * quantity, 1, request[7], 2 * quantity]) + bytes(2 * quantity)

    found = server(Script(says))
    probe(found, "tcp://device:502")
    assert (found.facts.function, found.facts.address, found.facts.run, found.facts.parallel) == (3, 100, 3, True)


def test_probe_says_that_nobody_listens() -> None:
    failure = refused(Script(always, refuses=lambda _: True))
    assert failure.kind == "bench"
    assert failure.text == "cannot connect to tcp://device:502: Connection refused"


def test_probe_says_that_a_server_is_silent() -> None:
    failure = refused(Script(lambda number, request: None))
    assert failure.kind == "inconclusive"
    assert "did not answer" in failure.text
    assert "--unit" in failure.hint


def test_probe_says_that_a_server_speaks_something_else() -> None:
    failure = refused(Script(lambda number, request: b"HTTP/1.1 400 Bad Request\r\n"))
    assert failure.kind == "bench"
    assert "does not speak Modbus/TCP" in failure.text
    assert "HTTP/1.1 400" in failure.text


def test_probe_says_that_nothing_can_be_read() -> None:
    failure = refused(Script(lambda number, request: request[:4] + b"\x00\x03\x01" + bytes([request[7] | 0x80, 2])))
    assert failure.kind == "nothing"
    assert "[holding] first" in failure.hint


# -- bytes ---------------------------------------------------------------------------------------------------------


def test_answers_are_cut_where_length_and_pdu_agree() -> None:
    assert [answer.raw for answer in split(ANSWER + ANSWER + ANSWER[:5], complete=False)] == [ANSWER, ANSWER]


@pytest.mark.parametrize(("length", "size"), [(4, 11), (6, 11), (7, 11)])
def test_a_wrong_length_field_is_settled_by_what_came(length: int, size: int) -> None:
    answer = ANSWER[:5] + bytes([length]) + ANSWER[6:]
    assert split(answer, complete=False) == []
    assert [len(cut.raw) for cut in split(answer, complete=True)] == [size]


def test_a_surplus_byte_within_the_length_belongs_to_the_answer() -> None:
    exception = bytes.fromhex("0000 0000 0004 01 83 02 00")
    assert split(exception, complete=False) == []
    (cut,) = split(exception, complete=True)
    assert (cut.exception, len(cut.pdu)) == (2, 3)


def test_messages_are_cut_only_where_lengths_account_for_every_byte() -> None:
    assert messages(ANSWER * 3) == [ANSWER] * 3
    assert messages(ANSWER + ANSWER[:4]) == [ANSWER + ANSWER[:4]]
    assert messages(ANSWER[:5] + b"\x00" + ANSWER[6:]) == [ANSWER[:5] + b"\x00" + ANSWER[6:]]
    assert messages(b"") == [b""]


@pytest.mark.parametrize("data", [b"", b"\x00" * 7, bytes(8), b"\xff" * 9, bytes(300), b"HTTP/1.1 400 Bad Request\r\n"])
def test_any_bytes_can_be_cut(data: bytes) -> None:
    for complete in (False, True):
        assert sum(len(cut.raw) for cut in split(data, complete=complete)) <= len(data)


def test_a_normal_answer_is_known_by_function_and_size() -> None:
    assert is_normal(taken_apart(ANSWER), 3, 1)
    assert not is_normal(taken_apart(ANSWER), 4, 1)
    assert not is_normal(taken_apart(ANSWER), 3, 2)
    assert adu(read_pdu(3, 0, 1), transaction=1, unit=2, length=9).hex(" ") == "00 01 00 00 00 09 02 03 00 00 00 01"


# -- capabilities --------------------------------------------------------------------------------------------------


def test_the_example_of_the_readme_is_read() -> None:
    text = Path(modbus_server.__file__).with_name("README.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    caps = parse(tomllib.loads(example))
    assert (caps.max_connections, caps.outside, caps.holding.known) == (4, "192.0.2.99", (10, 0x1234))
    assert caps.idle is not None and (caps.idle.after, caps.idle.then) == (60.0, "close")
    needed = {name for requirement in requirements().values() for name in requirement.needs}
    assert all(caps.has(name) for name in needed)
    assert not any(Capabilities().has(name) for name in needed)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_conections = 4", "unknown key `max_conections`; did you mean `max_connections`?"),
        ("[holding]\nlast = 70000", "holding.last is 70000; it is a number from 0 to 65535"),
        ("[holding]\nfirst = 9\nlast = 3", "holding.first is behind holding.last"),
        ("unit_ids = [256]", "unit_ids is 256; it is a number from 0 to 255"),
        ("[holding]\nknown = 7", "holding.known is 7; it is a table with address, value"),
        ('idle = { after = "60s", then = "sleep" }', 'idle.then is \'sleep\'; it is "close" or "keep"'),
        ('idle = { after = 60, then = "keep" }', "idle.after: "),
        ("max_connections = ", "Invalid value"),
        ("unit_ids = 5", "unit_ids is 5; it is a list of numbers, such as [1, 2]"),
        ("functions = 3", "functions is 3; it is a list of numbers"),
        ("fifo = { pointers = 3 }", "fifo.pointers is 3; it is a list of numbers"),
        ('server_id = "0xZZ"', "server_id is '0xZZ'; behind 0x stand two hexadecimal digits for each byte"),
        ('writable = "holding:0-9"', "writable is 'holding:0-9'; it is a list of texts"),
        ('gateway = "no"', "gateway is 'no'; it is true or false"),
    ],
)
def test_a_wrong_capabilities_file_is_told_with_its_name_and_key(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "caps.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(CapabilityError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert complaint in str(caught.value)


def test_a_missing_capabilities_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match="No such file"):
        load(tmp_path / "none.toml")
