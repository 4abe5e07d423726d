"""Bench files, as the command line names them."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError


def bench_file(given: str) -> Path:
    """The path of a bench file.

    Raises:
        UsageError: there is no such file.
    """
    if given == "builtin":
        from ..demo import builtin_bench

        return builtin_bench(given)
    path = Path(given)
    if path.is_file():
        return path
    if path.is_dir() and (path / "bench.toml").is_file():
        return path / "bench.toml"
    raise UsageError(f"there is no bench file {given}", hint="`fieldrig init` writes one; `builtin` is the demo's")
