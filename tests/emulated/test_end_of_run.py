"""The end of a run: what is found there belongs to the run, and never to its last test."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from fieldrig import modbus

pytest_plugins = ["pytester"]

# The device of the built-in bench has no identity of its own: the life cycle says what it would have found.
CHANGES = """
from fieldrig.life.cycle import LifeCycle

def end_session(self):
    self.identity_changed = "meter: its firmware was `1.4` and is `1.5`"

LifeCycle.end_session = end_session
"""
UNSAFE = """
from fieldrig.errors import BenchError
from fieldrig.life.cycle import LifeCycle

def finish(self):
    raise BenchError("the safe state was not reached: meter (off): relay: contact welded")

LifeCycle.finish = finish
"""
TESTS = """
import pytest
from fieldrig import DutError
@pytest.mark.requirement("R-1")
def test_passes(meter): pass
def test_fails(meter): raise DutError("slow")
def test_without_device(): pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester):
    def go(conftest: str, *options: str, tests: str = TESTS) -> pytest.RunResult:
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_it=tests)
        (pytester.path / "r.csv").write_text("id,text\nR-1,one\n")
        fixed = ("-W", "error", "-p", "no:cacheprovider", "--bench", "builtin", "--fieldrig-requirements", "r.csv")
        return pytester.runpytest_subprocess(*fixed, *options)

    return go


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")])
def test_an_identity_that_changed_by_itself_makes_every_pass_inconclusive(run, workers: tuple[str, ...]) -> None:
    result = run(CHANGES, *workers)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "fieldrig *: 1 fail, 1 inconclusive, 1 pass",
            "requirements: 1 inconclusive",
            "RED: INCONCLUSIVE: meter: its firmware was `1.4` and is `1.5`",
        ]
    )


def test_an_identity_that_changed_makes_a_green_run_red(run, pytester: pytest.Pytester) -> None:
    tests = "def test_passes(meter): pass\n"
    result = run(CHANGES, "--junitxml=junit.xml", "--fieldrig-inconclusive=skip", "--fieldrig-out=out", tests=tests)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    suite = ElementTree.parse(pytester.path / "junit.xml").find(".//testsuite/properties")
    assert suite is not None
    assert "meter: its firmware was `1.4` and is `1.5`" in [one.get("value") for one in suite]
    log = [json.loads(line) for line in (pytester.path / "out" / "run.jsonl").read_text().splitlines()]
    assert [line for line in log if line.get("kind") == "run.inconclusive" and "is `1.5`" in str(line)]
    result.stdout.fnmatch_lines(["fieldrig *: 1 inconclusive"])


def test_a_safe_state_that_was_not_reached_makes_the_run_red_and_accuses_no_test(run) -> None:
    result = run(UNSAFE, tests="def test_passes(meter): pass\n")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["fieldrig *: 1 pass", "RED: BENCH: the safe state was not reached: *contact welded"])


def test_the_rest_of_the_tests_on_a_link_that_is_down_ends_at_once(run) -> None:
    tests = (
        "import pytest\n"
        "@pytest.fixture(scope='session', autouse=True)\ndef gone(bench):\n"
        "    bench.life.losses.take_down(bench.device('meter'), 'test_before', 'the adapter is gone')\n"
        "@pytest.mark.parametrize('n', range(3))\ndef test_it(meter, n):\n    meter.modbus.read('voltage')\n"
        "@pytest.mark.parametrize('n', range(3))\ndef test_plain(n):\n    pass\n"
    )
    result = run("", tests=tests)
    result.stdout.fnmatch_lines(["*BENCH: down since test_before: meter: the adapter is gone"])
    result.stdout.fnmatch_lines(["fieldrig *: 3 bench error, 3 pass"])


REAL = """
[bench]
name = "lab"
profile = "real"
[link.modbus]
protocol = "modbus-tcp"
real = {{ port = "{port}" }}
[dut.meter]
links = {{ modbus = "devices" }}
identity = {{ firmware = {{ command = "cat firmware.txt", match = '(\\S+)' }} }}
"""


@pytest.mark.parametrize(("command", "counted"), [("'1.5'", "1 inconclusive"), ("'1.4'", "1 pass")])
def test_a_real_device_that_is_another_at_the_end(pytester: pytest.Pytester, command: str, counted: str) -> None:
    (pytester.path / "firmware.txt").write_text("1.4")
    pytester.makepyfile(
        "import pathlib\ndef test_it(meter):\n    meter.modbus.read_holding(0)\n"
        f"    (pathlib.Path(__file__).parent / 'firmware.txt').write_text({command})\n"
    )
    with modbus.Device(holding={0: [230]}) as device:
        (pytester.path / "bench.toml").write_text(REAL.format(port=device.url))
        result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines([f"fieldrig *: bench lab, meter=real: {counted}"])
    assert result.ret == (pytest.ExitCode.OK if counted == "1 pass" else pytest.ExitCode.TESTS_FAILED)
