"""The command line: ``fieldrig COMMAND``.

Rules of this package:

- A subcommand is one file here with ``add`` (its arguments) and ``run`` (what it does), and one entry in ``_COMMANDS``.
  It exists only once it works.
- Exit codes: 0 pass, 1 fail, 2 usage, 3 bench error, 4 inconclusive, 5 nothing judged. See :class:`Exit`.
- Results go to standard output, complaints to standard error. On a terminal there are colours and a line of progress;
  elsewhere, and with ``NO_COLOR``, plain lines. ``--format json`` prints one JSON object on each line instead.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Protocol

from .. import __version__
from ..errors import FieldrigError, InconclusiveError
from . import bridge, calibrate, check, conform, demo, doctor, emulate, init, map, ports, probe
from .exits import Exit, exit_of
from .output import Output

__all__ = ["Exit", "main"]


class Command(Protocol):
    """A module of this package that is a subcommand; the first line of its docstring is its summary."""

    __doc__: str | None

    def add(self, parser: argparse.ArgumentParser) -> None:
        """Adds its arguments."""

    def run(self, options: argparse.Namespace, output: Output) -> int:
        """Does it; the exit code."""


_COMMANDS: dict[str, Command] = {
    "init": init,
    "check": check,
    "ports": ports,
    "calibrate": calibrate,
    "doctor": doctor,
    "emulate": emulate,
    "bridge": bridge,
    "probe": probe,
    "map": map,
    "conform": conform,
    "demo": demo,
}

_EPILOG = """\
exit codes: 0 pass, 1 fail, 2 usage, 3 bench error, 4 inconclusive, 5 nothing judged
tests of your own are run by pytest: pytest --bench bench.toml
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: what follows the name of the program; by default, that of this process.

    Returns:
        The exit code.
    """
    try:
        options = parser().parse_args(arguments)
    except SystemExit as ended:  # argparse has said what is wrong, or has printed the help or the version
        return int(ended.code or 0)
    output = Output(json=options.format == "json")
    try:
        code = _COMMANDS[options.command].run(options, output)
        sys.stdout.flush()
        return int(code)
    except FieldrigError as error:
        return int(_complain(output, error))
    except KeyboardInterrupt:
        output.complain("stopped by Ctrl-C")
        return 130
    except BrokenPipeError:  # whoever read our output has gone, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _complain(output: Output, error: FieldrigError) -> Exit:
    code = exit_of(error)
    blame = "inconclusive" if isinstance(error, InconclusiveError) else code.name.lower()
    output.record("error", blame=blame, message=error.message, hint=error.hint, exit=int(code))
    output.complain(str(error))
    return code


def parser() -> argparse.ArgumentParser:
    """What takes the command line apart: every command with its arguments."""
    whole = argparse.ArgumentParser(
        prog="fieldrig",
        description="Hardware-in-the-loop tests for M2M and IoT devices.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"fieldrig {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--format", choices=("text", "json"), default="text", help="what is printed: text, or one JSON object a line"
    )
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        summary = (module.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=summary, description=module.__doc__, parents=[common])
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        module.add(command)
    return whole
