"""How pytest runs this suite: see `common.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from fieldrig.suites.common import plugin as common
from fieldrig.suites.common.outcome import Requirement, Row

from .client import Client
from .outcome import requirements
from .report import lines


class Conformance(common.Conformance):
    """The plug-in of one run against one client."""

    def __init__(self, client: Client, listener: Callable[[Row], None], only: Sequence[str] = ()) -> None:
        super().__init__(client, requirements(), lines, listener, only)
        self._client = client

    def judged(self, requirement: Requirement, test: Callable[[Any], None]) -> Row:
        """What a row comes to. A mistake of the suite itself is nobody else's fault, and does not go unseen."""
        try:
            return super().judged(requirement, test)
        except Exception as error:
            says = f"this suite failed, not the client: {type(error).__name__}: {error}"
            return Row(requirement, "inconclusive", says, tuple(self._client.exchanges), self._client.over)

    @pytest.fixture(name="client")
    def provide_client(self) -> Client:
        """The client under test."""
        return self._client
