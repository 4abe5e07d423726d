"""Writes a bench, a model, a first suite of tests and a CI job to begin with.

Example: fieldrig init --device boiler --ci github my-rig

What it writes runs as it is: the device is emulated. Files that are there already are never overwritten.
"""

from __future__ import annotations

import argparse
import keyword
import re
from importlib import resources
from pathlib import Path

from ..errors import BenchError, UsageError
from .exits import Exit
from .output import Output

_EXAMPLE = "pump"
"""What the device is called in the files below `start`; it is replaced by the chosen name wherever it is a word."""

_FILES = {
    "bench.toml": "bench.toml",
    f"{_EXAMPLE}.toml": f"{_EXAMPLE}.toml",
    f"test_{_EXAMPLE}.py": f"test_{_EXAMPLE}.py",
    "pytest.ini": "pytest.ini",
    "gitignore": ".gitignore",
}
_CI = {
    "github": ("ci/github.yml", ".github/workflows/fieldrig.yml"),
    "gitlab": ("ci/gitlab.yml", ".gitlab-ci.yml"),
    "jenkins": ("ci/jenkins.groovy", "Jenkinsfile"),
}
_SAYS = {
    "bench.toml": "the bench: devices, links, how they are reached",
    f"{_EXAMPLE}.toml": "the model: how the emulated device behaves",
    f"test_{_EXAMPLE}.py": "a first suite of tests",
    "pytest.ini": "tells pytest where the bench is",
    ".gitignore": "keeps runs and local settings out of git",
}


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="where (default: here)")
    parser.add_argument(
        "--device", default=_EXAMPLE, metavar="NAME", help=f"what the device is called (default: {_EXAMPLE})"
    )
    parser.add_argument("--ci", choices=tuple(_CI), help="also write a job that runs the tests on this CI system")


def run(options: argparse.Namespace, output: Output) -> int:
    """Writes all files, or none."""
    name = _checked(options.device)
    texts = _texts(name, options.ci)
    folder: Path = options.folder
    there = [path for path in texts if (folder / path).exists() or (folder / path).is_symlink()]
    if there:
        raise UsageError(
            f"{folder / there[0]} is there already; nothing was written",
            hint="choose an empty folder: fieldrig init DIR",
        )
    for path, text in texts.items():
        _write(folder / path, text)
        output.record("file", path=str(folder / path))
    said = {path.replace(_EXAMPLE, name): text for path, text in _SAYS.items()}
    output.table([(str(folder / path), said.get(path, "a job for your CI")) for path in texts], ["file", "what it is"])
    output.say()
    output.say(f"Next: {'' if folder == Path() else f'cd {folder} && '}pytest")
    return Exit.PASS


def _checked(name: str) -> str:
    """The name of a device is the name of its fixture, of its model file and of a TOML table."""
    from ..pytest_plugin.options import TAKEN_NAMES

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            f"--device {name!r}: the name of a device is a fixture of the tests",
            hint="write small letters, digits and _, beginning with a letter",
        )
    if keyword.iskeyword(name) or name in TAKEN_NAMES:
        raise UsageError(
            f"--device {name!r}: the name is taken by Python or pytest", hint="choose another one, such as boiler"
        )
    if name in _words():
        raise UsageError(
            f"--device {name!r}: the files to begin with use this word for something else",
            hint="choose another one, such as boiler, or rename it in the files later",
        )
    return name


def _texts(name: str, ci: str | None) -> dict[str, str]:
    """The files to be written: path and text."""
    sources = dict(_FILES)
    if ci is not None:
        source, target = _CI[ci]
        sources[source] = target
    return {
        target.replace(_EXAMPLE, name): re.sub(rf"\b(test_)?{_EXAMPLE}\b", rf"\g<1>{name}", _read(source))
        for source, target in sources.items()
    }


def _words() -> set[str]:
    """Every word of the files that carry the name of the device, but that name."""
    texts = (_read(source) for source in _FILES if source.endswith((".toml", ".py")))
    return {word for text in texts for word in re.findall(r"\b[a-z][a-z0-9_]*\b", text)} - {_EXAMPLE}


def _read(source: str) -> str:
    return resources.files(__package__).joinpath("start", *source.split("/")).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error.strerror}") from None
