"""Commands in real shells and interpreters behind a pty: bash, dash, busybox, Python."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fieldrig.errors import CommandFailed, ExpectationFailed, PortError, UsageError
from fieldrig.serial import Console, Mark
from tests.needs import program

SHELLS = {
    "bash": ("bash", "exec bash --norc --noprofile -i"),
    "dash": ("dash", "exec dash -i"),
    "busybox": ("busybox", "exec busybox sh -i"),
}


def connected(socket: Path, server: subprocess.Popen[bytes], **settings: object) -> Console:
    """The console behind a socket, once its server listens there."""
    while True:
        try:
            return Console(f"unix://{socket}", belongs_to="dut", **settings)  # type: ignore[arg-type]
        except PortError:
            with suppress(subprocess.TimeoutExpired):
                raise AssertionError(f"the server ended with status {server.wait(0.02)}") from None


@contextmanager
def behind_a_pty(command: str, socket: Path, **settings: object) -> Iterator[Console]:
    """A program that believes to have a terminal."""
    script = socket.with_suffix(".sh")
    script.write_text(f"#!/bin/sh\n{command}\n")
    script.chmod(0o700)
    arguments = [program("socat"), f"UNIX-LISTEN:{socket}", f"EXEC:{script},pty,stderr,setsid,ctty"]
    terminal = subprocess.Popen(arguments, env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "PS1": "$ ", "HOME": "/"})
    try:
        with connected(socket, terminal, **settings) as console:
            yield console
    finally:
        terminal.kill()
        terminal.wait()


@pytest.fixture(params=SHELLS, scope="module")
def shell(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    package, command = SHELLS[request.param]
    program(package)
    socket = tmp_path_factory.mktemp("shell") / "s"
    with behind_a_pty(command, socket, ansi="strip") as console:
        yield console


def test_output_and_status_are_told_apart_from_the_echo(shell: Console) -> None:
    ran = shell.run("echo one; echo two >&2; false", within="30s")
    assert (ran.output, ran.status, ran.lines) == ("one\ntwo\n", 1, ["one", "two"])
    assert shell.run("true", within="30s").output == ""
    assert shell.run("printf unfinished; (exit 42)", within="30s").status == 42
    assert shell.run("printf 'no line end'", within="30s").output == "no line end"
    assert ran.until(shell.run("true", within="30s")).earliest_ns > 0


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ('echo it\\\'s "fine" # a comment', "it's fine\n"),
        ("echo 'single $HOME `quotes`'", "single $HOME `quotes`\n"),
        ("x=5; echo $((x * 2)) | tr 0 9", "19\n"),
        ("for i in 1 2 3; do echo $i; done", "1\n2\n3\n"),
        ("sleep 0 & wait", None),
        ("set -x; : traced; set +x", None),
        ("echo äöü", "äöü\n"),
    ],
)
def test_whatever_stands_in_a_command_is_run_as_it_is(shell: Console, command: str, output: str | None) -> None:
    ran = shell.run(command, within="30s")
    assert ran.status == 0
    assert output is None or ran.output == output


def test_a_long_command_line_is_wrapped_by_nobody(shell: Console) -> None:
    words = " ".join(f"word{number}" for number in range(100))
    assert shell.run(f"echo {words}", within="30s").output == words + "\n"


def test_much_output_is_whole(shell: Console) -> None:
    ran = shell.run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", within="60s")
    assert ran.lines == [f"line {number}" for number in range(20000)]


def test_a_status_other_than_0_is_the_devices_fault_if_that_is_asked_for(shell: Console) -> None:
    with pytest.raises(
        CommandFailed, match=r"DUT: .*`ls /nowhere/at/all` ended with status [12], saying:\n.*nowhere"
    ) as failed:
        shell.run("ls /nowhere/at/all", within="30s", check=True)
    assert failed.value.facts["status"] in (1, 2)


def test_what_ends_too_late_or_never_is_named(shell: Console) -> None:
    with pytest.raises(ExpectationFailed, match="the end of `read line` did not come"):
        shell.run("read line", within="300ms")
    shell.send("")
    assert shell.run("echo again", within="30s").output == "again\n"
    with pytest.raises(UsageError, match="one line"):
        shell.run("echo a\necho b")
    with pytest.raises(UsageError, match="needs to know the prompt"):
        shell.run("echo a", shell="prompt")
    with pytest.raises(UsageError, match="has none"):
        shell.run("echo a", shell="prompt", prompt="[$#] ", check=True)


def test_where_there_is_only_a_prompt_the_output_is_what_stands_before_it(tmp_path: Path) -> None:
    command = "exec python3 -i -q -c 'import sys; sys.ps1 = \"py> \"'"
    with behind_a_pty(command, tmp_path / "s", ansi="strip", prompt="py> ") as console:
        console.expect("py> ", within="30s")
        ran = console.run("6 * 7", shell="prompt", within="30s")
        assert (ran.output, ran.status) == ("42\n", None)
        assert console.run("print('py> ', 1)", shell="prompt", within="30s").output == "py>  1\n"


def test_a_command_that_no_terminal_takes_as_one_line_is_refused(shell: Console) -> None:
    with pytest.raises(UsageError, match="more than 4000 bytes"):
        shell.run("echo " + "x" * 4000)


def test_real_firmware_says_on_its_console_that_it_has_started(tmp_path: Path) -> None:
    emulator = program("qemu-system-arm", "qemu-system-arm")
    firmware = Path(__file__).parents[2] / "examples" / "firmware" / "firmware.hex"
    socket = tmp_path / "console"
    serial = f"unix:{socket},server=on,wait=on"  # it starts when somebody listens
    command = [emulator, "-M", "lm3s6965evb", "-nographic", "-nodefaults", "-serial", serial, "-device"]
    machine = subprocess.Popen([*command, f"loader,file={firmware}"], stdin=subprocess.DEVNULL)
    try:
        with connected(socket, machine, ansi="strip") as console:
            started = console.mark()
            console.boot(r"(?m)^ready", after=Mark(started.at, 0), within="60s", fails=["panic", "fault"])
            asked = console.send("ver", pace="1ms")
            assert console.expect(r"fw (\S+)\s", after=asked, within="60s")[1] == "1.0"
    finally:
        machine.kill()
        machine.wait()
