"""The gateway demo: bench, models of a meter and of a gateway, and gateways that are broken on purpose."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
BENCH = FOLDER / "bench.toml"
CHOICE = "FIELDRIG_GATEWAY"
"""The environment variable by which the bench file chooses the gateway."""


def broken() -> dict[str, str]:
    """The gateways that are broken on purpose: name and what is wrong with each."""
    from . import bugs as module
    from .gateway import Gateway

    classes = inspect.getmembers(module, lambda found: inspect.isclass(found) and issubclass(found, Gateway))
    return {name: inspect.getdoc(found) or "" for name, found in classes if found is not Gateway}


@contextlib.contextmanager
def chosen(bug: str | None) -> Iterator[None]:
    """Lets the bench file choose the good gateway, or one that is broken on purpose."""
    before = os.environ.get(CHOICE)
    os.environ[CHOICE] = f"bugs.py:{bug}" if bug is not None else "gateway.py:Gateway"
    try:
        yield
    finally:
        if before is None:
            del os.environ[CHOICE]
        else:
            os.environ[CHOICE] = before
