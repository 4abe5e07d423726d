"""Waivers: what falls under one is waived, never passed; what no longer holds is red."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from fieldrig.errors import UsageError
from fieldrig.pytest_plugin.names import matches
from fieldrig.pytest_plugin.results import Case
from fieldrig.pytest_plugin.waivers import Waivers

pytest_plugins = ["pytester"]

LAST_DAY = datetime.date(2026, 12, 31)
ROW = '[[waiver]]\nticket = "FW-1"\nexpires = 2026-12-31\nreason = "known"\n'


@pytest.fixture
def load(tmp_path: Path):
    def go(text: str, today: datetime.date = LAST_DAY) -> Waivers:
        (tmp_path / "waivers.toml").write_text(text)
        return Waivers.load(tmp_path / "waivers.toml", today)

    return go


def case(nodeid: str = "a/test_b.py::test_c", word: str = "none", *requirements: str) -> Case:
    return Case(nodeid, verdict=word, requirements=list(requirements))


def test_a_waiver_holds_to_the_end_of_its_last_day(load) -> None:
    text = ROW + 'test = "a/test_b.py::test_c"\n'
    held = load(text).covering(case())
    assert held is not None and held.describe() == "waived (FW-1 until 2026-12-31)"
    assert load(text, LAST_DAY + datetime.timedelta(days=1)).covering(case()) is None


@pytest.mark.parametrize(
    ("pattern", "nodeid", "found"),
    [
        ("a/test_b.py::test_c", "a/test_b.py::test_c", True),
        ("a/test_b.py::test_c", "a/test_b.py::test_c[x]", True),
        ("a/test_b.py::test_c[x]", "a/test_b.py::test_c[y]", False),
        ("a/test_b.py::test_c", "a/test_b.py::test_cd", False),
        ("a/test_b.py", "a/test_b.py::test_c", True),
        ("a/", "a/test_b.py::test_c", True),
        ("a", "a/test_b.py::test_c", False),
        ("a/test_b.py::TestIt", "a/test_b.py::TestIt::test_c", True),
    ],
)
def test_names_of_tests_in_files(pattern: str, nodeid: str, found: bool) -> None:
    assert matches(pattern, nodeid) is found


def test_a_test_that_judges_two_requirements_falls_under_waivers_of_both_only(load) -> None:
    one = ROW + 'requirement = "R-1"\n'
    assert load(one).covering(case("t", "none", "R-1")) is not None
    assert load(one).covering(case("t", "none", "R-1", "R-2")) is None
    assert load(one).covering(case("t")) is None
    assert load(one + ROW + 'requirement = "R-2"\n').covering(case("t", "none", "R-1", "R-2")) is not None


def test_expired_waivers_make_the_run_red_and_needless_ones_are_listed(load) -> None:
    text = ROW + 'test = "test_b.py::test_c"\n'
    passed, failed = [case("test_b.py::test_c", "pass")], [case("test_b.py::test_c", "fail")]
    names = ["test_b.py::test_c"]
    assert load(text).remarks(failed, names) == ([], [])
    assert load(text).remarks(passed, names) == ([], ["the waiver FW-1: test_b.py::test_c passes; remove it"])
    assert load("strict = true\n" + text).remarks(passed, names)[0] == [
        "the waiver FW-1: test_b.py::test_c passes; remove it"
    ]
    assert load(text).remarks([], [])[1] == [
        "the waiver FW-1: no test of this run falls under it (test test_b.py::test_c); "
        "remove it, unless only a part was run"
    ]
    assert load(text).remarks([], names) == ([], []), "it was deselected, so nothing is known"
    late = load(text, datetime.date(2027, 1, 1)).remarks(failed, names)
    assert late == (["the waiver FW-1 for the test test_b.py::test_c expired on 2026-12-31"], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[waiver", "not TOML"),
        ("waivers = 1\n", "unknown key `waivers`; it has: strict, waiver"),
        ("strict = 1\n", "strict = 1: it is true or false"),
        ("waiver = 1\n", "a waiver begins with [[waiver]]"),
        (ROW, "waiver 1: it is either for a test or for a requirement: give one of the two"),
        (ROW + 'test = "a"\nrequirement = "b"\n', "it is either for a test or for a requirement"),
        (ROW + 'test = "a"\n' + ROW + 'tset = "a"\n', "waiver 2: unknown key `tset`"),
        (ROW + "test = 1\n", "waiver 1: test must be a text"),
        ('[[waiver]]\ntest = "a"\nticket = "x"\nreason = "y"\n', "expires must be a day"),
        ('[[waiver]]\ntest = "a"\nticket = "x"\nreason = "y"\nexpires = "soon"\n', "expires must be a day"),
        ('[[waiver]]\ntest = "a"\nexpires = 2026-12-31\nreason = "y"\n', "waiver 1: it has no ticket"),
        ('[[waiver]]\ntest = "a"\nexpires = 2026-12-31\nticket = "y"\n', "waiver 1: it has no reason"),
    ],
)
def test_a_wrong_file_says_where(load, text: str, message: str) -> None:
    with pytest.raises(UsageError, match="waivers.toml") as raised:
        load(text)
    assert message in str(raised.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the waivers cannot be read: .*No such file"):
        Waivers.load(tmp_path / "none.toml", LAST_DAY)


# Dates far away, so that the day of the run does not matter.
FOREVER, LONG_AGO = "2999-12-31", "2001-01-01"
FAILS = "from fieldrig import DutError, BenchError\ndef test_it():\n    raise DutError('too slow')\n"


@pytest.fixture
def run(pytester: pytest.Pytester):
    def go(source: str, waivers: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=source)
        (pytester.path / "w.toml").write_text(waivers)
        fixed = ("-W", "error", "-p", "no:cacheprovider", "-ra", "--fieldrig-waivers", "w.toml")
        return pytester.runpytest_subprocess(*fixed, *options)

    return go


def waiver(expires: str, test: str = "test_it.py::test_it") -> str:
    return f'[[waiver]]\ntest = "{test}"\nticket = "FW-1"\nexpires = {expires}\nreason = "known"\n'


def test_a_waived_fail_is_waived_and_not_passed(run) -> None:
    result = run(FAILS, waiver(FOREVER))
    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["1 waived", "test_it.py::test_it: waived (FW-1 until 2999-12-31): DUT: too slow"])


def test_an_expired_waiver_leaves_the_fail_red_and_says_so(run) -> None:
    result = run(FAILS, waiver(LONG_AGO))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["DUT: too slow", "  its waiver FW-1 expired on 2001-01-01", "RED: *expired on 2001-*"])


def test_an_expired_waiver_makes_a_green_run_red(run) -> None:
    result = run("def test_it():\n    pass\n", waiver(LONG_AGO))
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_only_what_the_device_is_blamed_for_is_waived(run) -> None:
    result = run(FAILS.replace("DutError('", "BenchError('"), waiver(FOREVER))
    result.assert_outcomes(failed=1)
    broken = run("def test_it():\n    1 / 0\n", waiver(FOREVER))
    broken.assert_outcomes(failed=1)


def test_a_bench_error_after_a_waived_fail_is_not_told_as_waived(run) -> None:
    result = run(
        "import pytest\nfrom fieldrig import BenchError\n@pytest.fixture\ndef after():\n    yield\n"
        "    raise BenchError('the port is gone')\n" + FAILS.replace("def test_it(", "def test_it(after", 1),
        waiver(FOREVER),
    )
    result.assert_outcomes(skipped=1, errors=1)
    result.stdout.fnmatch_lines(["1 bench error", "test_it.py::test_it: BENCH: the port is gone"])


def test_a_wrong_file_of_waivers_is_a_usage_error(run) -> None:
    result = run(FAILS, "[[waiver]]\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*w.toml: waiver 1: expires must be a day*"])


def test_the_bench_file_names_waivers_and_requirements_beside_it(run, pytester: pytest.Pytester) -> None:
    lab = pytester.mkdir("lab")
    (lab / "bench.toml").write_text('[bench]\nname = "lab"\nwaivers = "known.toml"\nrequirements = "ours.csv"\n')
    (lab / "known.toml").write_text(waiver(FOREVER))
    (lab / "ours.csv").write_text("id,text\nR-1,one\n")
    pytester.makepyfile(test_it=FAILS)
    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "--bench", "lab/bench.toml")
    result.stdout.fnmatch_lines(["fieldrig *: bench lab, *: 1 waived", "requirements: 1 untested"])
