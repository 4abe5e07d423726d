"""The options of the plug-in, and where the bench file comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import again

if TYPE_CHECKING:
    from fieldrig.bench import BenchPlan

MARKS = (
    "requirement(id, ...): the requirements this test judges",
    "measures(name, ..., min=None, max=None, unit=None): measurements this test must take; left unset, it fails",
    "each_dut(tag=None, link=None): runs the test once for each such device of the bench, as the fixture `dut`",
    "needs(what, ...): what the devices of this test must have: link:NAME, tag:NAME, power; else it is not run",
    "real_only: is not run with an emulated device",
    "emulated_only: is not run with a real device",
)
TAKEN_NAMES = frozenset(
    "bench dut measure cache capsys capsysbinary capfd capfdbinary caplog doctest_namespace monkeypatch pytestconfig "
    "record_property record_testsuite_property record_xml_attribute recwarn request tmp_path tmp_path_factory "
    "tmpdir tmpdir_factory subtests worker_id testrun_uid".split()
)


def add(parser: pytest.Parser) -> None:
    """Adds the options."""
    group = parser.getgroup("fieldrig", "fieldrig: devices, benches, verdicts")
    group.addoption(
        "--bench",
        action="append",
        metavar="FILE",
        help="bench file; else $FIELDRIG_BENCH, ini fieldrig_bench, bench.toml; several are dealt to xdist's workers",
    )
    group.addoption(
        "--profile",
        action="append",
        metavar="[DUT=]PROFILE",
        help="how devices are provided: emulated or real; repeat with DUT=PROFILE to mix",
    )
    group.addoption(
        "--fieldrig-inconclusive",
        choices=("fail", "skip"),
        default="fail",
        help="what pytest shows for an inconclusive test (default: fail)",
    )
    again.add(parser, group)
    group.addoption("--fieldrig-out", metavar="DIR", help="folder of the run: run log and trace (default: a new one)")
    group.addoption(
        "--fieldrig-trace",
        choices=("full", "ring", "counts"),
        default="full",
        help="what is kept of the frames on all links (default: full)",
    )
    group.addoption("--fieldrig-require", metavar="FILE", help="tests and requirements that must have been judged")
    group.addoption("--fieldrig-requirements", metavar="FILE", help="your requirements (CSV or TOML), for the matrix")
    group.addoption("--fieldrig-waivers", metavar="FILE", help="known failures with ticket and expiry (TOML)")
    parser.addini("fieldrig_bench", "bench file, relative to the ini file")


def bench_files(config: pytest.Config) -> list[Path]:
    """The bench files: option, environment, ini, `bench.toml` in the root folder; empty if there is none.

    Raises:
        pytest.UsageError: a file that was named does not exist.
    """
    given = config.getoption("--bench") or [name for name in [os.environ.get("FIELDRIG_BENCH")] if name]
    if given:
        return [_named(config, str(name)) for name in given]
    ini = str(config.getini("fieldrig_bench") or "")
    if ini:
        path = (config.inipath.parent if config.inipath else config.rootpath) / ini
        if not path.is_file():
            raise pytest.UsageError(f"there is no bench file {path} (ini fieldrig_bench)")
        return [path]
    found = config.rootpath / "bench.toml"
    return [found] if found.is_file() else []


def _named(config: pytest.Config, name: str) -> Path:
    if name.startswith("builtin"):
        from fieldrig.demo import builtin_bench

        return builtin_bench(name)
    path = config.invocation_params.dir / name
    if not path.is_file():
        raise pytest.UsageError(f"there is no bench file {name}")
    return path


def load(config: pytest.Config, path: Path) -> BenchPlan:
    """Reads a bench file under the profiles of the command line.

    Raises:
        pytest.UsageError: the file is wrong, or a device has the name of a fixture of pytest or of ours.
    """
    from fieldrig.bench import BenchPlan
    from fieldrig.errors import FieldrigError

    try:
        plan = BenchPlan.load(path, config.getoption("--profile") or [])
    except FieldrigError as error:
        raise pytest.UsageError(str(error)) from None
    clash = sorted({*plan.profiles, *plan.peers} & TAKEN_NAMES)
    if clash:
        raise pytest.UsageError(f"{path}: a device named `{clash[0]}` would hide the fixture of that name; rename it")
    return plan
