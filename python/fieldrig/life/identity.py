"""Who a device is: what the `identity` table of the bench file reads from it.

::

    identity = { firmware = { console = "ver", match = 'fw (\\S+)' }, serial = { modbus = "serial_number" } }

It is read at the start and at the end of a run, and after everything that may change it on purpose. If it changes
without that, nobody knows which device the tests have judged, and the run proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BenchError, FieldrigError
from ..units import nanoseconds
from .command import Watcher, run_command

if TYPE_CHECKING:
    from ..dut import Dut

TIMEOUT = "10s"
"""How long one answer may take, if the bench file does not say."""
WAYS = ("console", "modbus", "mqtt", "command")
STEP = 20_000_000
"""Between two looks at a console lie at most so many nanoseconds."""


class Identity(Mapping[str, str]):
    """What a device said about itself: name and value, as read last.

    ``meter.identity["firmware"]`` is what it was when it was read last. A test that changes it on purpose, such as a
    firmware update, calls `accept` when the device is back.
    """

    def __init__(
        self,
        dut: Dut,
        tables: Mapping[str, Mapping[str, Any]],
        folder: Path,
        log: Callable[..., None],
        watcher: Callable[[], Watcher | None],
    ) -> None:
        self._dut = dut
        self._tables = tables
        self._folder = folder
        self._log = log
        self._watcher = watcher
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name in self._tables and name not in self._known:
            self._known[name] = self.read(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def known(self) -> Mapping[str, str]:
        """What was read until now."""
        return dict(self._known)

    def accept(self, why: str) -> Mapping[str, str]:
        """Reads everything anew; from now on this is who the device is.

        Args:
            why: what has changed it, for the run log.

        Raises:
            BenchError: something cannot be read.
        """
        self._known = {name: self.read(name) for name in self._tables}
        if self._known:
            self._log("identity", device=self._dut.name, why=why, identity=dict(self._known))
        return dict(self._known)

    def changes(self) -> list[str]:
        """Reads everything anew and says what differs from what is known, a line for each; empty if nothing does."""
        found = []
        for name, before in self._known.items():
            try:
                now = self.read(name)
            except FieldrigError as error:
                found.append(f"{self._dut.name}: its {name} was `{before}`, and now: {error.message}")
                continue
            if now != before:
                found.append(f"{self._dut.name}: its {name} was `{before}` and is `{now}`")
        return found

    def over(self, link: str) -> list[str]:
        """What is read through a link: the names."""
        return [
            name
            for name, table in self._tables.items()
            if (way := _way(table)) != "command" and _link(self._dut, table, way) == link
        ]

    def read(self, name: str) -> str:
        """Reads one value from the device.

        Raises:
            BenchError: no answer, or one that does not match.
        """
        table = self._tables[name]
        way = _way(table)
        place = f"{self._dut.name}: its {name} cannot be read"
        limit = str(table.get("timeout") or TIMEOUT)
        pattern = re.compile(table.get("match") or r"(?s)\S.*")
        try:
            texts = self._ask(way, table, limit, pattern)
        except FieldrigError as error:
            raise BenchError(f"{place}: {error.message}", hint=error.hint) from None
        for text in texts:
            found = pattern.search(text)
            if found is not None:
                value = found[1] if pattern.groups and found[1] is not None else found[0]
                return str(value).strip()
        said = " / ".join(text.strip()[:60] for text in texts[-3:]) or "nothing"
        raise BenchError(f"{place}: to {way} `{table[way]}` it said {said}, which does not match /{pattern.pattern}/")

    def _ask(self, way: str, table: Mapping[str, Any], limit: str, pattern: re.Pattern[str]) -> list[str]:
        """The texts in which the value may be."""
        asked = str(table[way])
        if way == "command":
            return ["\n".join(run_command(asked, {}, self._folder, limit, "identity command", self._watcher()))]
        link = self._dut.borrow(_link(self._dut, table, way))
        if way == "console":
            return _lines_after(link, asked, limit, pattern)
        if way == "modbus":
            return [str(link.read(asked, timeout=limit).value)]
        with link.watch(asked) as watch:
            # Whatever the topic says, and since when: an identity has no cursor.
            deadline = link._core.now().latest_ns + nanoseconds(limit, "timeout")
            return [message.text for message in watch._core.wait(0, deadline)]


def _way(table: Mapping[str, Any]) -> str:
    return next(way for way in WAYS if table.get(way) is not None)


def _link(dut: Dut, table: Mapping[str, Any], way: str) -> str:
    """The link through which it is asked: the one that is named, else the only one that fits."""
    named = table.get("link")
    if named is not None:
        return str(named)
    return next((name for name, protocol in dut.protocols().items() if protocol.startswith(way)), way)


def _lines_after(console: Any, asked: str, limit: str, pattern: re.Pattern[str]) -> list[str]:
    """The lines that a console says to a command, until one of them matches; its echo is none of them."""
    stream = console.stream
    sent = console.send(asked)
    deadline = sent.at.latest_ns + nanoseconds(limit, "timeout")
    while True:
        lines = [line.text for line in stream.lines(sent.at) if line.text.strip() not in ("", asked.strip())]
        if any(pattern.search(line) for line in lines) or stream.now().latest_ns >= deadline:
            return lines
        # A byte that has not come yet, or a moment: a line may be complete before the next byte.
        stream.search(r"(?s)\n", stream.length, None, min(deadline, stream.now().latest_ns + STEP))
