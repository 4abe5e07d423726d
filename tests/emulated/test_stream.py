"""Raw conversations: every byte as it is, when it came, and how it ended."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig, duration
from fieldrig.errors import ConnectionLost, PortError, Stopped, UsageError
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

Pair = tuple[Stream, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A stream and the socket at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Stream(f"tcp://127.0.0.1:{listener.getsockname()[1]}", belongs_to="dut") as stream:
            connection, _ = listener.accept()
            connection.settimeout(10)
            with connection:
                yield stream, connection


def test_parts_leave_one_after_the_other_with_their_pauses(pair: Pair) -> None:
    stream, peer = pair
    sent = stream.send_parts([(None, b"ab"), ("20ms", b"cd"), ("20ms", b"ef")])
    assert sent.data == b"abcdef"
    assert (sent.done - sent.at).earliest >= duration("40ms")
    received = b""
    while len(received) < 6:
        received += peer.recv(16)
    assert received == b"abcdef"


def test_receiving_waits_for_a_count_or_for_a_function_to_be_content(pair: Pair) -> None:
    stream, peer = pair
    peer.sendall(b"12345")
    first = stream.receive(5, within="10s")
    assert (first.data, first.closed) == (b"12345", None)
    assert first.stamps[0][0] == 0
    assert first.stamps[-1][1] == first.at
    peer.sendall(b"67;8")
    assert stream.receive(lambda data: b";" in data, within="10s").data.startswith(b"67;")
    assert stream.length >= 8


def test_when_time_is_up_what_came_is_given_be_it_nothing(pair: Pair) -> None:
    stream, _ = pair
    nothing = stream.receive(3, within="30ms")
    assert (nothing.data, nothing.stamps, nothing.closed) == (b"", (), None)


def test_a_function_that_raises_ends_the_call_and_nothing_else(pair: Pair) -> None:
    stream, peer = pair
    peer.sendall(b"x")

    def broken(_: bytes) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stream.receive(broken, within="10s")
    assert stream.receive(1, within="10s").data == b"x"


def test_the_other_sides_end_is_seen_and_ours_can_be_halved(pair: Pair) -> None:
    stream, peer = pair
    stream.send(b"last")
    stream.close("half")
    assert peer.recv(4) == b"last"
    assert peer.recv(1) == b""
    peer.sendall(b"still here")
    peer.close()
    rest = stream.receive(within="10s")
    assert (rest.data, rest.closed) == (b"still here", "finished")
    with pytest.raises(Stopped, match="closed"):
        stream.send(b"more")


def test_a_reset_is_not_a_finish(pair: Pair) -> None:
    stream, peer = pair
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    peer.close()
    assert stream.receive(within="10s").closed == "reset"
    with pytest.raises(ConnectionLost, match="DUT: .*broke"):
        stream.send(b"x")


def test_what_is_closed_or_malformed_says_so(pair: Pair) -> None:
    stream, _ = pair
    with pytest.raises(UsageError, match="look-around"):
        stream.search(r"(?=x)", 0, None, 0)
    with pytest.raises(UsageError, match="not a port"):
        Stream("carrier-pigeon://coop")
    with pytest.raises(PortError, match="BENCH: "):
        Stream("serial:///dev/fieldrig-there-is-no-such-port?line=9600+8N1")
    stream.close()
    with pytest.raises(Stopped):
        stream.receive(1)


def test_what_happens_on_a_line_besides_bytes_is_told_with_its_instant() -> None:
    with Rig(clock="virtual") as rig:
        rig.add_wire("line", "9600 8E1")
        tell_a_break(rig)


def tell_a_break(rig: Rig) -> None:
    with Stream("wire://line", rig=rig) as one, Stream("wire://line", rig=rig) as other:
        begun = rig.now()
        assert other.line_events() == other.line_events("break", within="50ms") == ()
        assert (rig.now() - begun).earliest == duration("50ms")
        one.send(b"ab")
        one.play(Program().send_break("20ms"))
        (broken,) = other.line_events("break", within="1s")
        assert (broken.kind, broken.offset, broken.settings, broken.cts) == ("break", 2, None, None)
        # Two characters of eleven bits, and the break itself.
        assert broken.at.latest_ns - begun.latest_ns == 50_000_000 + 2 * (11 * 10**9 // 9600) + 20_000_000
        assert other.line_events("break", after=begun) == (broken,)
        rig.sleep("1ms")
        assert other.line_events(after=rig.now()) == other.line_events("overrun") == ()
        with pytest.raises(UsageError, match='one of "break", "parity"'):
            other.line_events("brake")  # type: ignore[arg-type]


def test_what_happens_on_a_line_while_somebody_waits_is_in_the_run_log(tmp_path: Path) -> None:
    with Rig(folder=tmp_path) as rig:
        rig.add_wire("line", "9600 8E1")
        with Stream("wire://line", rig=rig) as one, Stream("wire://line", rig=rig) as other:
            one.begin(Program().send_break("20ms").send(b"ab"))
            assert other.receive(2, within="30s").data == b"ab"
            assert other.receive(within="50ms").data == b""
        log = Path(rig.files()["log"]).read_text()
    lines = [record["fields"] for record in map(json.loads, log.splitlines()) if record["kind"] == "stream.line"]
    assert [fields["event"] for fields in lines] == ["Break"]
