"""A bench with a real device for tests of the life cycle: a pty for its console, and a shell script for its power.

The script writes what it is asked into the file ``switched``, one action a line, when it begins and when it has ended.
"""

from __future__ import annotations

import json
import os
import select
import threading
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
                answer = self.answers.get(line.decode().strip())
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
        self.console = Console({"ver": "fw 1.4.2"})
        self.relay = folder / "relay.sh"
        self.relay.write_text(RELAY.format(folder=folder))
        self.relay.chmod(0o755)

    def bench(self, tables: str) -> Path:
        """Writes the bench file, with these tables of the device."""
        path = self.folder / "bench.toml"
        path.write_text(BENCH.format(port=self.console.port, tables=tables))
        return path

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

    def hold(self, action: str) -> None:
        """From now on the relay says when it has begun an action, and waits for `let_go`."""
        os.mkfifo(self.folder / f"{action}.begun")
        os.mkfifo(self.folder / f"{action}.go")

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
