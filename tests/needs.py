"""What tests need from outside: found, or the test skips with a reason that names the Debian package.

The gate leaves nothing out: it sets FIELDRIG_PEERS, with which a missing program fails the test instead, and runs
`python -m tests.needs junit.xml`, which fails if any test of that run was skipped for a missing peer.
"""

from __future__ import annotations

import os
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NoReturn

import pytest

from tests import foreign_rust

REMEDY = "run `make peers`"


def program(name: str, package: str | None = None) -> str:
    """The path of a foreign program; without it the calling test skips and names the Debian package."""
    path = shutil.which(name, path=_search_path())
    if path is None:
        _leave_out(package or name)
    return path


def header(path: str, package: str) -> Path:
    """A C header below /usr/include; without it the calling test skips and names the Debian package."""
    found = Path("/usr/include", path)
    if not found.exists():
        _leave_out(package)
    return found


def rust_stacks() -> Path:
    """The program of the foreign Modbus stacks in Rust; if it cannot be built the calling test skips and says why."""
    try:
        return foreign_rust.program()
    except foreign_rust.Unavailable as error:
        _leave_out_because(f"{error}: {REMEDY}")


def skipped_for_a_peer(junit: Path) -> list[str]:
    """Names and reasons of the tests of a JUnit file that were skipped for a missing peer; an attempt that was
    inconclusive and made again is none of them."""
    cases = ElementTree.parse(junit).getroot().iter("testcase")
    skips = [(case, skip.get("message") or "") for case in cases if (skip := case.find("skipped")) is not None]
    return [
        f"{case.get('classname')}::{case.get('name')}: {message}"
        for case, message in skips
        if REMEDY in message or ("interop" in (case.get("classname") or "") and "(run again: attempt " not in message)
    ]


def _leave_out(package: str) -> NoReturn:
    _leave_out_because(f"needs the Debian package {package}: {REMEDY}")


def _leave_out_because(text: str) -> NoReturn:
    if os.environ.get("FIELDRIG_PEERS"):
        pytest.fail(text)
    pytest.skip(text)


def _search_path() -> str:
    # Debian puts daemons (mosquitto) in sbin, which is not on every user's path.
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


if __name__ == "__main__":
    missing = skipped_for_a_peer(Path(sys.argv[1]))
    for line in missing:
        print(f"peer test skipped: {line}", file=sys.stderr)
    sys.exit(1 if missing else 0)
