"""Commands of the bench file: each runs to its end, or is ended at its time limit with all that it started.

::

    run_command("relay.sh {action} 7", {"action": "on"}, Path("."), "30s")

There is no shell: the words are split as a shell would split them, then each placeholder is replaced within its word,
so that a value with blanks stays one argument.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..errors import BenchError
from ..units import human, nanoseconds

LAST_LINES = 3
"""So much of what a failed command said stands in the error."""


class Watcher(Protocol):
    """Wants to know which command is under way: the guardian, which must not act beside it."""

    def descriptors(self) -> Sequence[int]:
        """What the command inherits, so that its end can be seen by whoever holds the other side."""

    def begins(self, group: int) -> None:
        """A process group was started."""

    def ends(self, group: int) -> None:
        """It is gone."""


def run_command(
    command: str,
    values: Mapping[str, str],
    folder: Path,
    limit: str,
    what: str = "command",
    watcher: Watcher | None = None,
) -> list[str]:
    """Runs a command to its end. Ctrl-C and the time limit end it at once, and all that it started.

    Args:
        command: program and arguments.
        values: what stands for `{name}` in them.
        folder: where it runs: that of the bench file.
        limit: how long it may take.
        what: what the error calls it.

    Returns:
        The lines that it said on stdout and stderr, without those that are empty at the end.

    Raises:
        BenchError: it could not be started, took too long, or ended with another code than 0.
    """
    name = f"the {what} `{filled(command, values)}`"
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [filled(word, values) for word in shlex.split(command)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                pass_fds=tuple(watcher.descriptors()) if watcher is not None else (),
            )
        except (OSError, ValueError, IndexError) as error:
            raise BenchError(f"{name} could not be run: {error}") from None
        try:
            if watcher is not None:
                watcher.begins(process.pid)
            if not _ended(process, nanoseconds(limit, "timeout") / 1e9):
                raise BenchError(f"{name} took longer than {human(nanoseconds(limit, 'timeout'))}")
        finally:
            _end(process)
            if watcher is not None:
                watcher.ends(process.pid)
        said.seek(0)
        lines = said.read().decode(errors="replace").rstrip().splitlines()
    if process.returncode != 0:
        last = " / ".join(line.strip() for line in lines[-LAST_LINES:] if line.strip()) or "it said nothing"
        raise BenchError(f"{name} ended with {process.returncode}: {last}", code=process.returncode)
    return lines


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with its placeholders replaced."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits for the end of a process, without looking again and again where the kernel can tell."""
    with suppress(OSError):
        descriptor = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        finally:
            os.close(descriptor)
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Takes the result of a process; one that still runs is killed, and all that it started."""
    if process.poll() is None:
        kill_group(process.pid)
        process.wait()


def kill_group(group: int) -> None:
    """Kills a process group; one that is gone already is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
