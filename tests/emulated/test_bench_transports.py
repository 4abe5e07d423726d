"""The transports of Modbus as links of a bench: what the file says is what is spoken, on both clocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fieldrig import modbus
from fieldrig.bench import BenchPlan

METER = """
[model]
name = "meter"
[points.voltage]
kind = "int"
[face.link.map]
voltage = { table = "holding", address = 7 }
"""
LINKS = {"modbus-udp": "", "modbus-tcp": "", "modbus-rtu": 'line = "9600 8E1"', "modbus-ascii": 'line = "9600 7E1"'}


@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("protocol", LINKS)
def test_an_emulated_device_speaks_what_its_link_does(tmp_path: Path, protocol: str, clock: str) -> None:
    (tmp_path / "meter.toml").write_text(METER)
    (tmp_path / "bench.toml").write_text(
        f'[bench]\nname = "one"\nclock = "{clock}"\n[link.link]\nprotocol = "{protocol}"\n{LINKS[protocol]}\n'
        '[dut.meter]\nmodel = "meter.toml"\nunit = 1\nlinks = { link = {} }\n'
    )
    with BenchPlan.load(tmp_path / "bench.toml").open(out=tmp_path / "out") as bench:
        meter = bench.device("meter")
        meter.set("voltage", 230)
        answer = meter.link.read("voltage")
        assert answer.value == 230
        url = bench._running.resolve("meter", "link").url
        if clock == "real":
            assert url.split("://")[0] == {"modbus-udp": "udp", "modbus-tcp": "tcp", "modbus-ascii": "ascii"}.get(
                protocol, "serial"
            )


@pytest.mark.parametrize(
    ("protocol", "device", "scheme"),
    [("modbus-rtu", "rtu+tcp", "tcp"), ("modbus-ascii", "ascii+rfc2217", "rfc2217"), ("modbus-udp", "udp", "udp")],
)
def test_a_real_port_is_spoken_to_as_its_link_says(tmp_path: Path, protocol: str, device: str, scheme: str) -> None:
    (tmp_path / "meter.toml").write_text(METER)
    with modbus.Device(f"{device}://127.0.0.1:0", holding={7: [231]}) as real:
        place = real.url.split("://")[1].split("?")[0]
        port = json.dumps(f"{scheme}://{place}")
        (tmp_path / "bench.toml").write_text(
            f'[bench]\nname = "one"\nprofile = "real"\n[link.link]\nprotocol = "{protocol}"\n{LINKS[protocol]}\n'
            f"real = {{ port = {port} }}\n"
            '[dut.meter]\nmodel = "meter.toml"\nunit = 1\nlinks = { link = {} }\n'
        )
        with BenchPlan.load(tmp_path / "bench.toml").open(out=tmp_path / "out") as bench:
            assert bench.device("meter").link.read("voltage").value == 231
