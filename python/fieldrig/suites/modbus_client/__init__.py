"""Conformance of Modbus clients: `fieldrig conform modbus-client --driver COMMAND`; see README.md."""

from .capabilities import Capabilities
from .client import Timing
from .run import judge_all

__all__ = ["Capabilities", "Timing", "judge_all"]
