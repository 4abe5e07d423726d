"""Saboteurs: for each requirement a server that breaks it. A row that its saboteur does not fail proves nothing.

A saboteur is our emulated device with other habits, or any server behind a patch; one module of this folder has those
of a section, in a table `SABOTEURS` by requirement; of several for one requirement the others say how they break it
(`MBAP-25 at last`). `tests/meta/test_kill_matrix.py` runs the suite against each of
them and demands that the row fails (a `should` row: is missed), and with it exactly the rows that are declared there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from .base import Saboteur
from .device import run
from .patch import Patch

__all__ = ["SABOTEURS", "Patch", "Saboteur", "run"]


def _all() -> dict[str, Saboteur]:
    found: dict[str, Saboteur] = {}
    for module in pkgutil.iter_modules(__path__):
        table = getattr(importlib.import_module(f"{__name__}.{module.name}"), "SABOTEURS", {})
        twice = found.keys() & table.keys()
        if twice:
            raise ValueError(f"two saboteurs for {', '.join(sorted(twice))}")
        found |= table
    return found


SABOTEURS: Mapping[str, Saboteur] = _all()
