"""Several workers (pytest-xdist): who gets which bench, and that nothing a worker found is lost on the way."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fieldrig import modbus

pytest_plugins = ["pytester"]

MODEL = """
[model]
name = "any"
[points.voltage]
kind = "float"
initial = 230.0
[face.modbus.map]
voltage = { table = "holding", address = 0, type = "u16" }
"""

BENCH = """
[bench]
name = "{name}"
profile = "{profile}"
[link.modbus]
protocol = "modbus-tcp"
real = {{ port = "{port}" }}
[dut.{device}]
model = "any.toml"
links = {{ modbus = "devices" }}
tags = ["meter"]
"""

# Where each test ran is left in a file of its own: worker and bench.
WHERE = """
import os, pathlib
import pytest
from fieldrig import DutError, InconclusiveError

ROOT = pathlib.Path(__file__).parent / "ran"
ROOT.mkdir(exist_ok=True)

def ran(name, bench):
    worker = os.environ["PYTEST_XDIST_WORKER"]
    (ROOT / f"{name}-{worker}").write_text(f"{worker} {bench}")

"""
TESTS = """
@pytest.mark.parametrize('n', range(12))
def test_it(bench, meter, n):
    ran(f"it-{n}", bench.plan.name)
    assert meter.modbus.read('voltage').value == 230
"""


@pytest.fixture
def devices() -> Iterator[list[str]]:
    """Two real devices, as far as the workers know."""
    with ExitStack() as stack:
        yield [stack.enter_context(modbus.Device(holding={0: [230]})).url for _ in range(2)]


@pytest.fixture
def farm(pytester: pytest.Pytester):
    return Farm(pytester)


class Farm:
    """A folder with benches and tests."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        self.path = pytester.path
        (self.path / "any.toml").write_text(MODEL)
        (self.path / "pytest.ini").write_text("[pytest]\n")

    def bench(self, name: str, real: str = "", device: str = "meter") -> None:
        """A bench file: an emulated device, or a real one at an address."""
        port, profile = real or "tcp://127.0.0.1:9", "real" if real else "emulated"
        text = BENCH.format(name=name, profile=profile, port=port, device=device)
        (self.path / f"{name}.toml").write_text(text)

    def run(self, tests: str, *options: str) -> pytest.RunResult:
        self._pytester.makepyfile(test_it=WHERE + tests)
        return self._pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *options)

    def ran(self) -> dict[str, tuple[str, str]]:
        """Worker and bench of each test."""
        found = {}
        for path in (self.path / "ran").iterdir():
            worker, _, bench = path.read_text().partition(" ")
            found[path.name] = (worker, bench)
        return found

    def workers_of(self, bench: str) -> set[str]:
        return {worker for worker, on in self.ran().values() if on == bench}


def test_results_of_all_workers_are_in_one_summary(farm: Farm) -> None:
    farm.bench("one")
    (farm.path / "r.csv").write_text("id,text\nR-1,all\nR-2,none\n")
    (farm.path / "must.txt").write_text("R-1\ntest_it.py::test_it\ntest_it.py::test_unsure\n")
    more = (
        "def test_fails(meter, measure):\n    measure('speed', 1.0, unit='m/s', min=2)\n"
        "def test_unsure(meter):\n    raise InconclusiveError('who knows')\n"
        "@pytest.mark.needs('link:uart')\ndef test_uart(meter):\n    pass\n"
    )
    tests = "@pytest.mark.requirement('R-1')" + TESTS + more
    gates = ("--fieldrig-requirements", "r.csv", "--fieldrig-require", "must.txt")
    result = farm.run(tests, "--bench", "one.toml", "-n", "3", "--fieldrig-out", "out", *gates)
    result.assert_outcomes(passed=12, failed=2, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "fieldrig *: bench one, meter=emulated: 1 fail, 1 inconclusive, 12 pass, 1 not run",
            "requirements: 1 passed, 1 untested",
            "RED: required, but not judged: test_it.py::test_unsure (inconclusive)",
        ]
    )
    page = (farm.path / "out" / "report.html").read_text()
    assert "speed" in page and "1 m/s" in page
    rows = json.loads((farm.path / "out" / "requirements.json").read_text())["requirements"]
    assert len(rows[0]["tests"]) == 12


