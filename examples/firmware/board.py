"""What the board does, said in fieldrig's words: the profile `emulated` of its bench.

The map also tells the client of the real board where its points are.
"""

from typing import ClassVar

from fieldrig.model import Model, Point


class Board(Model):
    """The board of this folder."""

    points: ClassVar = {
        "setpoint": Point("float", unit="degC", initial=20.0, range=(-40.0, 125.0), access="read-write"),
        "mode": Point("int", range=(0, 3), access="read-write"),
        "boots": Point("int"),
        "version": Point("int", initial=0x0100),
    }
    faces: ClassVar = {
        "modbus": {
            "map": {
                "setpoint": {"table": "holding", "address": 0, "type": "i16", "scale": 0.1},
                "mode": {"table": "holding", "address": 1},
                "boots": {"table": "input", "address": 0},
                "version": {"table": "input", "address": 1},
            },
            "holding": {"2": [0] * 14},
            "functions": [3, 4, 6, 8, 16],
        }
    }
    boot = "20ms"

    noinit: ClassVar[dict[str, int]] = {}
    """What survives a reset: the resets of each board."""

    async def run(self) -> None:
        """Counts the reset, and says who it is."""
        boots = self.noinit[self.device] = self.noinit.get(self.device, 0) + 1
        self.set("boots", boots)
        for line in (f"fieldrig-fw 1.0 boot {boots}", "modbus: unit 17, 9600 8N1", "ready"):
            self.console.line(line)

    def on_line(self, link, line):
        """A line on the console."""
        answers = {"ver": "fw 1.0", "boots": f"boots {self.get('boots')}"}
        link.line(answers.get(line, f"unknown command: {line}"))
