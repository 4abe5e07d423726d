"""tests/peers/rust_stacks, the program of foreign Modbus stacks in Rust: built at most once a run, into build/.

cargo itself sees to it that only one builds at a time, and that there is nothing to do the next time; `make peers`
builds it, too. Its main.rs says how it is called.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "tests/peers/rust_stacks"
TARGET = ROOT / "build/rust_stacks"


class Unavailable(Exception):
    """There is no cargo, or its crates cannot be had; the text says which."""


class Broken(Exception):
    """It cannot be compiled; the text is cargo's."""


@functools.cache
def program() -> Path:
    """Builds it, if that is necessary. Raises `Unavailable`, `Broken`."""
    found = shutil.which("cargo")
    if found is None:
        raise Unavailable("no cargo is here to build tests/peers/rust_stacks with")
    done = cargo(found, "build", "--release", "--target-dir", str(TARGET))
    if done.returncode == 0:
        return TARGET / "release/rust_stacks"
    fetched = cargo(found, "fetch")
    if fetched.returncode != 0 and "lock file" not in fetched.stderr:
        said = (fetched.stderr.strip().splitlines() or ["nothing"])[-1].strip()
        raise Unavailable(f"the crates of tests/peers/rust_stacks cannot be had; cargo says: {said}")
    raise Broken(done.stderr[-4000:])


def cargo(program: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Has cargo do something with the project."""
    arguments = [program, command, "--locked", "--manifest-path", str(PROJECT / "Cargo.toml"), *options]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=900)