def test_each_worker_writes_its_own_folder(farm: Farm) -> None:
    farm.bench("one")
    farm.run(TESTS, "--bench", "one.toml", "-n", "2", "--fieldrig-out", "out", "--junitxml=junit.xml")
    logs = {path.parent.name: path.read_text() for path in (farm.path / "out").glob("*/run.jsonl")}
    assert set(logs) == {"gw0", "gw1"}
    cases = ElementTree.parse(farm.path / "junit.xml").iter("testcase")
    assert [case.find(".//property[@name='profile.meter']") is not None for case in cases] == [True] * 12
    verdicts = [text.count('"test.verdict"') for text in logs.values()]
    assert sum(verdicts) == 12


def test_two_emulated_benches_are_dealt_to_four_workers(farm: Farm) -> None:
    farm.bench("one")
    farm.bench("two")
    result = farm.run(TESTS, "--bench", "one.toml", "--bench", "two.toml", "-n", "4", "--maxschedchunk=1")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["fieldrig *: bench one, meter=emulated", "fieldrig *: bench two, meter=emulated"])
    assert farm.workers_of("one") <= {"gw0", "gw2"} and farm.workers_of("two") <= {"gw1", "gw3"}
    assert farm.workers_of("one") and farm.workers_of("two")


def test_each_real_bench_has_a_worker_of_its_own(farm: Farm, devices: list[str]) -> None:
    farm.bench("one", devices[0])
    farm.bench("two", devices[1])
    result = farm.run(TESTS, "--bench", "one.toml", "--bench", "two.toml", "-n", "2")
    result.assert_outcomes(passed=12)
    assert (farm.workers_of("one"), farm.workers_of("two")) == ({"gw0"}, {"gw1"})


def test_a_real_bench_among_emulated_ones_keeps_one_worker(farm: Farm, devices: list[str]) -> None:
    farm.bench("one", devices[0])
    farm.bench("two")
    result = farm.run(TESTS, "--bench", "one.toml", "--bench", "two.toml", "-n", "4", "--maxschedchunk=1")
    result.assert_outcomes(passed=12)
    assert farm.workers_of("one") <= {"gw0"}


def test_all_tests_of_one_real_bench_go_to_one_worker(farm: Farm, devices: list[str]) -> None:
    farm.bench("one", devices[0])
    dynamic = "def test_dynamic(request):\n    ran('dynamic', request.getfixturevalue('bench').plan.name)\n"
    plain = "@pytest.mark.parametrize('n', range(12))\ndef test_plain(n):\n    ran(f'plain-{n}', 'none')\n"
    result = farm.run(TESTS + dynamic + plain, "--bench", "one.toml", "-n", "3", "--dist", "loadgroup")
    result.assert_outcomes(passed=25)
    result.stdout.fnmatch_lines(["fieldrig *: bench one, meter=real: 25 pass"])
    # What does not use the bench is spread.
    assert len(farm.workers_of("one")) == 1 and len(farm.workers_of("none")) > 1


@pytest.mark.parametrize(
    ("benches", "options", "message"),
    [
        (1, "-n 3", "3 workers cannot share the real devices of the bench bench0: use --dist loadgroup*-n 1*--bench*"),
        (1, "-n 2 --dist each", "2 workers cannot share the real devices of the bench bench0: use --dist loadgroup*"),
        (2, "-n 3", "3 workers cannot share 2 benches of real devices; use -n 2"),
        (2, "-n 1", "2 benches for 1 workers: each bench needs one; use -n 2"),
        (2, "", "2 benches need as many workers: pytest-xdist with -n 2"),
    ],
)
def test_workers_that_cannot_share_their_benches_are_a_usage_error(
    farm: Farm, devices: list[str], benches: int, options: str, message: str
) -> None:
    named: list[str] = []
    for number in range(benches):
        farm.bench(f"bench{number}", devices[number])
        named += ["--bench", f"bench{number}.toml"]
    result = farm.run(TESTS, *named, *options.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])
    assert not (farm.path / "ran").exists()


