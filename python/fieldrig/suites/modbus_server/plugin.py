"""How pytest runs this suite: see `common.plugin`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from fieldrig.suites.common import plugin as common

from .judge import RowTest, judge
from .outcome import Requirement, Row, requirements
from .report import lines
from .server import Server


class Conformance(common.Conformance):
    """The plug-in of one run against one server."""

    def __init__(self, server: Server, listener: Callable[[Row], None], only: Sequence[str] = ()) -> None:
        super().__init__(server, requirements(), lines, listener, only)
        self._server = server

    def judged(self, requirement: Requirement, test: RowTest) -> Row:
        """What a row comes to."""
        return judge(requirement, test, self._server)

    @pytest.fixture(name="server")
    def provide_server(self) -> Server:
        """The server under test."""
        return self._server
