"""What a row can come to (see `common.outcome`), and the requirements of this suite."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from fieldrig.suites.common.outcome import (
    CARRIERS,
    VERDICTS,
    Absent,
    Exchange,
    Excluded,
    Inapplicable,
    Missed,
    NotRun,
    Requirement,
    Row,
    Undecided,
    Verdict,
    requirements_of,
    sections_of,
)

__all__ = [
    "CARRIERS",
    "FILES",
    "VERDICTS",
    "Absent",
    "Busy",
    "Exchange",
    "Excluded",
    "Inapplicable",
    "Missed",
    "NotRun",
    "Requirement",
    "Row",
    "Undecided",
    "Verdict",
    "requirements",
    "sections",
]

FILES = ("mbap", "pdu", "functions", "rtu", "ascii", "gateway", "security", "robustness", "interop")
"""The files of the folder `requirements`, in the order in which rows run and are reported."""


class Busy(Undecided):
    """The server says that it is busy."""


@functools.cache
def _documents() -> tuple[dict[str, Any], ...]:
    folder = resources.files(__package__).joinpath("requirements")
    return tuple(tomllib.loads(folder.joinpath(f"{name}.toml").read_text("utf-8")) for name in FILES)


@functools.cache
def requirements() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the files and within them."""
    return requirements_of(_documents())


def sections() -> dict[str, str]:
    """The titles of the sections, in order."""
    return sections_of(_documents())
