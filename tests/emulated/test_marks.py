"""Marks that say on which bench a test can run, and who is blamed when a device was asked for as the test ran."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

import fieldrig.expect  # noqa: F401 (here, because pytester forgets native modules that are first imported in its tests)

pytest_plugins = ["pytester"]

MODEL = """
[model]
name = "any"
[points.voltage]
kind = "float"
initial = 230.0
[face.modbus.map]
voltage = { table = "input", address = 0, type = "u16" }
"""

BENCH = """
[bench]
name = "three"
[link.modbus]
protocol = "modbus-tcp"
[link.console]
protocol = "console"
line = "115200 8N1"
[dut.gateway]
model = "any.toml"
links = { console = {} }
tags = ["gateway"]
[dut.meter1]
model = "any.toml"
links = { modbus = "devices" }
tags = ["meter"]
[dut.meter2]
model = "any.toml"
links = { modbus = "devices" }
tags = ["meter"]
[dut.ghost]
links = { console = {} }
[peer.sensor]
model = "any.toml"
links = { modbus = "devices" }
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    (pytester.path / "any.toml").write_text(MODEL)
    (pytester.path / "bench.toml").write_text(BENCH)

    def go(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile("import pytest\nfrom fieldrig import BenchError, DutError\n" + source)
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", "-rA", *options)

    return go


def test_each_dut_runs_once_for_each_device_with_the_tag(run) -> None:
    result = run(
        "@pytest.mark.each_dut(tag='meter')\n"
        "def test_it(dut):\n    assert dut.modbus.read('voltage').value == 230.0\n"
        "@pytest.mark.each_dut(link='console')\ndef test_console(dut):\n    assert dut.name == 'gateway'\n"
        "@pytest.mark.each_dut()\ndef test_all(dut):\n    assert dut.judged\n"
    )
    result.assert_outcomes(passed=6, skipped=1)
    for name in ("it[[]meter1]", "it[[]meter2]", "console[[]gateway]", "all[[]gateway]", "all[[]meter1]"):
        result.stdout.fnmatch_lines([f"PASSED *::test_{name}"])
    result.stdout.fnmatch_lines(["SKIPPED [[]1] *: not run: ghost: it has no model"])


def test_a_tag_that_no_device_has_is_not_run_and_not_passed(run) -> None:
    result = run("@pytest.mark.each_dut(tag='valve')\ndef test_it(dut):\n    pass\n")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*not run: no device that the bench three judges has the tag `valve`"])


@pytest.mark.parametrize(
    ("mark", "takes", "message"),
    [
        ("each_dut(tag='meter')", "meter1", "USAGE: test_it is marked each_dut, but does not take the fixture `dut`"),
        ("each_dut('meter')", "dut", 'USAGE: each_dut takes tag=".." and link="..", and nothing else'),
        ("each_dut(unit=1)", "dut", 'USAGE: each_dut takes tag=".." and link="..", and nothing else'),
    ],
)
def test_a_wrong_each_dut_is_an_error_of_collection(run, mark: str, takes: str, message: str) -> None:
    result = run(f"@pytest.mark.{mark}\ndef test_it({takes}):\n    pass\n")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert message in result.stdout.str()


def test_dut_without_each_dut_says_what_to_do(run) -> None:
    result = run("def test_it(dut):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["USAGE: the fixture `dut` is for tests that are marked each_dut", "*hint: *each_dut*"])


@pytest.mark.parametrize(
    ("need", "takes"),
    [("link:console", "meter1"), ("tag:gateway", "meter1, meter2"), ("link:uart", ""), ("tag:valve", "bench")],
)
def test_what_no_device_offers_is_not_run_with_the_reason(run, need: str, takes: str) -> None:
    result = run(f"@pytest.mark.needs('power', {need!r})\ndef test_it({takes}):\n    pass\n")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"*not run: it needs {need}, which *of the bench three does not offer"])
    result.stdout.fnmatch_lines(["fieldrig *: 1 not run"])


