"""What the maker of a client declares about it (`--caps FILE`); README.md lists the keys."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldrig.errors import UsageError


@dataclass(frozen=True)
class Capabilities:
    """Everything that is declared; `None` and false mean not declared."""

    many_calls: bool = False
    """The client may be called 65 600 times in a row: CLI-36, where its transaction id cannot be set."""
    turnaround: float = 0.1
    """The least silence after a broadcast (seconds): CLI-28. 100 ms is the least that SL 2.4.1 calls usual."""
    checks_names: bool = False
    """The client compares the certificate of a server with the host that it connects to: SEC-06."""
    certificates: Path | None = None
    """A folder in which the certificates of the run stand, and stay; else they are made anew for each run."""
    client_ca: Path | None = None
    """Who signed the certificate of the client, if it does not show the one that it is given."""

    def has(self, name: str) -> bool:
        """Whether a capability named in requirements.toml is declared."""
        return bool(getattr(self, name))


def load(path: Path) -> Capabilities:
    """Reads a capabilities file; paths in it count from its folder.

    Raises:
        UsageError: it is missing, is no TOML, has an unknown key or a value of the wrong kind.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    for key in document:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            raise UsageError(
                f"{path}: unknown key `{key}`",
                hint=f"did you mean `{near[0]}`?" if near else f"known: {', '.join(KEYS)}",
            )
    return Capabilities(**{key: KEYS[key](f"{path}: {key}", path, value) for key, value in document.items()})


def _flag(place: str, file: Path, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{place} is {value!r}; it is true or false")
    return value


def _duration(place: str, file: Path, value: Any) -> float:
    import fieldrig

    try:
        return fieldrig.duration(value)
    except (UsageError, TypeError) as error:
        raise UsageError(f"{place}: {error}") from None


def _folder(place: str, file: Path, value: Any) -> Path:
    folder = _path(place, file, value)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{place}: {folder} is no folder")
    return folder


def _certificate(place: str, file: Path, value: Any) -> Path:
    import ssl

    found = _path(place, file, value)
    try:
        ssl.create_default_context(cafile=str(found))
    except OSError as error:  # ssl.SSLError is one: no PEM file
        raise UsageError(f"{place}: {found}: {error.strerror or error}") from None
    return found


def _path(place: str, file: Path, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{place} is {value!r}; it is a path")
    return file.parent / value


KEYS: dict[str, Callable[[str, Path, Any], Any]] = {
    "many_calls": _flag,
    "turnaround": _duration,
    "checks_names": _flag,
    "certificates": _folder,
    "client_ca": _certificate,
}
"""Each key with what reads its value: place for errors, the file, the value."""
