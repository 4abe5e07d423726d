"""pytest-rerunfailures: every attempt is kept, and a later one that judges nothing hides no fail."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

import fieldrig.expect  # noqa: F401 (here, because pytester forgets native modules that are first imported in its tests)
from fieldrig.pytest_plugin.results import Case

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester):
    def go(*attempts: str, options: tuple[str, ...] = ()) -> pytest.RunResult:
        pytester.makepyfile(
            "import pytest\nfrom fieldrig import DutError, BenchError\nATTEMPTS = []\n"
            "def test_it(meter):\n    ATTEMPTS.append(1)\n"
            + "".join(f"    if len(ATTEMPTS) == {number}:\n        {go}\n" for number, go in enumerate(attempts, 1))
        )
        fixed = ("-W", "error", "-p", "no:cacheprovider", "--bench", "builtin", "--reruns", "2", "--junitxml=junit.xml")
        return pytester.runpytest_subprocess(*fixed, *options)

    return go


def properties(pytester: pytest.Pytester) -> list[dict[str, str]]:
    """Those of each attempt: JUnit has a test case for each."""
    cases = ElementTree.parse(pytester.path / "junit.xml").iter("testcase")
    return [{str(one.get("name")): str(one.get("value")) for one in case.iter("property")} for case in cases]


def test_a_pass_after_a_fail_names_both(run, pytester: pytest.Pytester) -> None:
    result = run("raise DutError('slow')", "pass")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["fieldrig *: 1 pass", "run again: *::test_it: attempts: fail, pass"])
    assert properties(pytester) == [{"verdict": "fail"}, {"verdict": "pass", "attempts": "fail, pass"}]


def test_an_inconclusive_attempt_is_not_hidden(run) -> None:
    result = run("raise BenchError('port')", "raise BenchError('port')", "pass")
    result.stdout.fnmatch_lines(["run again: *::test_it: attempts: inconclusive, inconclusive, pass"])


@pytest.mark.parametrize("last", ["pytest.skip('tired')", "pytest.xfail('tired')"])
def test_a_skip_after_a_fail_does_not_make_the_run_green(run, last: str) -> None:
    result = run("raise DutError('slow')", last)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["fieldrig *: 1 fail", "run again: *::test_it: attempts: fail, not run"])


def test_a_bench_error_after_a_fail_leaves_the_fail(run) -> None:
    result = run("raise DutError('slow')", "raise BenchError('port')", "raise BenchError('port')")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["fieldrig *: 1 fail"])


def test_attempts_come_through_workers(run) -> None:
    result = run("raise DutError('slow')", "pass", options=("-n", "1"))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["fieldrig *: 1 pass", "run again: *::test_it: attempts: fail, pass"])


def test_the_last_attempt_counts_if_it_judges() -> None:
    case = Case("t")
    for verdict in ("fail", "inconclusive"):
        case.begin()
        case.worsen(verdict, "DUT", verdict)
    assert (case.word, case.settled.text) == ("fail", "fail")
    case.begin()
    case.worsen("pass", "", "")
    assert (case.word, case.history()) == ("pass", "attempts: fail, inconclusive, pass")
