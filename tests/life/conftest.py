"""What the tests of the life cycle share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.life.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A real device on a bench."""
    made = Lab(tmp_path)
    yield made
    made.close()
