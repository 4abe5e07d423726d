"""RTS and DTR as the power and the reset of a device, over RFC 2217: the end of the device tells what it saw."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import Rig
from fieldrig.bench import Bench, BenchPlan
from fieldrig.errors import BenchError, BenchFileError, PortLost, UsageError
from fieldrig.stimulus import Program
from fieldrig.stream import Stream
from tests.life.lab import Lab
from tests.life.test_guardian import Run

SEEN = re.compile(r"cts: (\w+), dsr: (\w+)")
LINES = ("rts", "dtr")


class Adapter:
    """A serial server whose port is the device's: crossed lines, RTS of the bench is its CTS and DTR its DSR."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder=str(folder), trace="counts")
        self._listen("127.0.0.1:0")

    def _listen(self, place: str) -> None:
        self.end = Stream(f"rfc2217-listen://{place}?line=115200+8N1", rig=self.rig)
        self.url = "rfc2217://" + self.end.url.partition("://")[2].partition("?")[0]

    def restart(self) -> None:
        """The server loses its connection, and is there again."""
        self.end.close()
        self._listen(self.url.removeprefix("rfc2217://"))

    def changes(self, line: str) -> list[bool]:
        """What the bench said of how a line stands, each time it said something of any line."""
        found = []
        for record in map(json.loads, Path(self.rig.files()["log"]).read_text().splitlines()):
            event = SEEN.search(str(record["fields"].get("event", ""))) if record["kind"] == "stream.line" else None
            if event is not None:
                found.append(event[1 + LINES.index(line)] == "true")
        return found

    def wait_for(self, line: str, *states: bool) -> None:
        """Returns when a line went through these states at last, each as often as it stands there."""
        begun = self.rig.now()
        while tuple(self.changes(line)[-len(states) :]) != states:
            assert (self.rig.now() - begun).latest < 30, self.changes(line)
            self.rig.sleep("5ms")

    def close(self) -> None:
        self.end.close()
        self.rig.stop()


@pytest.fixture
def adapter(tmp_path: Path) -> Iterator[Adapter]:
    made = Adapter(tmp_path / "adapter")
    yield made
    made.close()


def open_bench(lab: Lab, tables: str, console: str | None = None) -> Bench:
    return BenchPlan.load(bench_file(lab, tables, console)).open(out=lab.folder / "run")


def bench_file(lab: Lab, tables: str, console: str | None = None) -> Path:
    path = lab.bench(tables)
    if console is not None:
        path.write_text(path.read_text().replace(str(lab.port), console))
    return path


@pytest.mark.parametrize("inverted", [False, True], ids=["set resets", "clear resets"])
def test_a_pulse_on_a_line_of_the_console_resets(lab: Lab, adapter: Adapter, inverted: bool) -> None:
    tables = f'restart = {{ line = "rts", pulse = "30ms", inverted = {str(inverted).lower()} }}'
    with open_bench(lab, tables, adapter.url) as bench:
        adapter.wait_for("rts", inverted)
        restarted = bench.device("pump").restart()
        adapter.wait_for("rts", inverted, not inverted, inverted)
        assert (restarted.done - restarted.at).latest >= 0.03
    log = lab.records("restart")
    assert log[0]["device"] == "pump"
    assert log[0]["returned_ns"] - log[0]["issued_ns"] >= 30_000_000
    driven = [record["line"] for record in lab.records("program.step") if record["what"] == "line"]
    assert driven == [f"Rts({str(state).lower()})" for state in (inverted, not inverted, inverted)]


def test_a_port_for_the_line_alone_switches_the_power(lab: Lab, adapter: Adapter) -> None:
    with open_bench(lab, f'power = {{ line = "dtr", port = "{adapter.url}", safe = "off" }}') as bench:
        power = bench.device("pump").power
        adapter.wait_for("dtr", True)
        assert (power.status(), power.actions) == ("on", ("on", "off"))
        done = power.off()
        adapter.wait_for("dtr", True, False)
        assert (power.status(), power.last) == ("off", "off")
        assert done.at.latest_ns <= done.done.latest_ns
        power.cycle(off="1ms")
        adapter.wait_for("dtr", True, False, False, True)
    # The guardian came as another client, and cleared it.
    adapter.wait_for("dtr", True, False)
    assert lab.records("safe") == [{"device": "pump", "action": "off", "by": "guardian", "problem": ""}]
    steps = [record for record in lab.records("power") if record["action"] == "off"]
    assert all(step["read_back"] == "off" and step["issued_ns"] < step["returned_ns"] for step in steps)


