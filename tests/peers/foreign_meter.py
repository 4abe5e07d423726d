"""A meter that contains no fieldrig code: pymodbus on a pty, paho, and a console on another pty.

Run as a process: ``python foreign_meter.py FOLDER BROKER_HOST BROKER_PORT BASE``. It makes the links ``FOLDER/modbus``
and ``FOLDER/console`` to its ptys and writes ``FOLDER/pid`` when it runs. SIGUSR1 takes its power, SIGUSR2 gives it
back (it boots), SIGTERM ends it.

Points: holding register 0 = setpoint (0.1 degC), input register 0 = voltage (0.1 V).
Alarm: setpoint above 80.0 degC publishes ``BASE/alarm`` with QoS 1, once per crossing.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import termios
import tty
from pathlib import Path

import paho.mqtt.client as paho
from pymodbus.framer import FramerType
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

BOOT_SECONDS = 0.05


def open_pty(link: Path | None) -> tuple[int, str]:
    """A raw pty: its master, and the name of its other end, under a link if one is wanted."""
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    if link is not None:
        link.unlink(missing_ok=True)
        link.symlink_to(name)
    os.set_blocking(master, False)
    # The other end stays open here, so that the line never hangs up: a wire.
    return master, name


def raw_copy(source: int, sink: int) -> None:
    """Carries what there is from one pty to the other."""
    try:
        data = os.read(source, 4096)
    except (BlockingIOError, OSError):
        return
    if data:
        os.write(sink, data)


class Meter:
    """The device: three protocol stacks of other people around a handful of values."""

    def __init__(self, folder: Path, host: str, port: int, base: str) -> None:
        self.base = base
        self.powered = False
        self.hot = False
        self.loop = asyncio.get_running_loop()
        outer, _ = open_pty(folder / "modbus")
        inner, self.modbus_name = open_pty(None)
        self.loop.add_reader(outer, self.request_bytes, outer, inner)
        self.loop.add_reader(inner, raw_copy, inner, outer)
        self.console, _ = open_pty(folder / "console")
        self.loop.add_reader(self.console, self.console_input)
        self.line = b""
        self.mqtt = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"meter-{os.getpid()}")
        self.address = (host, port)

    def request_bytes(self, outer: int, inner: int) -> None:
        """Requests reach the Modbus stack only while there is power."""
        if self.powered:
            raw_copy(outer, inner)
        else:
            termios.tcflush(outer, termios.TCIFLUSH)
            try:
                os.read(outer, 4096)
            except OSError:
                return

    def console_input(self) -> None:
        """One command per line."""
        try:
            self.line += os.read(self.console, 4096)
        except OSError:
            return
        while b"\n" in self.line:
            command, self.line = self.line.split(b"\n", 1)
            if self.powered and command.strip() == b"ver":
                self.say("fw 1.4")

    def say(self, text: str) -> None:
        """A line on the console."""
        os.write(self.console, text.encode() + b"\r\n")

    async def action(self, function_code, start, address, count, registers, values):  # type: ignore[no-untyped-def]
        """pymodbus calls this for each access to a register."""
        if function_code in (6, 16) and values and address == 0:
            hot = values[0] > 800
            if hot and not self.hot:
                body = json.dumps({"code": "OVERTEMP", "setpoint": values[0] / 10})
                self.mqtt.publish(f"{self.base}/alarm", body, qos=1)
            self.hot = hot

    def power_on(self) -> None:
        """Boots, then runs."""
        if not self.powered:
            self.say("boot: starting")
            self.loop.call_later(BOOT_SECONDS, self.run)

    def run(self) -> None:
        """The device is up."""
        self.powered = True
        self.hot = False
        self.mqtt.connect(*self.address, keepalive=20)
        self.mqtt.loop_start()
        self.say("boot ok v1.4")

    def power_off(self) -> None:
        """Everything falls silent at once."""
        if self.powered:
            self.powered = False
            self.mqtt.disconnect()
            self.mqtt.loop_stop()


async def main(folder: Path, host: str, port: int, base: str) -> None:
    """Runs until SIGTERM."""
    meter = Meter(folder, host, port, base)
    holding = [SimData(0, count=8, values=200, datatype=DataType.REGISTERS)]
    inputs = [SimData(0, count=8, values=2300, datatype=DataType.REGISTERS)]
    bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    device = SimDevice(1, simdata=(bits, bits, holding, inputs), action=meter.action)
    server = ModbusSerialServer(device, framer=FramerType.RTU, port=meter.modbus_name, baudrate=9600)
    await server.serve_forever(background=True)
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGUSR1, meter.power_off)
    loop.add_signal_handler(signal.SIGUSR2, meter.power_on)
    meter.run()
    (folder / "pid").write_text(str(os.getpid()))
    print("ready", flush=True)
    await over.wait()
    meter.power_off()
    await server.shutdown()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]))
