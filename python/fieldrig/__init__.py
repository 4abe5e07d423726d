"""fieldrig: hardware-in-the-loop tests for M2M and IoT devices.

Importing the package loads nothing but this file; the native core is loaded with the first name that needs it::

    from fieldrig import modbus

    with modbus.Device(holding={0: [230, 231]}) as meter, modbus.Client(meter.url) as client:
        assert client.read_holding(0, 2).values == (230, 231)
"""

from __future__ import annotations

import importlib

# Type checkers know this name; importing it from `typing` would be most of what `import fieldrig` costs.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fieldrig import bench, device, endpoint, errors, modbus, mqtt, protocol, serial, stimulus, stream, timing
    from fieldrig._core import Rig, Span, Stamp, duration
    from fieldrig.bench import Bench, BenchPlan
    from fieldrig.errors import BenchError, DutError, FieldrigError, InconclusiveError, UsageError
    from fieldrig.expect import near

__version__ = "0.1.0"

__all__ = [
    "Bench",
    "BenchError",
    "BenchPlan",
    "DutError",
    "FieldrigError",
    "InconclusiveError",
    "Rig",
    "Span",
    "Stamp",
    "UsageError",
    "__version__",
    "bench",
    "device",
    "duration",
    "endpoint",
    "errors",
    "modbus",
    "mqtt",
    "near",
    "protocol",
    "serial",
    "stimulus",
    "stream",
    "timing",
]

_MODULES = frozenset(
    {
        "bench",
        "device",
        "endpoint",
        "errors",
        "expect",
        "modbus",
        "mqtt",
        "protocol",
        "serial",
        "stimulus",
        "stream",
        "timing",
    }
)
_HOMES = {
    "Rig": "fieldrig._core",
    "Span": "fieldrig._core",
    "Stamp": "fieldrig._core",
    "duration": "fieldrig._core",
    "Bench": "fieldrig.bench",
    "BenchPlan": "fieldrig.bench",
    "near": "fieldrig.expect",
    "BenchError": "fieldrig.errors",
    "DutError": "fieldrig.errors",
    "FieldrigError": "fieldrig.errors",
    "InconclusiveError": "fieldrig.errors",
    "UsageError": "fieldrig.errors",
}


def __getattr__(name: str) -> object:
    """Loads a submodule or a name of the core when it is first asked for."""
    if name in _MODULES:
        return importlib.import_module(f"fieldrig.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fieldrig' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
