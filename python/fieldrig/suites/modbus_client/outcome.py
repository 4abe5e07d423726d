"""The requirements of this suite; what a row can come to is said by `common.outcome`."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from fieldrig.suites.common.outcome import Requirement, requirements_of, sections_of

CARRIERS = ("tcp", "tls", "rtu", "ascii", "wire")
"""What a client can be judged on."""
FOREIGN = CARRIERS[:-1]
"""What clients can be judged on that are not fieldrig's own."""


@functools.cache
def _document() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("requirements.toml").read_text("utf-8"))


@functools.cache
def requirements() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the file."""
    return requirements_of([_document()])


def sections() -> dict[str, str]:
    """The titles of the sections, in order."""
    return sections_of([_document()])
