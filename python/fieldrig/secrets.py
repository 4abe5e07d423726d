"""Which texts of a bench must stand in no artefact, and how they are masked in reports of pytest.

Secrets of a bench are its passwords, what its file declares under ``secrets``, passwords within URLs, and the values of
environment variables that it names and that are called like a credential (``${BROKER_PASSWORD}``, ``${API_TOKEN}``).
They are masked in the run log and the trace by the core (``Rig(secrets=..)``), and in failure texts, captured output,
JUnit, reports and on the terminal by ``BenchPlan.secrets.mask()``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

_NAMED = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)")
_CREDENTIAL = re.compile(
    r"pass(word|wd|phrase)?|pwd|secret|token|credential|api_?key|private_?key|(^|_)key$", re.IGNORECASE
)


def in_environment(bench: Path) -> Iterator[str]:
    """The values of the variables that a bench file or its overlay names and that are called like a credential."""
    for path in (bench, bench.with_suffix(".local.toml")):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:  # whoever reads the bench says so
            continue
        for name in _NAMED.findall(text):
            if _CREDENTIAL.search(name):
                yield os.environ.get(name, "")


def in_urls(urls: Iterable[str | None]) -> Iterator[str]:
    """The passwords in URLs, as they stand there and decoded."""
    for url in urls:
        found = _password(url or "")
        yield from (found, unquote(found))


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""
