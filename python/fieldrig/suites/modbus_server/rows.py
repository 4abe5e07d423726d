"""The rows without pytest: each requirement with the function that tests it."""

from __future__ import annotations

from fieldrig.suites.common import rows

from .judge import RowTest


def tests() -> dict[str, RowTest]:
    """The test of every requirement that has one, by id. Raises `ValueError` if one has two."""
    return dict(rows.tests(__package__))
