"""Inconclusive tests that are run again on demand: whole, counted, every attempt reported, and never a fail."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

import fieldrig.expect  # noqa: F401 (here, because pytester forgets native modules that are first imported in its tests)

pytest_plugins = ["pytester"]

SUITE = """
import pytest
from fieldrig import BenchError, DutError, InconclusiveError, Span

DONE, SET_UP = {}, []

def attempt(name):
    DONE[name] = DONE.get(name, 0) + 1
    return DONE[name]

@pytest.fixture(scope="module")
def wide():
    SET_UP.append("wide")
    yield
    SET_UP.append("wide ends")

@pytest.fixture
def narrow(wide):
    SET_UP.append("narrow")
    yield
    SET_UP.append("narrow ends")

def test_mended(meter, narrow):
    if attempt("mended") < 3:
        raise InconclusiveError("the host stood still")

def test_whole_again_within_its_module():
    assert SET_UP == ["wide", *["narrow", "narrow ends"] * 3]

def test_never_decided(meter):
    attempt("never")
    raise InconclusiveError("nobody knows")

def test_failed(meter):
    attempt("failed")
    raise DutError("slow")

def test_bench_error(meter):
    attempt("bench")
    raise BenchError("no port")

def test_fails_then(meter):
    if attempt("then") == 1:
        raise InconclusiveError("nobody knows")
    raise DutError("slow")

def test_measured(meter, measure):
    span = Span(1, 999_000_000) if attempt("measured") == 1 else Span(1, 2)
    measure("latency", span, max="500ms")

@pytest.fixture
def unsure():
    if attempt("unsure") == 1:
        raise InconclusiveError("not ready")

def test_unsure_in_its_set_up(unsure):
    pass

@pytest.fixture
def accuses():
    yield
    attempt("accuses")
    raise DutError("still on")

def test_accused_in_its_tear_down(accuses):
    raise InconclusiveError("nobody knows")

def test_so_often():
    assert DONE == {"mended": 3, "never": 3, "failed": 1, "bench": 1, "then": 2, "measured": 2, "unsure": 2,
                    "accuses": 1}
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    def go(*options: str, suite: str = SUITE) -> pytest.RunResult:
        pytester.makepyfile(suite)
        fixed = ("-W", "error", "-p", "no:cacheprovider", "--junitxml=junit.xml", "--fieldrig-out=out")
        return pytester.runpytest_subprocess(*fixed, *options)

    return go


LINES = [
    "inconclusive attempts that were run again: 7, in 5 tests",
    "run again: *::test_mended: attempts: inconclusive, inconclusive, pass",
    "  attempt 1: INCONCLUSIVE: the host stood still",
    "run again: *::test_never_decided: attempts: inconclusive, inconclusive, inconclusive",
    "run again: *::test_fails_then: attempts: inconclusive, fail",
    "run again: *::test_measured: attempts: inconclusive, pass",
    "  attempt 1: INCONCLUSIVE: measurements could not be decided: latency",
    "run again: *::test_unsure_in_its_set_up: attempts: inconclusive, pass",
    "run again: *::test_accused_in_its_tear_down: attempts: fail, not run",
]


def test_only_what_proved_nothing_is_run_again(run, pytester: pytest.Pytester) -> None:
    result = run("--bench", "builtin", "--fieldrig-retry-inconclusive=2", "-v")
    result.stdout.fnmatch_lines(["*::test_mended RUN AGAIN *"])
    result.stdout.fnmatch_lines(["fieldrig *: 3 fail, 1 bench error, 1 inconclusive, 5 pass", *LINES])
    result.assert_outcomes(passed=5, failed=4, skipped=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    cases = list(ElementTree.parse(pytester.path / "junit.xml").iter("testcase"))
    mended = [case for case in cases if case.get("name") == "test_mended"]
    assert [case.find("skipped") is not None for case in mended] == [True, True, False]
    properties = [{one.get("name"): one.get("value") for one in case.iter("property")} for case in mended]
    assert [one["verdict"] for one in properties] == ["inconclusive", "inconclusive", "pass"]
    assert properties[-1]["attempts"] == "inconclusive, inconclusive, pass"
    log = [json.loads(line) for line in (pytester.path / "out" / "run.jsonl").read_text().splitlines()]
    told = [one["fields"] for one in log if one["kind"] == "test.again"]
    told = [one for one in told if one["test"].endswith("test_mended")]
    assert [(one["attempt"], one["of"]) for one in told] == [(1, 3), (2, 3)]
    html = (pytester.path / "out" / "report.html").read_text()
    assert "attempt 2: inconclusive: INCONCLUSIVE: the host stood still" in html


def test_workers_run_it_again_too(run) -> None:
    result = run("--bench", "builtin", "--fieldrig-retry-inconclusive=2", "-n", "1")
    result.stdout.fnmatch_lines(["fieldrig *: 3 fail, 1 bench error, 1 inconclusive, 5 pass", *LINES])


TWICE = """
from fieldrig import DutError, InconclusiveError
DONE = []
def test_both(meter):
    DONE.append(1)
    if len(DONE) == 1:
        raise InconclusiveError("nobody knows")
    if len(DONE) == 2:
        raise DutError("slow")
def test_no_more():
    assert len(DONE) == 3
"""


def test_rerunfailures_runs_the_fails_again(run) -> None:
    result = run("--bench", "builtin", "--fieldrig-retry-inconclusive=1", "--reruns=1", suite=TWICE)
    result.stdout.fnmatch_lines(["run again: *::test_both: attempts: inconclusive, fail, pass"])
    assert result.ret == pytest.ExitCode.OK


ONCE = """
from fieldrig import InconclusiveError
DONE = []
def test_unsure():
    DONE.append(1)
    if len(DONE) == 1:
        raise InconclusiveError("nobody knows")
"""
REAL = '[bench]\nname = "lab"\nprofile = "real"\n[dut.meter]\nlinks = { console = { port = "serial:///dev/none" } }\n'


def test_nothing_is_run_again_unless_asked_for_and_real_hardware_only_by_hand(run, pytester: pytest.Pytester) -> None:
    run(suite=ONCE).assert_outcomes(failed=1)
    pytester.makeini("[pytest]\nfieldrig_retry_inconclusive = 1")
    run(suite=ONCE).assert_outcomes(passed=1)
    pytester.makefile(".toml", lab=REAL)
    run("--bench", "lab.toml", suite=ONCE).assert_outcomes(failed=1)
    run("--bench", "lab.toml", "--fieldrig-retry-inconclusive=1", suite=ONCE).assert_outcomes(passed=1)


@pytest.mark.parametrize("given", ["--fieldrig-retry-inconclusive=-1", "-ofieldrig_retry_inconclusive=yes"])
def test_a_number_that_is_none_is_refused(run, given: str) -> None:
    result = run(given, suite=ONCE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *fieldrig*retry*inconclusive* is no number of attempts: write 0, 1, 2, .."])