def test_what_a_device_offers_is_run(run) -> None:
    result = run(
        "@pytest.mark.needs('link:modbus', 'tag:meter', 'power')\ndef test_it(meter1):\n    pass\n"
        "@pytest.mark.needs('link:console')\ndef test_any(bench):\n    pass\n"
        "@pytest.mark.emulated_only\ndef test_emulated(meter1):\n    pass\n"
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("need", ["voltage", "link", "link:", "power:", "memory:meter1", "tags:meter"])
def test_an_unknown_need_is_a_usage_error(run, need: str) -> None:
    result = run(f"@pytest.mark.needs({need!r})\ndef test_it(meter1):\n    pass\n")
    result.assert_outcomes(errors=1)
    assert f"\nUSAGE: needs({need!r}) is unknown" in result.stdout.str()


def test_real_only_opens_no_bench_of_emulated_devices(run, pytester: pytest.Pytester) -> None:
    result = run("@pytest.mark.real_only\ndef test_it(meter1):\n    pass\n", "--fieldrig-out", "out")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*not run: it is marked real_only, and meter1 is emulated"])
    assert not (pytester.path / "out").exists()


def test_marks_of_a_bench_without_a_bench_are_red(run, pytester: pytest.Pytester) -> None:
    (pytester.path / "bench.toml").unlink()
    result = run("@pytest.mark.real_only\ndef test_it():\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["USAGE: the test is marked real_only, and there is no bench", "*hint: --bench FILE*"])


def test_only_what_a_test_skips_as_not_applicable_is_not_applicable(run) -> None:
    result = run("def test_it(meter1):\n    pytest.skip('not applicable: it has no display')\n")
    result.stdout.fnmatch_lines(["fieldrig *: 1 not applicable"])


def test_a_bench_error_is_counted_apart_from_what_could_not_be_decided(run) -> None:
    result = run(
        "from fieldrig import InconclusiveError\n"
        "def test_a(meter1):\n    raise BenchError('the relay is stuck')\n"
        "def test_b(meter1):\n    raise InconclusiveError('nobody knows')\n"
    )
    result.stdout.fnmatch_lines(["fieldrig *: 1 bench error, 1 inconclusive"])


DYNAMIC = "    meter = request.getfixturevalue('meter1')\n    value = meter.modbus.read('voltage').value\n"


def test_a_device_that_is_asked_for_as_the_test_runs_is_blamed(run) -> None:
    source = (
        f"def test_it(request):\n{DYNAMIC}    assert value < 0\ndef test_again(request):\n{DYNAMIC}    assert not 1\n"
    )
    result = run(source)
    result.assert_outcomes(failed=2)
    assert result.stdout.str().count("\nDUT: assert") == 2


def test_a_test_beside_that_uses_no_device_accuses_none(run) -> None:
    result = run(f"def test_it(request):\n{DYNAMIC}def test_plain():\n    assert 1 == 2\n")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("*DUT:*")


def test_a_peer_alone_accuses_no_device(run) -> None:
    result = run("def test_it(sensor):\n    assert sensor.get('voltage') < 0\n")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*DUT:*")


def test_a_device_asked_for_as_the_test_runs_that_the_bench_has_not(run) -> None:
    result = run("def test_it(request):\n    request.getfixturevalue('pump')\n")
    result.stdout.fnmatch_lines(["USAGE: there is no fixture `pump`, and the bench three has no such device*"])


def test_every_failure_text_of_a_test_with_a_device_begins_with_the_blame(run, pytester: pytest.Pytester) -> None:
    result = run(
        "@pytest.fixture\ndef broken(meter1):\n    raise OSError('no such file')\n"
        "@pytest.fixture\ndef leaves(meter1):\n    yield\n    raise KeyError('x')\n"
        "@pytest.fixture\ndef loses(meter1):\n    yield\n    raise BenchError('the port is gone')\n"
        "def test_setup(broken):\n    pass\n"
        "def test_teardown(leaves):\n    pass\n"
        "def test_both(leaves, loses):\n    pass\n"
        "def test_call(meter1):\n    1 / 0\n"
        "def test_fails(meter1):\n    pytest.fail('it is hot')\n"
        "def test_group(meter1):\n"
        "    raise ExceptionGroup('tasks', [ValueError('x'), DutError('it is silent'), BenchError('port')])\n",
        "--junitxml=junit.xml",
    )
    result.assert_outcomes(passed=2, failed=3, errors=3)
    cases = ElementTree.parse(pytester.path / "junit.xml").iter("testcase")
    said = {
        f"{case.get('name')} {kind}": (found.text or "").partition("\n")[0]
        for case in cases
        for kind in ("failure", "error")
        for found in case.iter(kind)
    }
    assert said == {
        "test_setup error": "USAGE: a fixture (setup of the test) raised OSError: no such file",
        "test_teardown error": "USAGE: a fixture (teardown of the test) raised KeyError: 'x'",
        "test_both error": "USAGE: a fixture (teardown of the test) raised KeyError: 'x'",
        "test_call failure": "USAGE: the test raised ZeroDivisionError: division by zero",
        "test_fails failure": "DUT: it is hot",
        "test_group failure": "DUT: it is silent",
    }
    result.stdout.fnmatch_lines(["DUT: it is silent", "  and: ValueError: x", "  and: BENCH: port"])


@pytest.mark.parametrize("end", ["pytest.exit('enough', returncode=0)", "raise KeyboardInterrupt"])
def test_the_end_of_the_run_hides_no_measurement_that_failed(run, end: str) -> None:
    result = run(
        "from fieldrig import Span\n"
        f"def test_it(meter1, measure):\n    measure('latency', Span(750_000_000), max='500ms')\n    {end}\n"
        "def test_later(meter1):\n    pass\n"
    )
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    result.stdout.fnmatch_lines(["fieldrig *: 1 fail, 1 not run", "*test_it: DUT: measurements failed: latency"])


def test_what_x_left_out_is_not_run(run) -> None:
    result = run("def test_a(meter1):\n    raise DutError('no')\n@pytest.mark.parametrize('n', range(3))\n"
                 "def test_b(meter1, n):\n    pass\n", "-x")  # fmt: skip
    result.stdout.fnmatch_lines(["fieldrig *: 1 fail, 3 not run"])


def test_collecting_only_judges_nothing(run) -> None:
    result = run("@pytest.mark.each_dut(tag='meter')\ndef test_it(dut):\n    pass\n", "--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_it[[]meter1]", "*test_it[[]meter2]"])
    result.stdout.no_fnmatch_line("*not run*")
