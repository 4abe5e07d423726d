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


@functools.cache
def program() -> Path:
    """Builds it. Raises `Unavailable`, or `CalledProcessError` if it cannot be compiled."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise Unavailable("no cargo is here to build tests/peers/rust_stacks with")
    manifest = ["--locked", "--manifest-path", str(PROJECT / "Cargo.toml")]
    fetched = subprocess.run([cargo, "fetch", *manifest], capture_output=True, text=True, timeout=600)
    if fetched.returncode != 0 and "lock file" not in fetched.stderr:
        said = (fetched.stderr.strip().splitlines() or ["nothing"])[-1].strip()
        raise Unavailable(f"the crates of tests/peers/rust_stacks cannot be had; cargo says: {said}")
    build = [cargo, "build", "--release", *manifest, "--target-dir", str(TARGET)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        raise subprocess.CalledProcessError(done.returncode, build, done.stdout, done.stderr)
    return TARGET / "release/rust_stacks"
