"""How pytest runs this suite: see `common.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from fieldrig.suites.common import plugin as common

from .outcome import Row, requirements
from .report import lines
from .server import Server


class Conformance(common.Conformance):
    """The plug-in of one run against one server."""

    def __init__(self, server: Server, listener: Callable[[Row], None], only: Sequence[str] = ()) -> None:
        super().__init__(server, requirements(), lines, listener, only)
        self._server = server

    @pytest.fixture(name="server")
    def provide_server(self) -> Server:
        """The server under test."""
        return self._server
