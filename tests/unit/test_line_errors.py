"""Line errors that the driver of a port counted: in reports, and against accusations over a bad line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fieldrig.pytest_plugin import lines

pytest_plugins = ["pytester"]

CONFTEST = """
import pytest
from types import SimpleNamespace
from fieldrig import _core
from fieldrig.pytest_plugin import lines

grown = {"framing": 0}

def counted(opened):
    found = dict.fromkeys(lines.KINDS, 0) | {"port": "/dev/ttyX", "unknown": None, "framing": grown["framing"]}
    return {"/dev/ttyX": SimpleNamespace(**found)}

lines.counted = counted

@pytest.fixture
def disturb():
    grown["framing"] += 2
"""
BENCH = """
[bench]
name = "lines"
[link.console]
protocol = "console"
line = "9600 8N1"
[dut.meter]
model = "meter.toml"
links = { console = "devices" }
"""
MODEL = """
[model]
name = "meter"
[points]
voltage = { kind = "float" }
[face.console]
"""


def count(**grown: int) -> SimpleNamespace:
    return SimpleNamespace(**(dict.fromkeys(lines.KINDS, 0) | {"unknown": None} | grown))


def test_only_what_has_grown_is_told() -> None:
    before = {"/dev/ttyS1": count(parity=3, breaks=1)}
    assert lines.grown(before, before) == {}
    now = {"/dev/ttyS1": count(parity=4, breaks=3), "/dev/ttyS2": count(overrun=1), "/dev/ttyS3": count()}
    assert lines.grown(before, now) == {"/dev/ttyS1": "1 parity error, 2 breaks", "/dev/ttyS2": "1 overrun"}


def test_a_port_that_does_not_count_is_not_called_clean() -> None:
    silent = SimpleNamespace(
        port="/dev/pts/3", unknown="Inappropriate ioctl for device", **dict.fromkeys(lines.KINDS, 0)
    )
    other = SimpleNamespace(**{**vars(silent), "port": "/dev/pts/4"})
    third = SimpleNamespace(**{**vars(silent), "port": "/dev/ttyUSB0", "unknown": "Input/output error"})
    opened = SimpleNamespace(rig=SimpleNamespace(line_counts=lambda: (silent, other, third)))
    assert lines.grown({}, {"/dev/pts/3": silent}) == {}
    assert lines.summary(opened) == (
        "/dev/pts/3, /dev/pts/4: not counted (the driver counts no errors); "
        "/dev/ttyUSB0: not counted (Input/output error)"
    )
    assert lines.summary(SimpleNamespace(rig=SimpleNamespace(line_counts=tuple))) == ""


@pytest.mark.parametrize("of_device", [False, True])
def test_a_fail_over_a_bad_line_of_the_bench_is_inconclusive(pytester: pytest.Pytester, of_device: bool) -> None:
    pytester.makefile(".toml", bench=BENCH, meter=MODEL)
    own = "\nfrom fieldrig.bench import Bench\nBench.is_of_device = lambda self, port: True\n" if of_device else ""
    pytester.makeconftest(CONFTEST + own)
    pytester.makepyfile(
        "def test_clean(meter):\n    assert not 'clean'\n"
        "def test_bad(meter, disturb):\n    assert not 'bad'\n"
        "def test_passes(meter, disturb):\n    pass\n"
        "def test_again(meter):\n    assert not 'again'\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--junit-xml", "junit.xml")
    doubted = "*INCONCLUSIVE: the line had errors during the test*: /dev/ttyX: 2 framing errors"
    if of_device:
        result.stdout.fnmatch_lines(["*meter=emulated: 3 fail, 1 pass"])
        result.stdout.no_fnmatch_line(doubted)
    else:
        result.stdout.fnmatch_lines(
            [doubted, "*then: assert not 'bad'*", "*meter=emulated: 2 fail, 1 inconclusive, 1 pass"]
        )
    junit = (pytester.path / "junit.xml").read_text()
    assert junit.count('name="line_errors" value="/dev/ttyX: 2 framing errors"') == 2, "also of the test that passed"
