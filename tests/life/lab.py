"""A bench with a real device for tests of the life cycle: a pty for its console, and a shell script for its power.

The script writes what it is asked into the file ``switched``, one action a line, when it begins and when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RELAY = """#!/bin/sh
# A relay: writes down what it is asked. With a FIFO named after an action it begins, says so, and waits to be let go.
echo "$1" >> "{folder}/switched"
[ -p "{folder}/$1.begun" ] && {{ echo begun > "{folder}/$1.begun"; cat "{folder}/$1.go" > /dev/null; }}
[ -e "{folder}/$1.fails" ] && {{ echo "relay: contact welded" >&2; exit 3; }}
[ "$1" = status ] && cat "{folder}/state" || echo "$1" > "{folder}/state"
echo "$1 done" >> "{folder}/switched"
"""

BENCH = """
[bench]
name = "lab"
profile = "real"
[link.console]
protocol = "console"
line = "115200 8N1"
real = {{ port = "{port}", belongs_to = "bench" }}
[dut.pump]
links = {{ console = {{}} }}
{tables}
"""


class Console:
    """The device's end of the console: answers lines, on a thread, until it is closed."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.becomes: dict[str, dict[str, str]] = {}
        """What a line changes in the answers."""
        self._master, self._slave = os.openpty()
        self.port = os.ttyname(self._slave)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="console")
        self._thread.start()

    def _serve(self) -> None:
        rest = b""
        while True:
            ready, _, _ = select.select([self._master, self._stop], [], [])
            if self._stop in ready:
                return
            *lines, rest = (rest + os.read(self._master, 4096)).split(b"\n")
            for line in lines:
                asked = line.decode().strip()
                answer = self.answers.get(asked)
                self.answers.update(self.becomes.get(asked, {}))
                if answer is not None:
                    os.write(self._master, answer.encode() + b"\r\n")

    def close(self) -> None:
        """The port goes away."""
        if self._thread.is_alive():
            os.close(self._stopper)
            self._thread.join()
            for descriptor in (self._master, self._slave, self._stop):
                os.close(descriptor)


class Lab:
    """A folder with a bench file, a relay and a device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = folder / "console"
        self.plug_in()
        self.relay = folder / "relay.sh"
        self.relay.write_text(RELAY.format(folder=folder))
        self.relay.chmod(0o755)

    def bench(self, tables: str) -> Path:
        """Writes the bench file, with these tables of the device."""
        path = self.folder / "bench.toml"
        path.write_text(BENCH.format(port=self.port, tables=tables))
        return path

    def plug_in(self) -> None:
        """The console of the device is there, as a new port under the same name."""
        self.console = Console({"ver": "fw 1.4.2"})
        self.port.unlink(missing_ok=True)
        self.port.symlink_to(self.console.port)

    def pull_out(self) -> None:
        """The port of the console goes away, and its name with it."""
        self.port.unlink()
        self.console.close()

    def power(self, **keys: object) -> str:
        """A `power` table with the relay."""
        more = "".join(f", {name} = {_toml(value)}" for name, value in keys.items())
        return f'power = {{ command = "{self.relay} {{action}}"{more} }}'

    def switched(self) -> list[str]:
        """What the relay was asked, and what it has done."""
        path = self.folder / "switched"
        return path.read_text().splitlines() if path.exists() else []

    def records(self, kind: str) -> list[dict[str, Any]]:
        """The fields of the lines of one kind in the run log."""
        lines = (self.folder / "run" / "run.jsonl").read_text().splitlines()
        return [line.get("fields", {}) for line in map(json.loads, lines) if line["kind"] == kind]

    def kinds(self) -> list[str]:
        """The kinds of all lines in the run log, in order."""
        return [json.loads(line)["kind"] for line in (self.folder / "run" / "run.jsonl").read_text().splitlines()]

    def hold(self, action: str) -> None:
        """From now on the relay says when it has begun an action, and waits for `let_go`."""
        os.mkfifo(self.folder / f"{action}.begun")
        os.mkfifo(self.folder / f"{action}.go")

    def fifo(self, name: str) -> int:
        """A pipe by name, with which a run tells this process where it is: our end."""
        os.mkfifo(self.folder / name)
        return os.open(self.folder / name, os.O_RDONLY | os.O_NONBLOCK)

    @staticmethod
    def wait_for_word(pipe: int, run: subprocess.Popen[bytes]) -> None:
        """Returns when a run has written into the pipe; fails if it ends without a word."""
        ended = os.pidfd_open(run.pid)
        try:
            poll = select.poll()
            poll.register(pipe, select.POLLIN)
            poll.register(ended, select.POLLIN)
            poll.poll()
            assert os.read(pipe, 64), "the run has ended without a word"
        finally:
            os.close(ended)
            os.close(pipe)

    @contextlib.contextmanager
    def ends(self, process: int) -> Iterator[None]:
        """Is over when a process that was there before is gone."""
        descriptor = os.pidfd_open(process)
        try:
            yield
            ready, _, _ = select.select([descriptor], [], [], 60)
            assert ready, "the guardian does not end"
        finally:
            os.close(descriptor)

    def wait_until_begun(self, action: str) -> None:
        """Returns when the relay has begun an action that is held."""
        assert (self.folder / f"{action}.begun").read_text() == "begun\n"

    def let_go(self, action: str) -> None:
        """The relay may go on, now and from now on."""
        (self.folder / f"{action}.begun").unlink()
        (self.folder / f"{action}.go").write_text("go\n")

    def close(self) -> None:
        """Ends the device."""
        self.console.close()


def _toml(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return f'"{value}"'
