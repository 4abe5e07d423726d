"""Commands on consoles: what is no command, and what becomes of one whose device starts anew meanwhile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fieldrig import BenchPlan, Rig
from fieldrig.errors import ExpectationFailed, InconclusiveError, UsageError
from fieldrig.power import Action
from fieldrig.serial import Console
from fieldrig.stimulus import Program
from fieldrig.stream import Stream

Pair = tuple[Console, Stream]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A console, and the device at the other end; bytes take no time."""
    with Rig(clock="virtual", trace="counts") as rig:
        rig.add_wire("console")
        with Stream("wire://console", rig=rig) as device, Console("wire://console", rig=rig) as console:
            yield console, device


def answers(device: Stream, *pieces: bytes) -> None:
    """The device echoes what comes up to the line end, and says this behind it, piece by piece."""
    program = Program().wait(rb"\n", within="10s")
    for piece in pieces:
        program = program.send(piece, after="10ms")
    device.begin(program)


@pytest.mark.parametrize("command", ["", "  ", "\t", None, 7, b"ver"])
@pytest.mark.parametrize("shell", ["posix", "prompt"])
def test_what_is_no_command_is_not_sent(pair: Pair, command: Any, shell: Any) -> None:
    console, device = pair
    with pytest.raises(UsageError, match=r"run\(.*no command to run|run\(\) takes a command as text, not") as refused:
        console.run(command, shell=shell, prompt="# ")
    assert "\n" not in refused.value.message
    device.look()
    assert device.length == 0


@pytest.mark.parametrize("command", ["a\nb", "a\r", "a\r\nb"])
@pytest.mark.parametrize("shell", ["posix", "prompt"])
def test_a_command_of_several_lines_is_not_sent(pair: Pair, command: str, shell: Any) -> None:
    console, device = pair
    with pytest.raises(UsageError, match=r"run\('a.*'\) takes one line\n  hint: separate commands by `;`"):
        console.run(command, shell=shell, prompt="# ")
    device.look()
    assert device.length == 0


WRONG = [
    ("", "prompt='' is no pattern for what asks for a command\n  hint: write for example prompt=r\"[$#] \""),
    (b"# ", "prompt=b'# ' is no pattern"),
    (7, "prompt=7 is no pattern"),
    ("(", "prompt='(': the pattern"),
    ("x*", "prompt='x*': the pattern /x*/ matches nothing at all"),
]


@pytest.mark.parametrize(("prompt", "told"), WRONG)
def test_what_is_no_prompt_is_refused_wherever_it_is_said(pair: Pair, prompt: Any, told: str) -> None:
    console, device = pair
    with pytest.raises(UsageError, match=re.escape(f"Console(): {told}")):
        Console("memory://nobody", prompt=prompt)
    with pytest.raises(UsageError, match=re.escape(told)):
        console.prompt = prompt
    with pytest.raises(UsageError, match=re.escape(told)):
        console.run("ver", prompt=prompt)
    with pytest.raises(UsageError, match=re.escape(told)):
        console.login("root", prompt=prompt)
    assert console.prompt is None
    device.look()
    assert device.length == 0


@pytest.mark.parametrize("text", [0, True, None, [], {}, 7, "\ud800"])
def test_what_is_neither_text_nor_bytes_is_not_sent(pair: Pair, text: Any) -> None:
    console, device = pair
    with pytest.raises(UsageError, match=r"Console\.send\(\): text="):
        console.send(text)
    if text is not None:
        with pytest.raises(UsageError, match=r"Console\.send\(\): end="):
            console.send("x", end=text)
    device.look()
    assert device.length == 0


