"""What the header of a run says about timing."""

from __future__ import annotations

import os

import pytest

from fieldrig.pytest_plugin import reach


def test_the_header_says_which_timing_class_is_within_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *what: asked.append(what), raising=False)
    assert "class A within reach" in reach.header(virtual=False)
    assert asked[0][:2] == (0, os.SCHED_FIFO)
    monkeypatch.setattr(os, "sched_setscheduler", denied, raising=False)
    assert "class B or C" in reach.header(virtual=False)
    assert "class V" in reach.header(virtual=True)
