"""The sources of the project, for tests about the project itself."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "fieldrig"
PROTO = ROOT / "rust" / "fieldrig-proto" / "src"
ENGINE = ROOT / "rust" / "fieldrig-engine" / "src"


def python_files(folder: Path) -> list[Path]:
    """All Python files and stubs below a folder."""
    return sorted(path for path in folder.rglob("*.py*") if path.suffix in (".py", ".pyi"))


def rust_files(folder: Path) -> list[Path]:
    """All Rust files below a folder that are not tests."""
    return sorted(path for path in folder.rglob("*.rs") if path.name != "tests.rs" and "tests" not in path.parts)


def rust_code(path: Path) -> str:
    """A Rust file without comments and without the test module at its end."""
    text = path.read_text(encoding="utf-8").partition("#[cfg(test)]\nmod tests {")[0]
    return re.sub(r"//[^\n]*", "", text)


def shown(path: Path) -> str:
    """A path as people write it."""
    return path.relative_to(ROOT).as_posix()
