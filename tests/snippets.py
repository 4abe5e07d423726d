"""What the documentation shows: the blocks of code in it, for the tests that see to it that they are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*/README.md"),
        *(ROOT / "python" / "fieldrig" / "suites").glob("*/README.md"),
    ]
)


@dataclass(frozen=True)
class Snippet:
    """A block of code between fences."""

    document: Path
    line: int
    """The line of the document on which the code begins."""
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT).as_posix()}:{self.line}"


def snippets(language: str, *documents: Path) -> list[Snippet]:
    """The blocks in a language, of some documents or of all."""
    found = []
    for document in documents or DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found.append(Snippet(document, text.count("\n", 0, match.start(1)) + 1, language, match[1]))
    return found


def snippet(document: str, language: str, beginning: str) -> str:
    """The code of the one block in a language that begins with some text."""
    [found] = [one for one in snippets(language, ROOT / document) if one.code.startswith(beginning)]
    return found.code


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest, as a user runs it in a folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FIELDRIG"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder)]
    return subprocess.run([*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
