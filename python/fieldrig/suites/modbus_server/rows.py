"""The rows without pytest: each requirement with the function that tests it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .judge import RowTest


def tests() -> dict[str, RowTest]:
    """The test of every requirement that has one, by id. Raises `ValueError` if one has two."""
    found: dict[str, RowTest] = {}
    for name, function in _test_functions():
        if name in found:
            raise ValueError(f"{name} has two tests")
        found[name] = function
    return found


def _test_functions() -> Iterator[tuple[str, RowTest]]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("test_"):
            continue
        for name, function in vars(importlib.import_module(f"{__package__}.{module.name}")).items():
            marks: list[pytest.Mark] = getattr(function, "pytestmark", [])
            if name.startswith("test_"):
                yield from ((mark.args[0], function) for mark in marks if mark.name == "requirement")
