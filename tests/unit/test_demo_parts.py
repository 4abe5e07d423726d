"""The demo's own parts that need no bench: the built-in bench, a missing peer."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import pytest

from fieldrig.cli.output import Output
from fieldrig.demo import builtin_bench, stages
from fieldrig.errors import UsageError


def test_the_builtin_bench_is_a_file_beside_its_model_and_suite() -> None:
    bench = builtin_bench("builtin")
    assert bench.is_file() and (bench.parent / "meter.toml").is_file() and (bench.parent / "test_meter.py").is_file()


def test_another_builtin_bench_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no built-in bench 'builtin-x'"):
        builtin_bench("builtin-x")


def test_without_pymodbus_the_second_half_is_not_run_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = io.StringIO()
    chapter = stages.judge_foreign(tmp_path, Output(out=out))
    assert chapter.counts() == {"not run": 1}
    assert "fieldrig[demo]" in out.getvalue()
