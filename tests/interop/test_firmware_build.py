"""The firmware of examples/firmware: what is checked in is what its sources give, to the bit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import needs

FIRMWARE = Path(__file__).parents[2] / "examples" / "firmware"


def test_the_firmware_that_is_checked_in_is_what_its_sources_give(tmp_path: Path) -> None:
    needs.program("arm-none-eabi-gcc", "gcc-arm-none-eabi")
    make = [needs.program("make"), "--always-make", "--silent", f"OUT={tmp_path}"]
    built = subprocess.run(make, cwd=FIRMWARE, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for name in ("firmware.hex", "firmware.symbols"):
        assert (tmp_path / name).read_bytes() == (FIRMWARE / name).read_bytes(), f"{name} is not what `make` gives"
