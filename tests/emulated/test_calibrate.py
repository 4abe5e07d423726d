"""`fieldrig calibrate`: what is measured, what is kept, when it is used, and what it does to verdicts.

No UART is here. The arithmetic is held against a port in memory and a model of an adapter that collects bytes, on times
that are exact; the command against a pty whose other end sends back whatever comes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fieldrig import Rig, Span, Stamp, timing
from fieldrig._core.stream import Sent
from fieldrig._core.timing import calibrations, origin_of, store_calibration
from fieldrig.calibrate import measure, quantile
from fieldrig.cli import Exit, main
from fieldrig.errors import BenchError, InconclusiveError
from fieldrig.stream import Stream

MS = 1_000_000
CHARACTER = 86_805


class Collector:
    """A port with a jumper: an adapter collects what comes, and hands it over every so often."""

    def __init__(
        self,
        every_ns: int,
        *,
        character_ns: int = CHARACTER,
        loses: bool = False,
        garbles: bool = False,
        clumsy_below: int = 0,
    ) -> None:
        self._every = every_ns
        self._now = 1
        self._character_ns = character_ns
        self._arrivals: list[tuple[int, int]] = []
        self._loses, self._garbles, self._clumsy_below = loses, garbles, clumsy_below

    def pause(self, nanos: int) -> None:
        self._now += nanos

    def send(self, data: bytes) -> Sent:
        begun = self._now
        self._arrivals = [(byte, begun + (index + 1) * self._character_ns) for index, byte in enumerate(data)]
        return Sent(Stamp(begun), Stamp(begun), data)

    def send_parts(self, parts: list[tuple[object, bytes]]) -> Sent:
        (_, first), (pause, second) = parts
        sent = self.send(first)
        begun = self._now + pause.latest_ns  # type: ignore[attr-defined]
        begun += 5 * MS + pause.latest_ns if pause.latest_ns < self._clumsy_below else 0  # type: ignore[attr-defined]
        self._arrivals.append((second[0], begun + self._character_ns))
        return Sent(sent.at, Stamp(begun), first + second)

    def receive(self, count: int, within: str) -> SimpleNamespace:
        if self._loses:
            return SimpleNamespace(data=b"")
        taken = [(byte + self._garbles, -(-at // self._every) * self._every) for byte, at in self._arrivals]
        self._now = taken[-1][1]
        stamps = [(index, Stamp(at)) for index, (_, at) in enumerate(taken)]
        return SimpleNamespace(data=bytes(byte % 256 for byte, _ in taken), at=stamps[-1][1], stamps=stamps)


def test_an_adapter_that_collects_for_16_ms_is_found_out() -> None:
    port = Collector(16 * MS)
    found = measure(port, port, character_ns=CHARACTER, pause=port.pause)  # type: ignore[arg-type]
    assert 15 * MS < found.delays[-1] <= 16 * MS
    assert 5 * MS < found.delay_ns(0.5) < 11 * MS
    assert found.gap_ns == 16 * MS, "a gap of 12 ms is seen as none a quarter of the time"
    assert found.resolution_ns == 16 * MS
    slow = Collector(16 * MS, character_ns=1_041_666)
    found = measure(slow, slow, character_ns=1_041_666, pause=slow.pause)  # type: ignore[arg-type]
    assert found.gap_ns == 32 * MS, "two bytes of one write are seen 16 ms apart once in 15 times"


def test_a_wire_in_memory_tells_the_shortest_gap_and_holds_nothing_back() -> None:
    with Rig(clock="virtual") as rig:
        rig.add_wire("bus", "115200 8N1")
        out, back = Stream("wire://bus", rig=rig), Stream("wire://bus", rig=rig)
        found = measure(out, back, character_ns=CHARACTER, pause=lambda nanos: rig.sleep(Span(nanos)), rounds=100)
    assert (found.gap_ns, found.left_out) == (100_000, 0)
    assert found.delays[-1] < 1000


def test_rounds_in_which_the_host_stood_still_do_not_count() -> None:
    port, asked = Collector(MS), []

    def now_and_then(sent: Sent) -> bool:
        asked.append(sent)
        return len(asked) % 2 == 0

    found = measure(port, port, character_ns=CHARACTER, pause=port.pause, rounds=100, stalled=now_and_then)  # type: ignore[arg-type]
    assert found.left_out >= 199
    with pytest.raises(InconclusiveError, match="this host stands still too often"):
        measure(port, port, character_ns=CHARACTER, pause=port.pause, stalled=lambda sent: True)  # type: ignore[arg-type]


def test_gaps_that_cannot_be_sent_here_are_not_told() -> None:
    port = Collector(200_000, clumsy_below=2 * MS)
    assert measure(port, port, character_ns=CHARACTER, pause=port.pause).gap_ns == 2 * MS  # type: ignore[arg-type]
    clumsy = Collector(200_000, clumsy_below=10**9)
    with pytest.raises(InconclusiveError, match="sends too late"):
        measure(clumsy, clumsy, character_ns=CHARACTER, pause=clumsy.pause)  # type: ignore[arg-type]


def test_a_missing_jumper_and_a_wrong_speed_are_told_apart() -> None:
    for port, says in ((Collector(MS, loses=True), "nothing came back"), (Collector(MS, garbles=True), "came back in")):
        with pytest.raises(BenchError, match=says):
            measure(port, port, character_ns=CHARACTER, pause=port.pause)  # type: ignore[arg-type]
    deaf = Collector(400 * MS)
    with pytest.raises(BenchError, match="not even a gap of 100 ms"):
        measure(deaf, deaf, character_ns=CHARACTER, pause=deaf.pause)  # type: ignore[arg-type]


def test_quantiles_are_values_that_were_seen() -> None:
    values = list(range(1, 101))
    assert [quantile(values, share) for share in (0.01, 0.5, 0.99, 1)] == [1, 50, 99, 100]


ECHO = """
import os, sys, termios, tty
master, slave = os.openpty()
tty.setraw(slave)
os.symlink(os.ttyname(slave), sys.argv[1])
print("ready", flush=True)
while data := os.read(master, 4096):
    os.write(master, data)
