"""What the documentation shows does what the text around it says, as it is written.

What needs a port of the reader's machine gets one of ours in its place; nothing else is changed.
"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import BenchPlan, Rig
from fieldrig.serial import Console
from tests.snippets import run_pytest, snippet

LIFE = "docs/life-cycle.md"


def run(code: str, folder: Path) -> str:
    """Runs a snippet as a program of its own in a folder; what it printed."""
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_bridge_of_the_documentation_joins_a_pty_and_a_socket(tmp_path: Path) -> None:
    code = snippet("docs/links.md", "python", "from fieldrig.bridge import Bridge")
    code = code.replace("/tmp/meter", str(tmp_path / "meter")).replace("/tmp/qemu.sock", str(tmp_path / "qemu.sock"))
    check = f"""
    from fieldrig.serial import Console
    with Console("serial://{tmp_path}/meter?line=9600+8E1") as left:
        left.send("who are you?")
        left.expect("I am QEMU", within="10s")
    assert bridge.lost is None
"""
    assert code.rstrip().endswith("    ...")
    with Rig() as rig, Console(f"unix-listen://{tmp_path}/qemu.sock", rig=rig) as machine:

        def answer() -> None:
            machine.expect(r"who are you\?", within="20s")
            machine.send("I am QEMU")

        peer = threading.Thread(target=answer)
        peer.start()
        run(code.rstrip().removesuffix("    ...") + check, tmp_path)
        peer.join()


def test_the_console_of_the_documentation_runs_commands_in_a_shell(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    line, far = pty.openpty()
    tty.setraw(far)  # until the console has opened it, what the shell says would come back to the shell
    shell = subprocess.Popen(
        ["sh", "-i"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, "PS1": "$ "}
    )
    os.close(slave)
    pumps = [threading.Thread(target=pump, args=pair) for pair in ((master, line), (line, master))]
    for one in pumps:
        one.start()
    try:
        code = snippet("docs/consoles.md", "python", "from fieldrig.serial import Console")
        run(code.replace("/dev/ttyUSB0", os.ttyname(far)), tmp_path)
    finally:
        shell.kill()
        shell.wait()
        os.close(far)
        for one in pumps:
            one.join()
        os.close(line)
        os.close(master)


def pump(source: int, sink: int) -> None:
    """Hands on what comes until one end is gone."""
    try:
        while data := os.read(source, 4096):
            os.write(sink, data)
    except OSError:
        return


def test_the_protocol_of_the_documentation_is_asked_and_answers(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(snippet("docs/protocols.md", "toml", 'name = "acme"'))
    run(snippet("docs/protocols.md", "python", "from fieldrig import protocol"), tmp_path)


def test_the_verdicts_on_times_of_the_documentation_pass_on_a_device_that_keeps_them(tmp_path: Path) -> None:
    code = snippet("docs/timing.md", "python", "from fieldrig import timing")
    (tmp_path / "test_ticks.py").write_text(
        "def test_ticks(console, measure):\n" + "".join(f"    {line}\n" for line in code.splitlines())
    )
    (tmp_path / "conftest.py").write_text(CLOCK)
    ended = run_pytest(tmp_path, "test_ticks.py")
    assert ended.returncode == 0, ended.stdout
    assert "1 pass" in ended.stdout
    slow = CLOCK.replace('every="100ms"', 'every="106ms"')
    (tmp_path / "conftest.py").write_text(slow)
    ended = run_pytest(tmp_path, "test_ticks.py")
    assert ended.returncode == 1 and "DUT:" in ended.stdout, "the snippet can fail, too"


CLOCK = """
import pytest
from fieldrig import Rig
from fieldrig.serial import Console
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

@pytest.fixture
def console():
    ticks = Program().send(b"tick 1\\n").repeat(every="100ms", count=20)
    with Rig(clock="virtual") as rig:
        rig.add_wire("line", "115200 8N1")
        with Stream("wire://line", rig=rig) as device, Console("wire://line", rig=rig) as console:
            device.begin(Program().wait(b"start", within="1min").pause("6ms") + ticks)
            yield console
"""


@pytest.fixture
def documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the bench and the model of the documentation, and what they name."""
    monkeypatch.setenv("BENCH_SITE", "lab")
    monkeypatch.setenv("BROKER_PASSWORD", "open sesame")
    (tmp_path / "models").mkdir()
    model = snippet("docs/bench-file.md", "toml", "[model]")
    (tmp_path / "models" / "meter.toml").write_text(model)
    (tmp_path / "models" / "sensor.toml").write_text('[model]\nname = "sensor"\n[face.uplink]\n')
    (tmp_path / "bench.toml").write_text(snippet("docs/bench-file.md", "toml", "[bench]"))
    yield tmp_path


def test_the_bench_and_the_model_of_the_documentation_go_together(documented: Path) -> None:
    (documented / "test_meter.py").write_text(METER)
    ended = run_pytest(documented, "--bench", "bench.toml", "test_meter.py")
    assert ended.returncode == 0, ended.stdout
    assert "meter=emulated: 1 pass" in ended.stdout
    assert BenchPlan.load(documented / "bench.toml", ["real"]).name == "rack"


METER = """
def test_hot(meter):
    with meter.uplink.watch("{base}/alarm", qos=1) as alarms:
        hot = meter.modbus.write("setpoint", 85.0)
        alarms.expect(json={"code": "OVERTEMP", "value": 85.0}, after=hot, within="20s")
"""


METER_WITH_IDENTITY = """
[dut.meter]
unit = 1
links.console = {{ port = "/dev/ttyUSB1", line = "9600 8N1" }}
links.modbus = {{ protocol = "modbus-rtu", port = "/dev/ttyUSB2", line = "9600 8N1" }}
{code}
"""


@pytest.mark.parametrize(
    ("beginning", "whole"),
    [
        ("[dut.gateway]", "{code}"),
        ("[link.modbus]", "{code}"),
        ("identity = ", METER_WITH_IDENTITY),
    ],
    ids=["power", "program", "identity"],
)
def test_a_bench_of_the_life_of_a_device_can_be_read(beginning: str, whole: str, tmp_path: Path) -> None:
    code = snippet(LIFE, "toml", beginning)
    bench = tmp_path / "bench.toml"
    bench.write_text('[bench]\nname = "life"\nprofile = "real"\n\n' + whole.format(code=code))
    assert BenchPlan.load(bench).name == "life"
