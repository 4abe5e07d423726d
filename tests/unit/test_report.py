"""The HTML report: complete, harmless, and alone in the world."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from fieldrig.measure import Measurement
from fieldrig.pytest_plugin.results import Results
from fieldrig.report import Chapter, Entry, chapter_of, known_value, limits, render, worst

LATENCY = Measurement("alarm_latency", 0.0112, 0.0129, "s", None, 0.5, "pass")
VOLTAGE = Measurement("voltage", 260.0, 260.0, "V", 207.0, 253.0, "fail")


def results() -> Results:
    found = Results(bench="demo", profiles={"meter": "emulated"}, files={"junit": "out/junit.xml"})
    good = found.case("tests/test_meter.py::test_alarm")
    good.worsen("pass", "", "")
    good.requirements, good.measurements = ["METER-ALARM"], [LATENCY]
    bad = found.case("tests/test_meter.py::test_voltage")
    bad.worsen("fail", "DUT", "DUT: measurements failed: voltage\n  voltage = 260 V (min 207 V, max 253 V): fail")
    bad.requirements, bad.measurements = ["METER-VOLTAGE", "METER-ALARM"], [VOLTAGE]
    found.case("tests/test_meter.py::test_later").not_run = "needs a relay"
    return found


class Checker(HTMLParser):
    """Notes tags that do not close where they should, scripts, and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def test_a_run_is_shown_with_profiles_measurements_limits_verdicts_and_requirements() -> None:
    page = read(render([chapter_of(results(), "meter", {"timing class": "C"})], "a run"))
    for part in (
        "meter = emulated",
        "timing class",
        "C: ordinary scheduling",
        "alarm_latency",
        "11.2 ms .. 12.9 ms",
        "max 500 ms",
    ):
        assert part in page.text
    for part in ("min 207 V, max 253 V", "METER-VOLTAGE", "needs a relay", "not run", "out/junit.xml"):
        assert part in page.text


def test_it_needs_nothing_from_elsewhere() -> None:
    html = render([chapter_of(results(), "meter")], "a run")
    page = read(html)
    assert page.scripts == 0
    assert page.addresses == ["#run1"]
    assert not re.search(r"https?://|@import|url\(", html)


def test_what_a_device_says_cannot_become_html() -> None:
    entry = Entry("<script>alert(1)</script>", "fail", "<img src=x>", "<b>")
    page = read(render([Chapter("</style><script>", {"x": "<y>"}, [entry])], "<title>"))
    assert page.scripts == 0
    assert "<script>alert(1)</script>" in page.text and "<img src=x>" in page.text


def test_a_requirement_is_as_good_as_its_worst_test() -> None:
    chapter = chapter_of(results(), "meter")
    coverage = {name: worst(entry.verdict for entry in entries) for name, entries in chapter.coverage().items()}
    assert coverage == {"METER-ALARM": "fail", "METER-VOLTAGE": "fail"}
    assert chapter.counts() == {"fail": 1, "not run": 1, "pass": 1}


def test_rows_of_a_suite_are_counted_by_section() -> None:
    rows = [("MBAP-01", "pass"), ("MBAP-02", "fail"), ("FC03-01", "pass"), ("FC03-02", "pass")]
    entries = [Entry(name, verdict, requirements=[name]) for name, verdict in rows]
    assert Chapter("server", entries=entries).sections() == {"MBAP": {"fail": 1, "pass": 1}, "FC03": {"pass": 2}}


@pytest.mark.parametrize(
    ("measurement", "value", "limit"),
    [(LATENCY, "11.2 ms .. 12.9 ms", "max 500 ms"), (VOLTAGE, "260 V", "min 207 V, max 253 V")],
)
def test_values_and_limits_are_written_for_people(measurement: Measurement, value: str, limit: str) -> None:
    assert (known_value(measurement), limits(measurement)) == (value, limit)


def test_details_are_open_while_they_are_few() -> None:
    few = [Entry(f"test_{number}", "fail", "DUT: wrong", "DUT: wrong\nmore") for number in range(10)]
    assert render([Chapter("run", entries=few)], "run").count("<details open>") == 10
    many = [*few, Entry("test_10", "fail", "DUT: wrong", "DUT: wrong\nmore")]
    assert render([Chapter("run", entries=many)], "run").count("<details>") == 11
