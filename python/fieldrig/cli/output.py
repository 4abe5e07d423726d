"""What the command line prints: for people with colours and a line of progress, or plain, or as JSON lines."""

from __future__ import annotations

import json as _json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from .._core import Secrets

_STYLES = {
    "pass": "32",
    "fail": "31",
    "error": "31",
    "inconclusive": "33",
    "advice": "33",
    "ok": "32",
    "warning": "33",
    "problem": "31",
    "title": "1",
    "dim": "2",
}


class Output:
    """Standard output and standard error, with manners."""

    def __init__(self, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._err = sys.stderr if err is None else err
        self._json = json
        terminal = self._out.isatty() and os.environ.get("TERM") != "dumb"
        self._live = terminal and not json
        self._colours = self._live and not os.environ.get("NO_COLOR")
        self._progress = False
        self.secrets: Secrets | None = None
        """What must not be printed, once it is known."""

    def style(self, text: str, style: str) -> str:
        """The text in the colour of a verdict (``pass``, ..), as ``title`` or ``dim``, if there are colours."""
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours and code else text

    def say(self, text: str = "") -> None:
        """A line for people; not printed with ``--format json``."""
        if not self._json:
            self._clear()
            print(self._hide(text), file=self._out, flush=True)

    def progress(self, text: str) -> None:
        """What is being done right now: on a terminal one line that is overwritten, elsewhere nothing."""
        if self._live:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            self._out.write(self.style(text[:width], "dim"))
            self._out.flush()
            self._progress = True

    def record(self, kind: str, **fields: Any) -> None:
        """A JSON line; printed only with ``--format json``."""
        if self._json:
            print(_json.dumps(self._hide({"kind": kind, **fields}), default=str), file=self._out, flush=True)

    def complain(self, text: str) -> None:
        """A line on standard error."""
        self._clear()
        print(self._hide(text), file=self._err, flush=True)

    def table(self, rows: Iterable[Sequence[str]], headings: Sequence[str], verdict: int | None = None) -> None:
        """Rows in columns; the words of column ``verdict`` are coloured."""
        rows = [list(row) for row in rows]
        if not rows or self._json:
            return
        lines = [list(headings), *rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        for number, line in enumerate(lines):
            cells = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
            if number == 0:
                cells = [self.style(cell, "dim") for cell in cells]
            elif verdict is not None:
                cells[verdict] = self.style(cells[verdict], line[verdict])
            self.say("  " + "  ".join(cells).rstrip())

    def _hide(self, value: Any) -> Any:
        """A text, or what is made of texts, without secrets."""
        if not self.secrets:
            return value
        if isinstance(value, dict):
            return {key: self._hide(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._hide(each) for each in value]
        return self.secrets.mask(value) if isinstance(value, str) else value

    def _clear(self) -> None:
        if self._progress:
            self._out.write("\r\x1b[K")
            self._progress = False
