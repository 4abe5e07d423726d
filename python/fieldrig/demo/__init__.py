"""The demo: an emulated meter run through a pytest suite, and a foreign Modbus server judged by the conformance suite.

The bench, the model and the suite lie beside this file; they are what a first bench and a first suite of one's own look
like. ``pytest --bench builtin`` uses the same bench.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError

FOLDER = Path(__file__).parent
SUITE = FOLDER / "test_meter.py"


def builtin_bench(name: str = "builtin") -> Path:
    """The bench file of the built-in bench.

    Raises:
        UsageError: there is no built-in bench of that name.
    """
    benches = {"builtin": FOLDER / "bench.toml", "builtin:gateway": FOLDER / "gateway" / "bench.toml"}
    if name not in benches:
        raise UsageError(f"there is no built-in bench {name!r}", hint=f"there are: {', '.join(benches)}")
    return benches[name]
