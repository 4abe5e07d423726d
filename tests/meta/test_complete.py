"""Nothing is left over or left out: errors without a test, fixtures nobody reads, targets that do not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldrig import errors

from .sources import PACKAGE, ROOT, shown

LONGEST_FILE = 900
TEXTS = (".py", ".pyi", ".rs", ".md", ".toml", ".c", ".h", ".css", ".sh", ".txt")
# Written so that this file does not contain what it looks for.
MACHINE_PATHS = re.compile("|".join(f"/{name}/" for name in ("work", "root", "farm")) + "|/home/[a-z]")


def texts(*folders: str) -> Iterator[Path]:
    """The text files of the project below some folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.suffix in TEXTS and path.is_file() and not {"target", "__pycache__", ".venv"} & set(parts):
                yield path


def joined(*folders: str) -> str:
    """The text of all files below some folders."""
    return "\n".join(path.read_text(encoding="utf-8") for path in texts(*folders))


# These name errors without raising them.
ONLY_NAMES = ("test_cli.py", "test_errors.py", "test_complete.py")


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_test(name: str) -> None:
    tests = [path for path in texts("tests") if path.name.startswith("test_") and path.name not in ONLY_NAMES]
    assert any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in tests), f"no test names {name}"


def test_every_fixture_is_used() -> None:
    readers = joined("tests", "rust")
    files = [path for path in (ROOT / "fixtures").rglob("*") if path.is_file() and path.name != "README.md"]
    unused = [path for path in files if not used(path, readers)]
    assert [shown(path) for path in unused] == []


def used(path: Path, readers: str) -> bool:
    """A fixture is used if its name, or a folder it lies in, is named by a test."""
    folders = path.relative_to(ROOT / "fixtures").parts[:-1]
    return path.name in readers or any(
        re.search(rf"fixtures/[\w/]*{re.escape(folder)}\b", readers) for folder in folders
    )


def test_every_fixture_folder_says_where_it_comes_from() -> None:
    folders = [path for path in (ROOT / "fixtures").iterdir() if path.is_dir()]
    assert [shown(path) for path in folders if not (path / "README.md").is_file()] == []


def test_no_file_is_too_long() -> None:
    lengths = {shown(path): path.read_text(encoding="utf-8").count("\n") for path in texts("rust", "python", "tests")}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_path_of_a_machine_is_written_down() -> None:
    files = [
        *texts("rust", "python", "tests", "docs", "examples", "fixtures", ".ci"),
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
    ]
    assert [shown(path) for path in files if MACHINE_PATHS.search(path.read_text(encoding="utf-8"))] == []


def test_every_make_target_that_texts_name_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    files = [*texts("docs", "tests", ".ci", "examples"), *ROOT.glob("*.md"), ROOT / ".ci" / "run"]
    named = {
        name for path in files for name in re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.M)
    }
    assert named - targets == set()


def test_every_link_in_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_package_is_typed_and_every_native_module_has_a_stub() -> None:
    assert (PACKAGE / "py.typed").is_file()
    from fieldrig import _core

    modules = {name for name in dir(_core) if type(getattr(_core, name)).__name__ == "module"}
    stubs = {path.stem for path in (PACKAGE / "_core").glob("*.pyi")} | {
        path.name for path in (PACKAGE / "_core").iterdir()
    }
    assert modules - stubs == set()
