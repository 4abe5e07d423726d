"""Verdicts on what programs did and saw: period, jitter and gap; on benches, over RFC 2217, stripped and spilled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import BenchPlan, Rig, timing
from fieldrig.errors import ExpectationFailed, InconclusiveError, LimitExceeded
from fieldrig.serial import Console
from fieldrig.stimulus import Played, Program
from fieldrig.stream import Stream

MS = 1_000_000
TICKS = Program().wait("t", within="5s").repeat(every="1ns", count=10)
"""Ten waits: each slot begins at once, since all but the first are late."""


@pytest.fixture
def sim() -> Iterator[Rig]:
    with Rig(clock="virtual") as rig:
        rig.add_wire("line", "115200 8N1")
        yield rig


def heard(sim: Rig, device: Program) -> Played:
    """What a program of ours makes of a device on virtual time."""
    with Stream("wire://line", rig=sim) as ours, Stream("wire://line", rig=sim) as theirs:
        theirs.begin(Program().wait("go", within="5s") + device)
        return ours.play(Program().send(b"go") + TICKS)


def test_the_ticks_of_a_device_that_keeps_time_pass(sim: Rig) -> None:
    played = heard(sim, Program().send(b"t").repeat(every="20ms", count=10))
    assert (played.outcome, len(played.seen)) == ("completed", 10)
    assert timing.period(played.seen, "20ms", tolerance="1us", drift="1us").verdict == "pass"
    assert timing.jitter(played.seen, "1us").verdict == "pass"
    assert timing.gap(played.seen, min="20ms", max="20001us").verdict == "pass"
    # Of what we send, a gap counts from the return of the call to the issue of the next; on a wire that takes no time.
    assert timing.within(played.seen[0], "1ms", after=played.sent[0]).verdict == "pass"


def test_one_late_tick_fails_all_three(sim: Rig) -> None:
    ticks = Program().send(b"t").repeat(every="20ms", count=5)
    played = heard(sim, ticks + Program().pause("27ms") + ticks)
    seen = played.seen
    apart = [(later.at - earlier.at).latest_ns for earlier, later in itertools.pairwise(seen)]
    odd = [index + 1 for index, nanos in enumerate(apart) if nanos != 20 * MS]
    assert odd == [5]
    with pytest.raises(LimitExceeded, match="the period 5 of 9 is 27 ms, surely above 21 ms"):
        timing.period(seen, "20ms", tolerance="1ms")
    with pytest.raises(LimitExceeded, match="the jitter of 9 periods is 7 ms, surely above 6 ms"):
        timing.jitter(seen, "6ms")
    with pytest.raises(LimitExceeded, match="the gap 5 of 9 is 27 ms, surely above 25 ms"):
        timing.gap(seen, max="25ms")
    # A tick that is missing is no period of twice the length that passes, nor is one that comes twice.
    with pytest.raises(LimitExceeded, match="the period 3 of 8 is 40 ms"):
        timing.period([*seen[:3], *seen[4:]], "20ms", tolerance="8ms")


def test_what_a_program_sends_is_judged_as_it_was_sent(sim: Rig) -> None:
    with Stream("wire://line", rig=sim) as ours:
        played = ours.play(Program().send(b"x").repeat(every="10ms", count=50))
    assert timing.period(played.sent, "10ms", tolerance="1us", drift="10ns").verdict == "pass"
    # The device has no part in it, so nobody is accused: slots that were skipped, for example, make gaps.
    with pytest.raises(InconclusiveError, match="the mean period of 49 periods is .* our own doing"):
        timing.period(played.sent, "10010us", tolerance="20us", drift="1us")


MODEL = """\
[model]
name = "box"
[face.console]
[[command]]
match = "ver"
reply = "fw 1.4.2"
"""
BENCH = """\
[bench]
name = "rack"
clock = "virtual"
[dut.box]
model = "box.toml"
links = { console = { line = "9600 8N1" } }
"""


def test_a_program_plays_on_the_console_of_a_bench(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(MODEL)
    (tmp_path / "bench.toml").write_text(BENCH)
    asks = Program().send(b"ver\n").wait(r"fw [\d.]+\r?\n", within="1s", name="answer")
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as bench:
        console = bench.device("box").console
        played = console.play(asks.repeat(every="100ms", count=3))
        answers = played.of("answer")
        assert [answer.data.strip() for answer in answers] == [b"fw 1.4.2"] * 3
        assert timing.period(answers, "100ms", tolerance="1us").verdict == "pass"
        with pytest.raises(ExpectationFailed, match=r"^DUT: box\.console: .* step 2 \(wait\)"):
            console.play(Program().send(b"ver\n").wait("fw 2", within="100ms"))
        console.expect("fw", after=played.sent[-1], within="1s")


def test_a_program_plays_over_rfc2217_with_its_break_and_lines() -> None:
    with Rig() as rig, Stream("rfc2217-listen://127.0.0.1:0?line=115200+8N1", rig=rig) as device:
        place = device.url.partition("://")[2].partition("?")[0]
        with Console(f"rfc2217://{place}?line=115200+8N1&holds=0ms", rig=rig) as console:
            device.begin(Program().wait("hello", within="20s").send(b"ok\n", after="30ms", name="answer"))
            played = console.play(
                Program().rts(False).send_break("5ms").send(b"hello", after="1ms").wait("ok\n", within="20s")
            )
            assert [event.kind for event in played.events] == ["line", "line", "sent", "seen"]
            assert played.timing_class == "net"
            assert timing.within(played.seen[0], "20s", after=played.sent[-1]).verdict == "pass"


def test_stripped_and_spilled_bytes_keep_their_instants(sim: Rig) -> None:
    with Stream("wire://line", rig=sim) as device:
        with Console("wire://line", rig=sim, ansi="strip", keep=65536, spill=1 << 20) as console:
            coloured = Program().send(b"\x1b[32mt\x1b[0m\n").repeat(every="20ms", count=5)
            device.play(coloured)
            device.send(b"-" * 70_000 + b"\n")
            sim.sleep("10s")
            assert console.stream.read(0, 1).at is not None
            begin = console.stream.now()
            ticks = [console.stream.search("t\n", 0, None, 0)]
            for _ in range(4):
                ticks.append(console.stream.search("t\n", ticks[-1].end if ticks[-1] else 0, None, 0))
            found = [tick for tick in ticks if tick is not None]
            assert len(found) == 5 and begin.order(found[-1].at) == "after"
            assert timing.period(found, "20ms", tolerance="1us").verdict == "pass"
            with pytest.raises(LimitExceeded):
                timing.period(found, "21ms", tolerance="100us")
            played = device.begin(Program().send(b"\x1b[1mo\x1b[0mk\n", after="5ms"))
            answered = console.play(Program().wait("ok\n", within="1s"))
            assert played.wait().outcome == answered.outcome == "completed"
