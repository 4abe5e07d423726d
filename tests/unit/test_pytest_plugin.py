"""The plug-in's verdicts, texts and properties, seen from outside: each test is a pytest run of its own."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from fieldrig.pytest_plugin.results import Results

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester):
    def go(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *options)

    return go


SPAN = "from fieldrig import Span\nimport pytest\n"


def test_a_750_ms_span_against_500_ms_is_red_and_blames_the_dut(run) -> None:
    result = run(SPAN + "def test_it(measure):\n    measure('latency', Span(750_000_000), max='500ms')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["DUT: measurements failed: latency", "*latency = 750 ms (max 500 ms): fail"])


def test_a_skip_after_a_failed_measurement_does_not_hide_it(run) -> None:
    body = "    measure('latency', Span(750_000_000), max='500ms')\n    pytest.skip('never mind')\n"
    result = run(SPAN + "def test_it(measure):\n" + body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["DUT: measurements failed: latency", "*then: never mind*"])


def test_a_bench_error_after_a_failed_measurement_does_not_hide_it(run) -> None:
    body = "    measure('latency', Span(750_000_000), max='500ms')\n    raise BenchError('the port is gone')\n"
    result = run(SPAN + "from fieldrig import BenchError\ndef test_it(measure):\n" + body)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["DUT: measurements failed: latency", "*then: BENCH: the port is gone*"])


@pytest.mark.parametrize(("end", "word"), [("raise BenchError('gone')", "BENCH"), ("pytest.skip('no')", "SKIPPED")])
def test_what_a_test_that_was_cut_short_did_not_measure_accuses_nobody(run, end: str, word: str) -> None:
    source = SPAN + (
        "from fieldrig import BenchError\n@pytest.mark.measures('first', 'second', max='500ms')\n"
        f"def test_it(measure):\n    measure('first', Span(1))\n    {end}\n"
    )
    result = run(source, "-rA")
    assert "DUT" not in result.stdout.str()
    result.stdout.fnmatch_lines([f"*{word}*"])


def test_a_teardown_error_does_not_hide_a_fail(run) -> None:
    source = SPAN + (
        "@pytest.fixture\ndef broken():\n    yield\n    raise RuntimeError('teardown')\n"
        "def test_it(measure, broken):\n    measure('latency', Span(750_000_000), max='500ms')\n"
    )
    result = run(source)
    result.assert_outcomes(failed=1, errors=1)


def test_an_inconclusive_test_is_red_by_default_and_can_be_shown_as_a_skip(run) -> None:
    source = SPAN + "def test_it(measure):\n    measure('latency', Span(1, 999_000_000), max='500ms')\n"
    red = run(source)
    red.assert_outcomes(failed=1)
    red.stdout.fnmatch_lines(["INCONCLUSIVE: measurements could not be decided: latency"])
    run(source, "--fieldrig-inconclusive=skip").assert_outcomes(skipped=1)


def test_skipping_inconclusive_never_skips_a_fail(run) -> None:
    source = SPAN + (
        "def test_it(measure):\n    measure('bad', Span(750_000_000), max='500ms')\n"
        "    measure('unsure', Span(1, 999_000_000), max='500ms')\n"
    )
    run(source, "--fieldrig-inconclusive=skip").assert_outcomes(failed=1)


def test_a_declared_measurement_left_unset_fails(run) -> None:
    result = run(SPAN + "@pytest.mark.measures('boot_time', max='5s')\ndef test_it():\n    pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*boot_time: declared, but never measured: fail"])


def test_requirements_measurements_and_verdict_are_junit_properties(run, pytester: pytest.Pytester) -> None:
    source = SPAN + (
        "@pytest.mark.requirement('MB-FC03-07', 'R-2')\n"
        "def test_it(measure):\n    measure('voltage', 230.5, unit='V', min=207, max=253)\n"
    )
    run(source, "--junitxml=junit.xml").assert_outcomes(passed=1)
    case = ElementTree.parse(pytester.path / "junit.xml").find(".//testcase")
    assert case is not None
    found = [(one.get("name"), one.get("value")) for one in case.iter("property")]
    assert found == [
        ("requirement", "MB-FC03-07"),
        ("requirement", "R-2"),
        ("m.voltage", "230.5"),
        ("m.voltage.unit", "V"),
        ("m.voltage.low", "207"),
        ("m.voltage.high", "253"),
        ("verdict", "pass"),
    ]


def test_an_xfail_stays_an_xfail(run) -> None:
    source = SPAN + (
        "@pytest.mark.xfail\ndef test_it(measure):\n    measure('latency', Span(750_000_000), max='500ms')\n"
    )
    run(source).assert_outcomes(xfailed=1)


def test_a_forgotten_bench_is_no_green_run(run) -> None:
    result = run("def test_it(bench):\n    pass\n")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["USAGE: there is no bench", "  hint: --bench FILE, or bench.toml in *"])
    result.stdout.no_fnmatch_line("*session.py*")


def test_a_bench_that_is_not_in_the_root_folder_is_named(run, pytester, monkeypatch) -> None:
    folder = pytester.mkdir("lab")
    (folder / "bench.toml").write_text("")
    (folder / "test_lab.py").write_text("def test_it(bench):\n    pass\n")
    monkeypatch.chdir(folder)
    result = run("", f"--rootdir={pytester.path}")
    result.stdout.fnmatch_lines(["  hint: */lab/bench.toml is not in the root folder *: name it with --bench"])


def test_a_device_without_its_bench_says_so(run, pytester) -> None:
    measured = run("def test_it(pump, measure):\n    pass\n")
    measured.stdout.fnmatch_lines(["USAGE: there is no fixture `pump`, and there is no bench", "*hint: *--bench FILE*"])
    folder = pytester.mkdir("lab")
    (folder / "bench.toml").write_text("")
    test = folder / "test_lab.py"
    test.write_text("def test_it(pump):\n    pass\n")
    beside = pytester.runpytest_subprocess(str(test))
    beside.stdout.fnmatch_lines(["USAGE: there is no fixture `pump`*", "*hint: */lab/bench.toml is not in the root*"])


def test_a_missing_fixture_of_somebody_else_is_left_to_pytest(run) -> None:
    result = run("def test_it(database):\n    pass\n")
    result.stdout.fnmatch_lines(["*fixture 'database' not found*"])
    result.stdout.no_fnmatch_line("*USAGE:*")


def test_a_device_that_the_bench_has_not_names_those_it_has(run) -> None:
    result = run("def test_it(pump):\n    pass\n", "--bench", "builtin")
    result.stdout.fnmatch_lines(
        ["USAGE: there is no fixture `pump`, and the bench demo has no such device; it has: meter"]
    )


def test_a_missing_bench_file_is_a_usage_error(run) -> None:
    result = run("def test_it():\n    pass\n", "--bench", "nowhere.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*there is no bench file nowhere.toml*"])


def test_a_profile_without_a_bench_is_a_usage_error(run) -> None:
    result = run("def test_it():\n    pass\n", "--profile", "real")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_plug_in_is_inert_without_a_bench(run) -> None:
    source = "import sys\ndef test_it():\n    assert 'fieldrig._core' not in sys.modules\n"
    result = run(source)
    result.assert_outcomes(passed=1)
    assert "fieldrig 0" not in result.stdout.str()


def test_switching_the_plug_in_off_leaves_pytest_as_it_was(run) -> None:
    run("def test_it():\n    pass\n", "-p", "no:fieldrig").assert_outcomes(passed=1)


BAD = SPAN + "from fieldrig import BenchError, DutError, UsageError\nimport unittest\nBAD = Span(750_000_000)\n"


def test_a_measurement_taken_in_tear_down_is_judged(run) -> None:
    source = BAD + (
        "@pytest.fixture\ndef after(measure):\n    yield\n    measure('latency', BAD, max='500ms')\n"
        "def test_it(after):\n    pass\n"
    )
    result = run(source)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["DUT: measurements failed: latency"])


def test_a_measurement_that_failed_in_set_up_is_not_hidden_by_a_skip(run) -> None:
    source = BAD + (
        "@pytest.fixture\ndef before(measure):\n    measure('latency', BAD, max='500ms')\n    pytest.skip('no')\n"
        "def test_it(before):\n    pass\n"
    )
    result = run(source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["DUT: measurements failed: latency", "*then: no*"])


@pytest.mark.parametrize("end", ["pytest.xfail('known')", "raise UsageError('wrong')", "raise DutError('other')"])
def test_nothing_that_ends_a_test_hides_a_failed_measurement(run, end: str) -> None:
    result = run(BAD + f"def test_it(measure):\n    measure('latency', BAD, max='500ms')\n    {end}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*latency = 750 ms (max 500 ms): fail"])


def test_a_test_case_of_unittest_cannot_skip_a_failed_measurement_away(run) -> None:
    source = BAD + (
        "class TestIt(unittest.TestCase):\n"
        "    @pytest.fixture(autouse=True)\n    def take(self, measure):\n        self.measure = measure\n"
        "    def test_it(self):\n        self.measure('latency', BAD, max='500ms')\n        self.skipTest('no')\n"
    )
    result = run(source)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["DUT: measurements failed: latency"])


def test_a_failure_text_has_25_lines_at_most_and_no_control_characters(run, pytester: pytest.Pytester) -> None:
    source = BAD + (
        "def test_long():\n    raise DutError('\\n'.join(f'line {n} \\x00\\x1b[31m' for n in range(60)))\n"
        "def test_many(measure):\n    for n in range(60):\n        measure(f'm{n}', BAD, max='500ms')\n"
    )
    run(source, "--junitxml=junit.xml").assert_outcomes(failed=2)
    failures = list(ElementTree.parse(pytester.path / "junit.xml").iter("failure"))
    assert len(failures) == 2
    for failure in failures:
        text = failure.text or ""
        assert text.startswith("DUT: ") and len(text.splitlines()) <= 25
        assert "\x1b" not in text


def test_a_setup_that_fails_has_a_verdict_in_junit(run, pytester: pytest.Pytester) -> None:
    source = BAD + (
        "@pytest.fixture\ndef port():\n    raise BenchError('the port is gone')\ndef test_it(port):\n    pass\n"
    )
    result = run(source, "--junitxml=junit.xml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["BENCH: the port is gone"])
    properties = ElementTree.parse(pytester.path / "junit.xml").iter("property")
    assert [(one.get("name"), one.get("value")) for one in properties] == [("verdict", "inconclusive")]


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        ([("pass", "")], 0),
        ([("pass", ""), ("none", "")], 0),
        ([("none", "")], 5),
        ([], 5),
        ([("inconclusive", "INCONCLUSIVE")], 4),
        ([("inconclusive", "INCONCLUSIVE"), ("inconclusive", "BENCH")], 3),
        ([("error", "USAGE"), ("inconclusive", "BENCH")], 2),
        ([("error", ""), ("inconclusive", "BENCH")], 1),
        ([("fail", "DUT"), ("error", "USAGE")], 1),
    ],
)
def test_the_exit_code_follows_the_worst_verdict(cases: list[tuple[str, str]], code: int) -> None:
    results = Results()
    for number, (verdict, blame) in enumerate(cases):
        results.case(str(number)).worsen(verdict, blame, "")
    assert results.exit_code() == code


def test_a_problem_of_the_run_has_an_exit_code_beside_its_tests() -> None:
    results = Results(problems=["required, but not judged: R-1"])
    results.case("a").worsen("pass", "", "")
    assert results.exit_code() == 1
    results.problems.append("BENCH: the safe state was not reached")
    assert results.exit_code() == 3
    results.case("a").worsen("fail", "DUT", "")
    assert results.exit_code() == 1


def test_a_strict_xfail_that_passes_is_no_test_that_did_not_run(run, pytester: pytest.Pytester) -> None:
    run("import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    pass\n", "--junitxml=junit.xml")
    properties = ElementTree.parse(pytester.path / "junit.xml").iter("property")
    assert [(one.get("name"), one.get("value")) for one in properties] == [("verdict", "error")]
