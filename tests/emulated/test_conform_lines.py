"""`fieldrig conform modbus-server` on serial lines, and what it prints of a row that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fieldrig import cli, modbus

QUICK = ["--timeout", "1500ms", "--silence", "60ms"]


def conform(*arguments: str) -> int:
    """The command line, in this process."""
    return cli.main(["conform", "modbus-server", *arguments])


def rows(text: str) -> dict[str, dict[str, Any]]:
    """The JSON lines of rows, by id."""
    found = [json.loads(line) for line in text.splitlines()]
    return {record["id"]: record for record in found if record["kind"] == "row"}


@pytest.mark.parametrize(
    ("url", "only", "not_run"),
    [
        ("pty://?line=19200+8E1", ("RTU-01", "RTU-08", "RTU-11", "RTU-16", "RTU-17"), {"RTU-16", "RTU-17"}),
        ("ascii+pty://?line=9600+7E1", ("ASC-01", "ASC-02", "ASC-12"), set()),
        ("rtu+tcp://127.0.0.1:0", ("RTU-01", "RTU-28"), set()),
        ("rtu+rfc2217://127.0.0.1:0?line=19200+8E1", ("RTU-01", "RTU-02", "RTU-17"), {"RTU-17"}),
        ("ascii+rfc2217://127.0.0.1:0?line=9600+7E1", ("ASC-01",), set()),
        ("rtu+unix://{folder}/device", ("RTU-01", "RTU-28"), set()),
    ],
)
def test_our_device_passes_on_lines(
    url: str, only: tuple[str, ...], not_run: set[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with modbus.Device(url.format(folder=tmp_path), holding={0: list(range(200))}) as device:
        chosen = [word for name in only for word in ("--only", name)]
        code = conform(device.url, *QUICK, *chosen, "--format", "json")
    said = capfd.readouterr()
    judged = rows(said.out)
    assert set(judged) == set(only), said.err
    verdicts = {name: row["verdict"] for name, row in judged.items()}
    assert verdicts == {name: "not run" if name in not_run else "pass" for name in only}, said.out
    assert code == 0


def test_a_row_that_a_port_cannot_decide_says_so_and_what_would_help(capfd: pytest.CaptureFixture[str]) -> None:
    with modbus.Device("pty://?line=19200+8E1", holding={0: [1, 2, 3]}) as device:
        code = conform(device.url, *QUICK, "--only", "RTU-17")
    shown = capfd.readouterr().out
    assert code == 5, "nothing was judged"
    assert "carrier: rtu; a character takes 0.573 ms, t3.5 is 2.005 ms" in shown
    assert "this port tells instants that are 40 ms apart" in shown
    assert "declared: nothing (see --caps)" in shown
    assert "RTU-17   not run" in shown
    assert "it must tell t1.5 (0.859 ms)" in shown and "--resolution" in shown


def test_a_row_that_fails_shows_stimulus_and_answer_byte_by_byte(capfd: pytest.CaptureFixture[str]) -> None:
    with modbus.Device("rtu+tcp://127.0.0.1:0", holding={0: list(range(20))}) as device:
        device.habit("accept_quantity_zero", True)
        code = conform(device.url, *QUICK, "--only", "FC03-02")
    shown = capfd.readouterr().out
    assert code == 1
    assert "FC03-02  fail" in shown
    stimulus, answer = shown.index(">      0  01"), shown.index("<      0  01")
    for text in ("unit id: 1", "03 Read Holding Registers", "quantity: 0", "CRC: 0x"):
        assert text in shown[stimulus:answer], text
    for text in ("unit id: 1", "byte count: 0", "CRC: 0x"):
        assert text in shown[answer:], text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("rtu:///dev/ttyUSB0?line=often",), "write it like"),
        (("rtuu:///dev/ttyUSB0?line=9600+8E1",), "there is no scheme `rtuu`"),
        (("tcp://127.0.0.1:502", "--load", "0"), "--load is 0; it is a number above 0"),
        (("rtu:///dev/none?line=9600+8E1", "--resolution", "5"), "the unit is missing"),
    ],
)
def test_a_wrong_line_is_told_with_a_remedy(
    arguments: tuple[str, ...], complaint: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert conform(*arguments) == 2
    assert complaint in capfd.readouterr().err


def test_a_port_that_is_not_there_is_the_fault_of_the_bench(capfd: pytest.CaptureFixture[str]) -> None:
    assert conform("rtu:///dev/none?line=9600+8E1") == 3
    assert "/dev/none" in capfd.readouterr().err
