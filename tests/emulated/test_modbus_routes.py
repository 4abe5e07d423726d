"""One body, every route: the client against the emulated device on TCP, on a pty, and as RTU frames on TCP."""

from __future__ import annotations

import pytest

from fieldrig import Rig, modbus


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "rtu+tcp://127.0.0.1:0", "pty://?line=115200+8E1"])
def test_every_function_on_every_route(url: str) -> None:
    tables = {"holding": {0: [1, 2, 3]}, "input": {5: [9]}, "coils": {0: [1, 0, 1]}, "discrete": {7: [1]}}
    with (
        Rig(trace="counts") as rig,
        modbus.Device(url, unit=3, rig=rig, **tables) as device,  # type: ignore[arg-type]
        modbus.Client(device.url, unit=3, timeout="5s", rig=rig) as client,
    ):
        assert client.read_holding(0, 3).values == (1, 2, 3)
        assert client.read_input(5).values == (9,)
        assert client.read_coils(0, 3).values == (True, False, True)
        assert client.read_discrete_inputs(7).values == (True,)
        client.write_coil(1, True)
        client.write_register(0, 10)
        client.write_coils(0, [False, True])
        client.write_registers(1, [20, 30])
        client.mask_write(0, and_mask=0x00F0, or_mask=0x0005)
        assert client.read_write_registers(0, 2, 2, [31]).values == (0x0005, 20)
        assert device.get("holding", 0, 3) == (0x0005, 20, 31)
        assert device.get("coils", 0, 3) == (0, 1, 1)
        answer = client.raw_pdu(b"\x03\x00\x02\x00\x01")
        assert answer.pdu == b"\x03\x02\x00\x1f"
        assert 0 < answer.latency.latest < 5


def test_a_change_of_the_device_is_stamped_on_the_same_clock() -> None:
    with Rig(trace="counts") as rig, modbus.Device(holding={0: [1]}, rig=rig) as device:
        with modbus.Client(device.url, rig=rig) as client:
            before = client.read_holding(0)
            change = device.set("holding", 0, [2])
            after = client.read_holding(0)
        assert (before.values, change.value, after.values) == ((1,), (2,), (2,))
        assert before.done.order(change) == "before"
        assert change.until(after).earliest >= 0