"""


@pytest.fixture
def jumper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A pty that sends back whatever comes, under a name that stays."""
    monkeypatch.setenv("FIELDRIG_CALIBRATION", str(tmp_path / "kept" / "calibration.toml"))
    link = str(tmp_path / "ttyTEST")
    with subprocess.Popen([sys.executable, "-c", ECHO, link], stdout=subprocess.PIPE) as echo:
        try:
            assert echo.stdout is not None and echo.stdout.readline() == b"ready\n"
            yield link
        finally:
            echo.kill()


def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "calibration.toml"


def test_the_command_measures_a_pty_and_keeps_it(
    jumper: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["calibrate", jumper, "--rounds", "100", "--format", "json"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    if code == Exit.INCONCLUSIVE:  # a host that is too busy says so, and keeps nothing
        assert "this host stands still too often" in said["message"] and not kept(tmp_path).exists()
        return
    assert code == Exit.PASS, said
    assert said["resolution_ns"] == max(said["delay_max_ns"], said["gap_ns"]) > 0
    (one,) = calibrations(kept(tmp_path))
    assert (one.port, one.line, one.rounds, one.unused) == (jumper, "115200 8N1", 100, None)
    assert 0 <= one.resolution_ns - said["resolution_ns"] < 1000, "rounded up"
    assert main(["calibrate", "--list"]) == Exit.PASS
    assert jumper in capsys.readouterr().out


def exchange(url: str) -> tuple[Sent, object]:
    with Stream(url) as stream:
        sent = stream.send(b"x")
        answer = stream.receive(1, within="5s")
        assert answer.data == b"x"
        return sent, answer


def test_what_is_kept_widens_stamps_and_forbids_finer_verdicts(jumper: str, tmp_path: Path) -> None:
    store_calibration(kept(tmp_path), jumper, resolution_ns=700 * MS, delay_ns=MS, line="115200 8N1", rounds=200)
    sent, answer = exchange(f"serial://{jumper}?line=115200+8N1")
    assert origin_of(answer.at) == (jumper, 700 * MS, "calibrated at 115200 8N1 in 200 rounds")  # type: ignore[attr-defined]
    assert answer.at.earliest_ns <= max(0, answer.at.latest_ns - 700 * MS)  # type: ignore[attr-defined]
    with pytest.raises(InconclusiveError) as raised:
        timing.within(answer, "1.3s", after=sent)  # type: ignore[arg-type]
    said = f"1.3 s is too fine for {jumper}: it decides nothing finer than 1.4 s, twice its resolution of 700 ms"
    assert said in raised.value.message
    assert raised.value.hint is not None and f"fieldrig calibrate {jumper}" in raised.value.hint
    with pytest.raises(InconclusiveError, match=f"{jumper} has a resolution of 700 ms"):
        timing.within(answer, "1h", after=sent)  # type: ignore[arg-type]  # it may have been there before


def test_what_no_longer_holds_is_said_and_not_used(jumper: str, tmp_path: Path) -> None:
    store_calibration(kept(tmp_path), jumper, resolution_ns=700 * MS, delay_ns=MS, line="115200 8N1", rounds=200)
    _, slower = exchange(f"serial://{jumper}?line=9600+8N1")
    port, resolution, note = origin_of(slower.at) or ("", 0, "")  # type: ignore[attr-defined]
    assert (port, resolution) == (jumper, 0)
    assert "not used: it was made at 115200 8N1, 9600 8N1 is slower" in note
    text = kept(tmp_path).read_text(encoding="utf-8")
    kept(tmp_path).write_text(text.replace(os.uname().release, "2.4.0"), encoding="utf-8")
    folder = tmp_path / "run"
    with Rig(folder=folder) as rig, Stream(f"serial://{jumper}?line=115200+8N1", rig=rig):
        pass
    log = [json.loads(line) for line in (folder / "run.jsonl").read_text(encoding="utf-8").splitlines()]
    (said,) = [one["fields"] for one in log if one["kind"] == "port.resolution"]
    assert said["why"].startswith(f"its calibration is not used: its kernel was 2.4.0, it is {os.uname().release} now")
    kept(tmp_path).write_text("[port]\nx = 1\n", encoding="utf-8")
    _, answer = exchange(f"serial://{jumper}?line=115200+8N1")
    assert "is an integer, a table is expected" in (origin_of(answer.at) or ("", 0, ""))[2]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one port with a jumper, or two"),
        (["a", "b", "c"], "one port with a jumper, or two"),
        (["a", "--rounds", "50"], "99 % of less than 100 rounds says nothing"),
        (["serial:///dev/ttyUSB0"], "name the port, not its URL"),
        (["/dev/none", "--line", "fast"], "'fast' is no line setting"),
    ],
)
def test_a_wrong_call_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", *arguments]) == Exit.USAGE
    assert says in capsys.readouterr().err