def test_a_login_prompt_in_the_place_of_the_end_is_told(pair: Pair) -> None:
    console, device = pair
    answers(device, b"\r\nU-Boot 2024.01 (Jan 01 2024)\r\n", b"Linux version 6.6.1\r\nbox login: ")
    with pytest.raises(ExpectationFailed) as failed:
        console.run("long_job", within="1s")
    headline, *more = failed.value.message.splitlines()
    assert headline.endswith("of `long_job` did not come, and it seems to start anew: U-Boot 2024.01 (Jan 01 2024)")
    assert any("window: 1 s" in line for line in more)
    answers(device, b"\r\nbox login: ")
    with pytest.raises(ExpectationFailed, match="the prompt behind `ver` did not come, and it asks for a login"):
        console.run("ver", shell="prompt", prompt="=> ", within="1s")


@pytest.mark.parametrize("command", ["reboot", "sync; reboot -f", "/sbin/shutdown -r now", "init 6", "exit"])
def test_a_command_that_ends_its_shell_accuses_nobody(pair: Pair, command: str) -> None:
    console, device = pair
    answers(device, b"\r\nbox login: ")
    with pytest.raises(UsageError, match=r"has no end that run\(\) could wait for.*\n  hint: sent = console\.send\("):
        console.run(command, within="1s")


@pytest.mark.parametrize("command", ["cat reboot.txt", "ls exits", "echo resetting"])
def test_a_command_that_only_speaks_of_a_restart_is_judged(pair: Pair, command: str) -> None:
    console, device = pair
    answers(device, b"\r\nbox login: ")
    with pytest.raises(ExpectationFailed, match="and it asks for a login"):
        console.run(command, within="1s")


@pytest.mark.parametrize("shell", ["posix", "prompt"])
def test_a_restart_of_ours_while_a_command_runs_is_no_fault_of_the_device(pair: Pair, shell: Any) -> None:
    console, device = pair
    answers(device, b"\r\nbox login: ")
    soon = device.now().on_same_clock(device.now().latest_ns + 5_000_000)
    console._timeline.restarted = Action("power cycle", soon, soon)
    with pytest.raises(InconclusiveError, match="`ver` was cut short by us: power cycle came while it ran"):
        console.run("ver", shell=shell, prompt="=> ", within="1s")


def test_a_prompt_behind_a_restart_of_ours_ends_no_command(pair: Pair) -> None:
    console, device = pair
    answers(device, b"\r\nU-Boot 2024.01\r\n=> ")
    soon = device.now().on_same_clock(device.now().latest_ns + 5_000_000)
    console._timeline.restarted = Action("restart", soon, soon)
    with pytest.raises(InconclusiveError, match="`ver` was cut short by us: restart came while it ran"):
        console.run("ver", shell="prompt", prompt="=> ", within="1s")


BENCH = """\
[bench]
name = "rack"
profile = "emulated"
clock = "virtual"
[link.console]
protocol = "console"
line = "115200 8N1"
client = { prompt = "box> " }
[dut.box]
model = "box.toml"
links = { console = {} }
"""

MODEL = """\
[model]
name = "box"
[boot]
time = "2s"
[face.console]
prompt = "box> "
[[command]]
match = "ver"
reply = "fw 1.4.2"
"""


def test_who_does_not_wait_for_the_start_accuses_nobody(tmp_path: Path) -> None:
    (tmp_path / "box.toml").write_text(MODEL)
    (tmp_path / "bench.toml").write_text(BENCH)
    with BenchPlan.load(tmp_path / "bench.toml").open(tmp_path / "run") as bench:
        box = bench.device("box")
        console = box.console
        box.power.wait_until_up()
        assert console.run("ver", shell="prompt", within="1s").output == "fw 1.4.2\n"
        box.power.cycle(off="10ms")
        with pytest.raises(InconclusiveError, match="nobody has waited for the start behind power on") as told:
            console.run("ver", shell="prompt", within="1s")
        assert str(told.value.hint).startswith("wait for it: console.boot(")
        box.power.wait_until_up()
        assert console.run("ver", shell="prompt", within="1s").output.endswith("fw 1.4.2\n")
