"""The rows of a suite without pytest: each requirement with the function that tests it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def tests(package: str) -> dict[str, Callable[[Any], None]]:
    """The test of every requirement that has one, by id. Raises `ValueError` if one has two."""
    found: dict[str, Callable[[Any], None]] = {}
    for name, function in _test_functions(package):
        if name in found:
            raise ValueError(f"{name} has two tests")
        found[name] = function
    return found


def _test_functions(package: str) -> Iterator[tuple[str, Callable[[Any], None]]]:
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not module.name.startswith("test_"):
            continue
        for name, function in vars(importlib.import_module(f"{package}.{module.name}")).items():
            marks: list[pytest.Mark] = getattr(function, "pytestmark", [])
            if name.startswith("test_"):
                yield from ((mark.args[0], function) for mark in marks if mark.name == "requirement")
