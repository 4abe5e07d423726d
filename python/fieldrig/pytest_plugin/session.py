"""The bench within a run: opened by the first test that needs it, identified, and closed after the last.

What goes wrong at the end of a run is never blamed on the last test: it is a problem of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import lines
from .results import Results
from .state import BENCH, RESULTS, bench_of, plan_of

if TYPE_CHECKING:
    from fieldrig.bench import Bench

Note = Callable[[str, object], None]


def use(run: pytest.Session, note: Note, folder: Path | None) -> Iterator[Bench]:
    """Opens the bench, and closes it at the end.

    Args:
        run: the run of pytest.
        note: takes the properties of the suite for JUnit.
        folder: the folder for run log and trace; None makes a new one.

    Raises:
        UsageError: no bench file was named or found.
    """
    config = run.config
    plan = plan_of(config)
    if plan is None:
        raise _no_bench(config)
    opened = plan.open(out=folder, trace=config.getoption("--fieldrig-trace"), prepare=True)
    results = config.stash[RESULTS]
    results.folder = str(opened.folder)
    results.files.update(opened.files())
    try:
        opened.begin_session()
        config.stash[BENCH] = opened
        for name, value in opened.properties():
            note(name, value)
        yield opened
        if run.exitstatus == pytest.ExitCode.INTERRUPTED:
            # Whoever presses Ctrl-C wants the safe state, and no device switched on before, only to be identified.
            opened.rig.log("run.interrupted")
        else:
            _end(opened, results, note)
    finally:
        _close(opened, results)


def _no_bench(config: pytest.Config) -> Exception:
    from fieldrig.errors import UsageError

    here = config.invocation_params.dir / "bench.toml"
    if here.is_file():
        return UsageError(
            "there is no bench", hint=f"{here} is not in the root folder {config.rootpath}: name it with --bench"
        )
    return UsageError("there is no bench", hint=f"--bench FILE, or bench.toml in {config.rootpath}")


def close(config: pytest.Config) -> None:
    """Closes the bench if its fixture was never torn down."""
    opened = bench_of(config)
    if opened is not None:
        _close(opened, config.stash[RESULTS])


def _close(opened: Bench, results: Results) -> None:
    from fieldrig.errors import FieldrigError

    try:
        opened.close()
    except FieldrigError as error:
        results.problems.append(str(error))


def _end(opened: Bench, results: Results, note: Note) -> None:
    from fieldrig.errors import FieldrigError

    timing = opened.rig.timing_class
    if timing is not None:  # known once the lines were used
        note("timing_class", timing)
        results.facts["timing class"] = timing
        steps = "; ".join(opened.rig.timing_steps)
        if steps:
            note("timing_steps", steps)
            results.facts["timing"] = steps
    text = lines.summary(opened)
    if text:
        note("line_errors", text)
        results.facts["line errors"] = text
    try:
        opened.end_session()
    except FieldrigError as error:
        results.problems.append(str(error))
    changed = opened.identity_changed
    if changed is not None:
        results.doubt = f"INCONCLUSIVE: {changed}"
        note("inconclusive", changed)
        opened.rig.log("run.inconclusive", reason=changed)


def doubt(results: Results) -> None:
    """After the last report: if the devices were not the same all the time, what passed with them proves nothing."""
    if not results.doubt:
        return
    results.problems.append(results.doubt)
    for case in results.cases.values():
        if case.devices and case.word == "pass":
            case.worsen("inconclusive", "INCONCLUSIVE", results.doubt)