def test_benches_with_other_devices_cannot_share_tests_but_can_run_all_of_them(farm: Farm) -> None:
    farm.bench("one")
    farm.bench("two", device="pump")
    both = ("--bench", "one.toml", "--bench", "two.toml", "-n", "2")
    tests = "@pytest.mark.each_dut(tag='meter')\ndef test_it(dut):\n    assert dut.name == 'meter'\n"
    refused = farm.run(tests, *both)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["ERROR: the benches one and two do not have the same devices*--dist each*"])
    result = farm.run(tests, *both, "--dist", "each")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["verdicts: 1 fail, 1 pass"])


def test_a_worker_that_dies_is_the_benchs_error_and_its_bench_is_dealt_again(farm: Farm) -> None:
    farm.bench("one")
    dies = "def test_dies(meter):\n    import os\n    os.kill(os.getpid(), 9)\n"
    later = "@pytest.mark.parametrize('n', range(3))\ndef test_later(meter, n):\n    pass\n"
    fails = "def test_fails(meter):\n    raise DutError('too slow')\n"
    result = farm.run(fails + dies + later, "--bench", "one.toml", "-n", "1")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["fieldrig *: 1 fail, 1 bench error, 3 pass"])


def test_a_group_of_the_test_itself_does_not_take_it_to_another_worker(farm: Farm, devices: list[str]) -> None:
    farm.bench("one", devices[0])
    mine = "@pytest.mark.xdist_group('mine')" + TESTS.replace("test_it", "test_mine").replace("it-", "mine-")
    result = farm.run(TESTS + mine, "--bench", "one.toml", "-n", "2", "--dist", "loadgroup")
    result.assert_outcomes(passed=24)
    assert len(farm.workers_of("one")) == 1


def test_the_first_fail_ends_all_workers_and_the_rest_is_not_run(farm: Farm) -> None:
    farm.bench("one")
    tests = "@pytest.mark.parametrize('n', range(40))\ndef test_it(meter, n):\n    raise DutError('no')\n"
    result = farm.run(tests, "--bench", "one.toml", "-n", "2", "-x")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["fieldrig *: * fail, * not run"])


def test_client_ids_differ_between_workers(farm: Farm) -> None:
    farm.bench("one")
    tests = (
        "@pytest.mark.parametrize('n', range(4))\ndef test_it(bench, n, request, worker_id):\n"
        "    from fieldrig import mqtt\n"
        "    with mqtt.Broker() as broker, mqtt.Client(broker.url) as client:\n"
        "        (request.config.rootpath / f'id-{worker_id}').write_text(client.client_id)\n"
    )
    farm.run(tests, "--bench", "one.toml", "-n", "2").assert_outcomes(passed=4)
    ids = [path.read_text() for path in Path(farm.path).glob("id-*")]
    assert len(ids) == 2 and len(set(ids)) == 2


def test_a_test_in_which_a_worker_died_is_run_again_and_the_lost_attempt_is_listed(farm: Farm) -> None:
    farm.bench("one")
    tests = (
        "def test_it(meter):\n    mark = ROOT / 'died'\n    first = not mark.exists()\n    mark.touch()\n"
        "    if first:\n        os.kill(os.getpid(), 9)\n"
        "    mark = ROOT / 'failed'\n    first = not mark.exists()\n    mark.touch()\n"
        "    if first:\n        raise DutError('slow')\n"
    )
    result = farm.run(tests, "--bench", "one.toml", "-n", "1", "--reruns", "2")
    result.assert_outcomes(passed=1)
    attempts = "attempts: inconclusive, fail, pass"
    result.stdout.fnmatch_lines(["fieldrig *: 1 pass", f"run again: test_it.py::test_it: {attempts}"])


def test_a_second_run_on_a_real_bench_is_told_who_has_it(farm: Farm, devices: list[str]) -> None:
    farm.bench("one", devices[0])
    (farm.path / "second.py").write_text("def test_second(meter):\n    pass\n")
    tests = (
        "def test_first(meter):\n    import subprocess, sys\n"
        "    run = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', 'second.py', '--bench', 'one.toml']\n"
        "    print(subprocess.run(run, cwd=ROOT.parent, capture_output=True, text=True).stdout)\n"
    )
    result = farm.run(tests, "--bench", "one.toml", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["BENCH: *: the wire is held by * for one, *", "fieldrig *: 1 bench error"])


def test_tests_without_a_bench_are_spread_as_ever(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n    pass\n")
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert not (pytester.path / "fieldrig-runs").exists()
