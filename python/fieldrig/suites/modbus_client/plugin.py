"""How pytest runs this suite: see `common.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from fieldrig.suites.common import plugin as common
from fieldrig.suites.common.outcome import Row

from .client import Client
from .outcome import requirements
from .report import lines


class Conformance(common.Conformance):
    """The plug-in of one run against one client."""

    def __init__(self, client: Client, listener: Callable[[Row], None], only: Sequence[str] = ()) -> None:
        super().__init__(client, requirements(), lines, listener, only)
        self._client = client

    @pytest.fixture(name="client")
    def provide_client(self) -> Client:
        """The client under test."""
        return self._client