def test_a_console_opened_anew_finds_its_lines_as_they_were(lab: Lab, adapter: Adapter) -> None:
    tables = 'power = { line = "dtr" }\nrestart = { line = "rts" }'
    with open_bench(lab, tables, adapter.url) as bench:
        pump = bench.device("pump")
        assert pump.power.status() == "on"
        adapter.wait_for("dtr", True)
        adapter.wait_for("rts", False)
        pump.power.off()
        pump.close_links()
        assert pump.power.status() is None, "nobody knows how a line stands whose port is closed"
        pump.open_links()
        assert pump.power.status() == "off"
        # Opened: nothing is said; the reset is released, then the power goes where it was.
        adapter.wait_for("rts", False, False)
        adapter.wait_for("dtr", True, False)


def test_a_port_that_only_resets_is_released_when_the_bench_opens(lab: Lab, adapter: Adapter) -> None:
    with open_bench(lab, f'restart = {{ line = "rts", port = "{adapter.url}", inverted = true }}') as bench:
        adapter.wait_for("rts", True)
        bench.device("pump").restart()
        adapter.wait_for("rts", True, False, True)


def test_a_console_that_was_lost_is_no_silent_new_one_and_is_recovered_through_its_line(
    lab: Lab, adapter: Adapter
) -> None:
    tables = 'power = { line = "dtr" }\nrestart = { line = "rts" }\nrecover = { power = "cycle" }'
    with open_bench(lab, tables, adapter.url) as bench:
        pump = bench.device("pump")
        adapter.restart()
        pump.console.stream.receive(within="60s")  # until it ends
        assert pump.console.stream.closed is not None
        with pytest.raises(PortLost, match=r"^BENCH: pump\.restart: the line RTS of pump\.console: ") as raised:
            pump.restart()
        bench.after_error(raised.value, "test_it")
        assert "link.recovered" in lab.kinds()
        assert pump.power.status() == "on"
        # Opened to be switched off, and on: the reset is released first.
        adapter.wait_for("dtr", True, False, True)
        adapter.wait_for("rts", False, False, False)


def test_an_interrupted_pulse_lets_the_device_go(lab: Lab, adapter: Adapter) -> None:
    with open_bench(lab, 'restart = { line = "rts", pulse = "60s" }', adapter.url) as bench:
        signal.signal(signal.SIGALRM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            with pytest.raises(KeyboardInterrupt):
                bench.device("pump").restart()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        adapter.wait_for("rts", False, True, False)
    assert lab.records("restart.failed")[0]["error"] == "KeyboardInterrupt"


def test_a_port_without_modem_lines_names_the_remedy(lab: Lab) -> None:
    for tables in ('restart = { line = "rts" }', 'power = { line = "dtr" }'):
        with pytest.raises(
            BenchError, match=r"the line (RTS|DTR) of pump.console: .*\n  hint: modem lines are there on"
        ):
            open_bench(lab, tables)
    with pytest.raises(BenchFileError, match=r"`tcp://127.0.0.1:9` has no modem lines\n  hint: modem lines are there"):
        open_bench(lab, 'restart = { line = "rts" }', "tcp://127.0.0.1:9")


def test_a_program_of_the_test_has_the_port_to_itself(lab: Lab, adapter: Adapter) -> None:
    with open_bench(lab, 'restart = { line = "rts" }', adapter.url) as bench:
        pump = bench.device("pump")
        playing = pump.console.begin(Program().wait(rb"never", within="60s"))
        with pytest.raises(
            UsageError, match=r"^USAGE: pump.restart: .* runs on this stream already(.|\n)*\.rts\(True\)"
        ):
            pump.restart()
        playing.stop()
        pump.restart()


def test_a_server_that_is_gone_is_the_benchs_fault(lab: Lab, adapter: Adapter) -> None:
    url = adapter.url
    adapter.end.close()
    with pytest.raises(BenchError, match=r"^BENCH: pump.power: the line RTS of rfc2217://.*: "):
        open_bench(lab, f'power = {{ line = "rts", port = "{url}" }}')


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_the_line_is_clear_however_the_run_ends(lab: Lab, adapter: Adapter, number: int) -> None:
    bench_file(lab, f'power = {{ line = "rts", port = "{adapter.url}", safe = "off" }}')
    (lab.folder / "bench.toml").touch()
    run = Run(lab, "pump.power.on()")
    try:
        run.wait_until_it_waits()
        adapter.wait_for("rts", True, True)
        with lab.ends(run.guardian()):
            run.signal(number)
            run.end()
    finally:
        if run.process.poll() is None:
            run.signal(signal.SIGKILL)
            run.process.communicate()
    adapter.wait_for("rts", True, True, False)
