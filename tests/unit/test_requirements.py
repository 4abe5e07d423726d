"""The matrix of the user's requirements, and what must have been judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fieldrig.errors import UsageError
from fieldrig.pytest_plugin import requirements
from fieldrig.pytest_plugin.requirements import matrix
from fieldrig.pytest_plugin.results import Case

pytest_plugins = ["pytester"]


def state(*words: str) -> str:
    cases = [case_of(f"test_{number}", word) for number, word in enumerate(words)]
    return matrix({"R": ""}, cases)[0].state


def case_of(nodeid: str, word: str) -> Case:
    if word == "waived":
        return Case(nodeid, waived="waived (FW-1)", requirements=["R"])
    if word == "bench error":
        return Case(nodeid, "inconclusive", "BENCH", requirements=["R"])
    return Case(nodeid, "none" if word == "not run" else word, requirements=["R"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "untested"),
        (("pass", "pass"), "passed"),
        (("pass", "fail", "error"), "failed"),
        (("pass", "error"), "error"),
        (("pass", "inconclusive"), "inconclusive"),
        (("pass", "bench error", "waived"), "inconclusive"),
        (("pass", "waived"), "waived"),
        (("pass", "not run"), "passed"),
        (("not run",), "not run"),
    ],
)
def test_the_worst_test_decides(words: tuple[str, ...], expected: str) -> None:
    assert state(*words) == expected


def test_a_test_that_did_not_run_is_said_beside_those_that_did() -> None:
    [row] = matrix({"R": ""}, [case_of("a", "pass"), case_of("b", "not run")])
    assert row.note() == "1 of 2 tests not run"


def test_ids_that_only_tests_know_are_unknown() -> None:
    rows = matrix({"Q": "text"}, [case_of("a", "pass")])
    assert [(row.id, row.state) for row in rows] == [("Q", "untested"), ("R", "unknown")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.csv", "id,text\nR-1,\"one, or two\"\n R-2 ,\n"),
        ("r.csv", "\ufeffID;Owner;Text\nR-1;me;one, or two\nR-2;me;\n"),
        ("r.toml", '[[requirement]]\nid = "R-1"\ntext = "one, or two"\n[[requirement]]\nid = "R-2"\nowner = "me"\n'),
    ],
)  # fmt: skip
def test_files_of_requirements(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert requirements.load(tmp_path / name) == {"R-1": "one, or two", "R-2": ""}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.csv", b"name,text\nR-1,one\n", "r.csv:1: the first line names the columns; there is no `id` among them"),
        ("r.csv", b"", "r.csv:1: the first line names the columns"),
        ("r.csv", b"id,text\nR-1,a\nR-1,b\n", "r.csv:3: the requirement `R-1` is listed twice"),
        ("r.csv", b"id,text\n,a\n", "r.csv:2: a requirement without an id"),
        ("r.csv", b"id\n\xff\n", "r.csv: not UTF-8"),
        ("r.toml", b"[[requirement", "r.toml: not TOML"),
        ("r.toml", b"requirement = 1", "r.toml: a requirement begins with [[requirement]]"),
        ("r.toml", b"[[requirement]]\nid = 1\n", "r.toml: requirement 1: id must be a text"),
        ("r.toml", b"[[requirement]]\ntext = 'a'\n", "r.toml: requirement 1: a requirement without an id"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, name: str, text: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UsageError) as raised:
        requirements.load(tmp_path / name)
    assert message in str(raised.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the requirements cannot be read: .*No such file"):
        requirements.load(tmp_path / "none.csv")


SOURCE = """
import pytest
from fieldrig import DutError, InconclusiveError

@pytest.mark.requirement("R-PASS", "R-TYPO")
def test_passes(): pass

@pytest.mark.requirement("R-FAIL")
@pytest.mark.parametrize("n", [0, 1])
def test_fails(n):
    if n: raise DutError("no")

@pytest.mark.requirement("R-UNSURE")
def test_unsure(): raise InconclusiveError("who knows")

@pytest.mark.requirement("R-SKIP")
def test_skips(): pytest.skip("no lab")
"""
IDS = ("R-PASS", "R-FAIL", "R-UNSURE", "R-SKIP", "R-NONE")


@pytest.fixture
def run(pytester: pytest.Pytester):
    pytester.makepyfile(test_it=SOURCE)
    (pytester.path / "r.csv").write_text("id,text\n" + "".join(f"{name},about {name}\n" for name in IDS))

    def go(*options: str, require: str | None = None) -> pytest.RunResult:
        if require is not None:
            (pytester.path / "must.txt").write_text(require)
            options = (*options, "--fieldrig-require", "must.txt")
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *options)

    return go


def test_the_matrix_is_in_the_summary(run) -> None:
    result = run("--fieldrig-requirements", "r.csv")
    result.stdout.fnmatch_lines(
        [
            "requirements: 1 failed, 1 inconclusive, 1 passed, 1 not run, 1 untested, 1 unknown",
            "  failed       R-FAIL  about R-FAIL",
            "  inconclusive R-UNSURE  about R-UNSURE",
            "  not run      R-SKIP  about R-SKIP",
            "  untested     R-NONE  about R-NONE",
            "  unknown      R-TYPO",
        ]
    )


def test_what_was_deselected_is_not_run_and_not_untested(run) -> None:
    result = run("--fieldrig-requirements", "r.csv", "-k", "passes")
    result.stdout.fnmatch_lines(["requirements: 1 passed, 3 not run, 1 untested, 1 unknown"])


def test_the_matrix_is_in_the_folder_of_the_run(run, pytester: pytest.Pytester) -> None:
    run("--fieldrig-requirements", "r.csv", "--fieldrig-out", "out")
    rows = json.loads((pytester.path / "out" / "requirements.json").read_text())["requirements"]
    assert rows[1] == {
        "id": "R-FAIL",
        "text": "about R-FAIL",
        "state": "failed",
        "tests": {"test_it.py::test_fails[0]": "pass", "test_it.py::test_fails[1]": "fail"},
    }
    page = (pytester.path / "out" / "report.html").read_text()
    assert "about R-NONE" in page and ">untested<" in page


def test_what_is_required_must_be_judged(run) -> None:
    names = "# the release list\ntest_it.py::test_fails\nR-PASS\nR-FAIL   # judged, if not liked\n\n"
    judged = run(require=names)
    judged.stdout.no_fnmatch_line("*required, but not judged*")
    green = run("-k", "passes", require="R-PASS\ntest_it.py::test_passes\n")
    assert green.ret == 0


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("R-SKIP", "R-SKIP (not run)"),
        ("R-UNSURE", "R-UNSURE (inconclusive)"),
        ("R-NONE", "R-NONE (no test of this run cites it)"),
        ("test_it.py::test_skips", "test_it.py::test_skips (not run: *no lab)"),
        ("test_it.py::test_fails", "test_it.py::test_fails (not run in test_it.py::test_fails[[]0]: deselected)"),
        ("test_it.py::test_gone", "test_it.py::test_gone (no such test in this run)"),
        ("test_it.py", "test_it.py (inconclusive in test_it.py::test_unsure)"),
    ],
)
def test_what_is_required_and_was_not_judged_makes_the_run_red(run, name: str, why: str) -> None:
    result = run("-k", "passes or skips or unsure", "--fieldrig-inconclusive=skip", require=f"R-PASS\n{name}\n")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"RED: required, but not judged: {why}"])


def test_a_list_that_names_nothing_is_a_usage_error(run) -> None:
    result = run(require="# later\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--fieldrig-require: " in result.stderr.str() and "names nothing" in result.stderr.str()
