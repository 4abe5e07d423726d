"""Running our own suites with pytest inside this process, with nothing of the user's pytest configuration."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .errors import BenchError

_JUDGED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
_QUIET = ("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--capture=no")


def run(suite: Path, options: Sequence[str], plugins: Sequence[object]) -> pytest.ExitCode:
    """Runs the tests of a folder or file; nothing is printed by pytest.

    Args:
        suite: the folder or file.
        options: further options of pytest.
        plugins: plug-ins beside that of fieldrig, which is always there.

    Raises:
        BenchError: pytest could not run them.
        KeyboardInterrupt: the run was interrupted.
    """
    from . import pytest_plugin

    root = suite if suite.is_dir() else suite.parent
    arguments = [str(suite), "-c", os.devnull, "--rootdir", str(root), "--noconftest"]
    with _no_user_options():
        code = pytest.ExitCode(pytest.main([*arguments, *_QUIET, *options], plugins=[pytest_plugin, *plugins]))
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in _JUDGED:
        raise BenchError(f"pytest could not run {suite.name} (its exit code was {int(code)})")
    return code


@contextlib.contextmanager
def _no_user_options() -> Iterator[None]:
    ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": "", "FIELDRIG_BENCH": ""}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
