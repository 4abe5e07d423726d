"""Stimulus programs from Python: exact on virtual time, on a pty beside a busy thread, clear about what is wrong."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fieldrig import Rig
from fieldrig.errors import (
    ConnectionLost,
    ExpectationFailed,
    InconclusiveError,
    Stopped,
    UnexpectedEvent,
    UsageError,
)
from fieldrig.serial import Console
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

CHARACTER = 11 * 1_000_000_000 // 9600
MS = 1_000_000
Pair = tuple[Stream, Stream]


@pytest.fixture
def sim() -> Iterator[Rig]:
    with Rig(clock="virtual") as rig:
        rig.add_wire("free")
        rig.add_wire("line", "9600 8E1")
        yield rig


@pytest.fixture
def pair(sim: Rig) -> Iterator[Pair]:
    """A test's end and a device's end of a line of 9600 8E1 on virtual time."""
    with Stream("wire://line", rig=sim) as ours, Stream("wire://line", rig=sim) as theirs:
        sim.sleep("1s")
        yield ours, theirs


def test_a_thousand_sends_on_virtual_time_are_exact(sim: Rig) -> None:
    with Stream("wire://free", rig=sim) as ours, Stream("wire://free", rig=sim) as theirs:
        played = ours.play(Program().send(b"x").repeat(every="1ms", count=1000, late="abort"))
        begun = played.at.latest_ns
        instants = [(event.at.earliest_ns, event.at.latest_ns) for event in played.sent]
        assert instants == [(begun + slot * MS, begun + slot * MS) for slot in range(1000)]
        assert {event.late.latest_ns for event in played.sent if event.late} == {0}
        assert (played.outcome, played.timing_class) == ("completed", "V")
        assert len(theirs.receive(1000, within="1s").data) == 1000


def test_a_response_is_as_late_as_asked_after_the_last_bit(pair: Pair) -> None:
    ours, theirs = pair
    answers = theirs.begin(Program().wait(rb"ping", within="5s").send(b"pong", after="3ms", name="answer"))
    played = ours.play(Program().send(b"ping", at="10ms").wait(rb"po(ng)", within="1s").send(b"!", after="2ms"))
    assert [event.kind for event in played.events] == ["sent", "seen", "sent"]
    answer = answers.wait(within="1s").of("answer")[0]
    assert answer.delay is not None and answer.delay.earliest_ns == answer.delay.latest_ns == 3 * MS
    first, seen, last = played.events
    assert (first.at - played.at).latest_ns == 10 * MS
    assert (seen.at - first.at).latest_ns == 3 * MS + 8 * CHARACTER
    assert last.delay is not None and last.delay.latest_ns == 2 * MS
    assert (seen.data, played.of(2)) == (b"pong", (seen,))
    with pytest.raises(UsageError, match=r'of\("anser"\): the program has no such step; it has 1 to'):
        played.of("anser")
    with pytest.raises(UsageError, match=r"of\(99\)"):
        played.of(99)


def test_conditions_choose_what_is_done(pair: Pair) -> None:
    ours, theirs = pair
    login = Program().send(b"?").wait(rb"login:", within="100ms", then=Program().send(b"me"), otherwise="go_on")
    theirs.begin(Program().wait(b"\\?", within="1s").send(b"login:", after="5ms"))
    assert [event.data for event in ours.play(login).sent] == [b"?", b"me"]
    quiet = ours.play(login)
    assert [event.kind for event in quiet.events] == ["sent", "timed out"]
    assert quiet.outcome == "completed"
    given_up = ours.play(Program().send(b"?").wait(rb"login:", within="100ms"))
    assert (given_up.outcome, given_up.step) == ("timed out", 2)
    assert given_up.reason == "step 2: what was waited for did not come in time"
    assert (given_up.done - given_up.events[0].done).latest_ns == 100 * MS


def test_a_repeat_ends_with_what_ends_it_and_no_later(pair: Pair) -> None:
    ours, theirs = pair
    theirs.begin(Program().wait(5, within="5s").send(b"done", after="1ms"))
    polls = Program().send(b"?").repeat(every="20ms", until=rb"done", within="10s") + Program().send(b"bye")
    played = ours.play(polls)
    assert [event.data for event in played.sent] == [b"?"] * 5 + [b"bye"]
    assert [event.data for event in played.seen] == [b"done"]
    missed = ours.play(Program().send(b"?").repeat(every="20ms", until=rb"done", within="50ms"))
    assert (missed.outcome, len(missed.sent)) == ("timed out", 3)


def test_gaps_are_heard_as_they_were_asked(pair: Pair) -> None:
    ours, theirs = pair
    ours.play(Program().burst(b"abc", gap=["2ms", "5ms"], quiet="4ms").send_break("20ms").send(b"d", after="1ms"))
    received = theirs.receive(4, within="1s")
    ends = [stamp.latest_ns for _, stamp in received.stamps]
    apart = [later - earlier for earlier, later in itertools.pairwise(ends)]
    # A break begins where the last bit has left; what follows it counts from its end.
    assert apart[:2] == [2 * MS + CHARACTER, 5 * MS + CHARACTER]
    assert received.data == b"abcd"


def test_what_a_program_sends_moves_the_cursor_of_the_device(sim: Rig) -> None:
    with Stream("wire://line", rig=sim) as device, Console("wire://line", rig=sim) as console:
        sim.sleep("1s")
        device.send(b"ready\n")
        sim.sleep("1s")
        echo = device.begin(Program().wait(rb"go\n", within="5s").send(b"ready again\n"))
        played = console.play(Program().send(b"go\n", at="5ms"))
        ready = console.expect("ready.*\n", within="1s")
        assert (ready.text, ready.at.order(played.sent[0])) == ("ready again\n", "after")
        assert echo.wait(within="1s").outcome == "completed"


def test_a_program_that_a_device_lets_down_is_held_against_it_with_the_reason(sim: Rig) -> None:
    with Stream("wire://line", rig=sim) as device, Console("wire://line", rig=sim) as console:
        sim.sleep("1s")
        asks = Program().send(b"?\n").wait(rb"ok\n", within="50ms")
        with pytest.raises(ExpectationFailed, match=r"step 2 \(wait\): what was waited for did not come in time"):
            console.play(asks)
        assert console.play(asks, check=False).outcome == "timed out"
        device.begin(Program().wait(rb"\?", within="1s").send(b"panic", after="5ms"))
        with pytest.raises(UnexpectedEvent, match=r"step 2 \(wait_none\): what should not come came"):
            console.play(Program().send(b"?\n").wait_none("panic", for_="1s"))
    with Console("wire://line", rig=sim, proven=False) as console:
        with pytest.raises(InconclusiveError, match="nothing ever came through this port"):
            console.play(Program().send(b"?\n").wait(rb"ok\n", within="50ms"))


def test_a_program_in_the_background_goes_on_until_it_is_stopped(sim: Rig) -> None:
    with Stream("wire://free", rig=sim) as device, Console("wire://free", rig=sim) as console:
        heart = console.begin(Program().send(b".").repeat(every="100ms"))
        with pytest.raises(UsageError, match="runs on this stream already"):
            console.play(Program().send(b"x"))
        with pytest.raises(UsageError, match="has no end"):
            heart.wait()
        console.send("meanwhile")
        sim.sleep("1s")
        assert heart.running and len(heart.so_far.sent) == 11
        stopped = heart.stop()
        assert (stopped.outcome, heart.running, heart.stop()) == ("stopped", False, stopped)
        sim.sleep("1s")
        assert device.receive(within="1s").data.replace(b"meanwhile\n", b"") == b"." * len(stopped.sent)


def test_a_line_thread_is_not_disturbed_by_a_busy_python_thread() -> None:
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            pass

    with Stream("pty://?line=115200+8N1") as ours:
        node = os.open(ours.url.partition("://")[2].partition("?")[0], os.O_RDWR | os.O_NOCTTY)
        thread = threading.Thread(target=busy)
        thread.start()
        try:
            played = ours.play(Program().send(b"x").repeat(every="1ms", count=200))
        finally:
            ended.set()
            thread.join()
            os.close(node)
        assert (played.outcome, len(played.sent)) == ("completed", 200)
        for slot, event in enumerate(played.sent):
            assert event.scheduled is not None and event.issued is not None and event.late is not None
            assert event.scheduled.latest_ns == played.at.latest_ns + slot * MS
            assert event.late.latest_ns == event.issued.latest_ns - event.scheduled.latest_ns >= 0
        assert played.timing_class in "ABC"


def test_a_pty_has_no_modem_lines_and_says_so() -> None:
    with Stream("pty://?line=115200+8N1") as ours:
        played = ours.play(Program().send(b"x").rts(True).send(b"never"))
        assert (played.outcome, played.reason) == ("refused", "step 2: this kind of port has no RTS")
        assert ours.play(Program().send(b"next")).outcome == "completed", "it waits for its own answer"
        assert len(played.sent) == 1


def test_on_a_socket_it_works_without_a_line_thread_and_ends_with_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}", belongs_to="dut") as console:
            connection, _ = listener.accept()
            with connection:
                played = console.play(Program().send(b"a").send(b"b", after="2ms"))
                assert played.timing_class == "net"
                assert (played.sent[1].at - played.at).earliest_ns >= 2 * MS
                assert connection.recv(1) + connection.recv(1) == b"ab"
                waits = console.begin(Program().wait("never", within="1min"))
            assert waits.wait(within="30s").outcome == "lost"
            with pytest.raises(ConnectionLost, match="DUT: .*the other side"):
                console.play(Program().wait("never", within="1min"))


def test_a_connection_that_ends_while_a_program_waits_is_lost_by_the_device() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Console(f"tcp://127.0.0.1:{listener.getsockname()[1]}", belongs_to="dut") as console:
            connection, _ = listener.accept()

            def hear_and_leave() -> None:
                with connection:
                    connection.recv(1)

            peer = threading.Thread(target=hear_and_leave)
            peer.start()
            with pytest.raises(ConnectionLost, match="not completed: the other side ended the connection"):
                console.play(Program().send(b"?").wait("never", within="1min"))
            peer.join()


def test_the_example_of_the_documentation_says_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "stimulus.md").read_text(encoding="utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    exec(compile(example, "docs/stimulus.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    said = [line.partition("# ")[2].partition(":")[0] for line in example.splitlines() if "print(" in line]
    assert printed == said


def test_ctrl_c_ends_a_program() -> None:
    with Stream("pty://?line=115200+8N1") as ours:
        timer = threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,))
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            ours.play(Program().send(b"x", at="1h"))
        timer.join()
        assert ours.play(Program().send(b"y")).outcome == "completed"
    with pytest.raises(Stopped):
        ours.play(Program().send(b"z"))


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Program().send(b"x", at=10), r'step 1, send\(\): at=10 has no unit.*\n.*at="10ms"'),  # type: ignore[arg-type]
    (lambda: Program().send(b"x", after="-5ms"), r"step 1, send\(\): after='-5ms': .*negative"),
    (lambda: Program().send(b"a").burst(b"ab", gap="-1ms"), r"step 2, burst\(\): gap='-1ms': .*negative"),
    (lambda: Program().burst([b"a", b"b"], gap=["1ms", "2ms"]), "2 pieces have 1 gaps between them, not 2"),
    (lambda: Program().burst([], gap="1ms"), "there is nothing to send"),
    (lambda: Program().burst(b"ab", gap=2), r"step 1, burst\(\): gap=2 has no unit"),  # type: ignore[arg-type]
    (lambda: Program().repeat(every="1ms"), r"step 1, repeat\(\): there is nothing to repeat"),
    (lambda: Program().send(b"x").repeat(every="0ms"), "every= is no time at all"),
    (lambda: Program().send(b"x").repeat(every="1ms", count=0), "count=0 is not a number of slots"),
    (lambda: Program().send(b"x").repeat(every="1ms", late="skipp"), r"late='skipp'.*\n.*did you mean 'skip'\?"),  # type: ignore[arg-type]
    (lambda: Program().send(b"x").repeat(every="1ms", tolerance="1us"), "tolerance= has no use"),
    (lambda: Program().send(b"x").repeat(every="1ms", until=b"ok"), "until= may never come"),
    (lambda: Program().send(b"x").repeat(every="1ms", within="1s"), "within= is the time limit of until="),
    (lambda: Program().wait("ok"), "within= is missing: how long may it take"),
    (lambda: Program().send(b"x", aftre="1ms"), r"send\(\): there is no aftre=\n.*did you mean 'after'\?"),  # type: ignore[call-arg]
    (lambda: Program().send(b"x", gap="1ms"), r"there is no gap=\n.*said by at, after, of, quiet, "),  # type: ignore[call-arg]
    (lambda: Program().wait("ok", within="1s", otherwise="goon"), r"did you mean 'go_on'\?"),  # type: ignore[arg-type]
    (lambda: Program().wait(0, within="1s"), "0 bytes are there at once"),
    (lambda: Program().wait(b"\xff", within="1s"), "bytes beyond ASCII"),
    (lambda: Program().send("text"), r"'text' is text, not bytes\n.*write b'text'"),  # type: ignore[arg-type]
    (lambda: Program().send(b""), "there is nothing to send"),
    (lambda: Program().send(b"x", at="1ms", after="2ms"), "at= and after= both say when"),
    (lambda: Program().send(b"x", at="1ms", of="a"), "of= goes with after="),
    (lambda: Program().rts(1), "1 is neither True nor False"),  # type: ignore[arg-type]
    (lambda: Program().send_break("0ms"), "a break of no length is none"),
    (lambda: Program().lowered(), "the program is empty"),
    (lambda: Program().send(b"x", name="log").send(b"y", of="lock").lowered(), r"step 2, send\(\): .* 'lock'"),
    (lambda: Program().then("x"), "'x' is no program"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("write", "text"), BAD, ids=[text for _, text in BAD])
def test_what_is_wrong_is_said_where_it_is_written_and_what_to_write(write: Callable[[], object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        write()


def test_a_step_for_nobody_is_refused_after_a_moment_and_not_waited_for_for_ever(sim: Rig) -> None:
    with Stream("memory-listen://door", rig=sim) as door:
        played = door.play(Program().send(b"hello"))
        assert (played.outcome, played.reason) == ("refused", "step 1: nobody is connected")
        assert door.begin(Program().send(b"hello")).stop().outcome == "stopped"
        with Stream("memory://door", rig=sim) as visitor:
            assert door.play(Program().send(b"hello")).outcome == "completed"
            assert visitor.receive(5, within="1s").data == b"hello"


def test_what_only_the_core_can_read_is_refused_before_anything_is_done(pair: Pair) -> None:
    ours, _ = pair
    before = ours.now()
    for program, text in [
        (Program().send(b"x").wait("a*", within="1s"), r"step 2: the pattern /a\*/ matches nothing at all"),
        (Program().wait("(", within="1s"), "cannot be used"),
        (Program().settings("9600 9X9"), "is not a line setting"),
        (Program().send(b"x").repeat(every="1ms"), r"play\(\): this program has no end"),
    ]:
        with pytest.raises(UsageError, match=text):
            ours.play(program)
    with pytest.raises(UsageError, match="is no program"):
        ours.play("x")  # type: ignore[arg-type]
    assert ours.now() == before
