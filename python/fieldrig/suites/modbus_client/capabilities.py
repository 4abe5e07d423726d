"""What the maker of a client declares about it (`--caps FILE`); README.md lists the keys."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from fieldrig.errors import UsageError


@dataclass(frozen=True)
class Capabilities:
    """Everything that is declared; `None` and false mean not declared."""

    many_calls: bool = False
    """The client may be called 65 600 times in a row: CLI-36, where its transaction id cannot be set."""
    turnaround: float = 0.1
    """The least silence after a broadcast (seconds): CLI-28. 100 ms is the least that SL 2.4.1 calls usual."""

    def has(self, name: str) -> bool:
        """Whether a capability named in requirements.toml is declared."""
        return bool(getattr(self, name))


def load(path: Path) -> Capabilities:
    """Reads a capabilities file.

    Raises:
        UsageError: it is missing, is no TOML, has an unknown key or a value of the wrong kind.
    """
    import fieldrig

    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    known = ("many_calls", "turnaround")
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise UsageError(
                f"{path}: unknown key `{key}`",
                hint=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known)}",
            )
    many = document.get("many_calls", False)
    if not isinstance(many, bool):
        raise UsageError(f"{path}: many_calls is {many!r}; it is true or false")
    try:
        turnaround = fieldrig.duration(document.get("turnaround", "100ms"))
    except (UsageError, TypeError) as error:
        raise UsageError(f"{path}: turnaround: {error}") from None
    return Capabilities(many, turnaround)
