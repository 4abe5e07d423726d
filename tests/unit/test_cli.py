"""The frame of the command line: exit codes, formats, manners."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldrig import __version__, cli, errors
from fieldrig.cli.exits import Exit, exit_of
from fieldrig.cli.output import Output


class Command:
    """A subcommand made for a test: `probe`."""

    def __init__(self, action: Callable[[Output], int]) -> None:
        self.__doc__ = "Does what the test says."
        self._action = action

    def add(self, parser: argparse.ArgumentParser) -> None:
        """No arguments."""

    def run(self, options: argparse.Namespace, output: Output) -> int:
        """Does it."""
        return self._action(output)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `fieldrig probe` with a given action."""

    def run(action: Callable[[Output], int], *arguments: str) -> int:
        monkeypatch.setitem(cli._COMMANDS, "probe", Command(action))
        return cli.main(["probe", *arguments])

    return run


def raising(error: BaseException) -> Callable[[Output], int]:
    def action(output: Output) -> int:
        raise error

    return action


def test_a_folder_for_results_that_cannot_be_made_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert cli.main(["demo", "gateway", "--out", str(tmp_path / "file" / "out")]) == Exit.BENCH
    told = capsys.readouterr().err
    assert (
        told == f"BENCH: {tmp_path}/file/out cannot be made: Not a directory\n  hint: --out DIR names another folder\n"
    )


EXITS = {
    "DutError": Exit.FAIL,
    "ExpectationFailed": Exit.FAIL,
    "NoAnswer": Exit.FAIL,
    "UsageError": Exit.USAGE,
    "ForkError": Exit.USAGE,
    "BenchError": Exit.BENCH,
    "BenchFileError": Exit.BENCH,
    "PortError": Exit.BENCH,
    "PortLost": Exit.BENCH,
    "EndpointStuck": Exit.BENCH,
    "InconclusiveError": Exit.INCONCLUSIVE,
    "Unanswered": Exit.INCONCLUSIVE,
    "ObserverBlind": Exit.INCONCLUSIVE,
}


@pytest.mark.parametrize("name", EXITS)
def test_the_kind_of_an_error_decides_the_exit_code(
    name: str, probe: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    error = getattr(errors, name)("the wire is cut", hint="splice it")
    assert probe(raising(error)) == EXITS[name]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{error.blame}: the wire is cut\n  hint: splice it\n"


def test_every_error_has_an_exit_code() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert {exit_of(kind("x")) for kind in kinds} == {Exit.FAIL, Exit.USAGE, Exit.BENCH, Exit.INCONCLUSIVE}


def test_exit_codes_are_those_of_the_design() -> None:
    assert {code.name: int(code) for code in Exit} == {
        "PASS": 0,
        "FAIL": 1,
        "USAGE": 2,
        "BENCH": 3,
        "INCONCLUSIVE": 4,
        "NOTHING": 5,
    }


@pytest.mark.parametrize("name", list(cli._COMMANDS))
def test_every_command_has_a_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Example: fieldrig {name}" in shown
    assert "--format {text,json}" in shown


def test_the_code_of_a_command_is_the_exit_code(probe: Callable[..., int]) -> None:
    assert probe(lambda output: Exit.NOTHING) == 5


def test_ctrl_c_ends_with_130(probe: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert probe(raising(KeyboardInterrupt())) == 130
    assert "Ctrl-C" in capsys.readouterr().err


def test_wrong_arguments_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sail"]) == 2
    assert "invalid choice: 'sail'" in capsys.readouterr().err
    assert cli.main([]) == 2


def test_json_is_one_object_a_line_and_nothing_else(
    probe: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def action(output: Output) -> int:
        output.say("for people")
        output.progress("working")
        output.table([["a", "pass"]], ["name", "verdict"], 1)
        output.record("row", id="MBAP-01", verdict="pass")
        raise errors.PortError("busy", hint="close the other program")

    assert probe(action, "--format", "json") == 3
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == [
        {"kind": "row", "id": "MBAP-01", "verdict": "pass"},
        {"kind": "error", "blame": "bench", "message": "busy", "hint": "close the other program", "exit": 3},
    ]


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        return True


def show(out: io.StringIO) -> str:
    output = Output(out=out)
    output.progress("row 1 of 2")
    output.table([["MBAP-01", "fail"]], ["row", "verdict"], 1)
    return out.getvalue()


def test_a_terminal_gets_colours_and_a_line_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = show(Terminal())
    assert "row 1 of 2" in shown and "\r\x1b[K" in shown and "\x1b[31mfail" in shown


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[31m" not in show(Terminal())


def test_what_is_no_terminal_gets_plain_lines() -> None:
    assert show(io.StringIO()) == "  row      verdict\n  MBAP-01  fail\n"


def test_the_installed_program_tells_its_version() -> None:
    told = subprocess.run([sys.executable, "-m", "fieldrig", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"fieldrig {__version__}\n"
