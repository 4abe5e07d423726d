"""What happens on a rig, as lines while it happens: changes from its run log, messages from its trace.

Both files are written as things happen, by different threads: lines are held back for a moment, so that they come out
in the order of time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from .. import _core

HELD_BACK = 0.4
"""Seconds: the trace is written ten times a second."""

_OURS = ("test.", "measurement")


class LiveView:
    """Follows run log and trace of a rig; messages on `hidden` links are left out."""

    def __init__(self, rig: _core.Rig, traffic: bool, hidden: Collection[str] = ()) -> None:
        files = rig.files()
        self._rig = rig
        self._log = Path(files["log"]).open(encoding="utf-8")  # noqa: SIM115 - closed by `close`
        self._trace = _core.TraceFollower(files["trace"]) if traffic else None
        self._hidden = hidden
        self._torn = ""
        self._held: list[dict[str, Any]] = []

    def lines(self, everything: bool = False) -> Iterator[dict[str, Any]]:
        """What is new and old enough, in the order of time; ``everything``: also what is not old enough."""
        now = self._rig.now().latest
        for text in self._new_lines():
            event = json.loads(text)
            event.setdefault("t", now)  # some events have no instant of their own
            if not event["kind"].startswith(_OURS):
                self._held.append(event)
        for text in self._trace.lines() if self._trace is not None else ():
            message = json.loads(text)
            if message["link"] not in self._hidden:
                self._held.append({"kind": "message", **message})
        self._held.sort(key=lambda event: float(event["t"]))
        ready = [event for event in self._held if everything or event["t"] <= now - HELD_BACK]
        del self._held[: len(ready)]
        yield from ready

    def _new_lines(self) -> list[str]:
        text = self._torn + self._log.read()
        *lines, self._torn = text.split("\n")
        return lines

    def close(self) -> None:
        """Ends it."""
        self._log.close()


def describe(event: dict[str, Any]) -> str:
    """An event or a message in one line for people."""
    at = f"{event['t']:10.3f} s"
    if event["kind"] == "message":
        arrow = "<-" if event["direction"] == "in" else "->"
        return f"{at}  {event['link']} {arrow} {event['summary'] or event['hex']}"
    fields = dict(event["fields"])
    who = fields.pop("node", "")
    if event["kind"] == "device.change":
        said = f"{fields['point']}: {fields['from']} -> {fields['to']} (by {fields['by']})"
    else:
        said = " ".join([event["kind"], *(f"{name}={value}" for name, value in fields.items())])
    return f"{at}  {who}: {said}" if who else f"{at}  {said}"
