"""Bench files: read, resolved, brought up. `fieldrig.bench` is what tests use."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from fieldrig._core import Rig, Span, Stamp
from fieldrig._core.device import Device
from fieldrig._core.protocol import Protocol

__all__ = [
    "DeviceLink",
    "Dut",
    "Link",
    "LinkEnd",
    "Plan",
    "Resolved",
    "Running",
    "bring_up",
    "load",
    "schema",
    "survey",
]

_WireFault: TypeAlias = Literal[
    "drop", "corrupt", "bits", "duplicate", "delay", "jitter",
    "parity", "framing", "overrun", "break", "cut", "short",
]  # fmt: skip

@final
class Plan:
    """A bench file under chosen profiles."""

    @property
    def name(self) -> str: ...
    @property
    def clock(self) -> Literal["real", "virtual"]:
        """The clock of the rig on which it is to be brought up."""
    @property
    def lock_wait(self) -> str:
        """How long to wait for a real port that another run holds: a duration with its unit."""
    @property
    def waivers(self) -> Path | None:
        """The file of waivers; it exists."""
    @property
    def requirements(self) -> Path | None:
        """The file of the user's own requirements; it exists."""
    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that no artefact may show."""
    @property
    def real_ports(self) -> tuple[str, ...]:
        """Every real port that the bench uses, each once: URLs."""
    @property
    def links(self) -> tuple[Link, ...]:
        """The links that any device may use, in the order of the file."""
    @property
    def duts(self) -> tuple[Dut, ...]:
        """The devices that are judged."""
    @property
    def peers(self) -> tuple[Dut, ...]:
        """The devices that are needed, but not judged."""

@final
class Link:
    """A link of the bench."""

    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def role(self) -> Literal["client", "devices", "listen", "proxy"]:
        """What fieldrig is on it."""
    @property
    def real(self) -> bool:
        """A real device is on it."""
    @property
    def wire(self) -> bool:
        """It has a speed and a format."""
    @property
    def line(self) -> str | None:
        """Speed and format, if it is a wire."""
    @property
    def base(self) -> str:
        """What stands for `{base}`; empty if the bench file does not say."""
    @property
    def lock(self) -> tuple[str, ...]:
        """Its real ports, which one run at a time may have: URLs."""
    @property
    def embedded(self) -> bool:
        """Devices meet at a broker that ends with the run."""
    @property
    def username(self) -> str | None:
        """For brokers that ask for it."""
    @property
    def password(self) -> str | None:
        """For brokers that ask for it."""
    @property
    def outside(self) -> str | None:
        """The broker of others at which devices meet: its URL."""
    @property
    def refused(self) -> tuple[str, str | None] | None:
        """Why it cannot be used although the file is sound, with the place in the file; and a known remedy."""
    @property
    def ca(self) -> Path | None:
        """The file of certificates that are trusted at its broker; perhaps it is not there."""
    @property
    def ca_place(self) -> str | None:
        """Where the bench file names that file: ``bench.toml:17:50``."""

@final
class Dut:
    """A device of the bench."""

    @property
    def name(self) -> str: ...
    @property
    def profile(self) -> Literal["emulated", "real"]: ...
    @property
    def not_run(self) -> str | None:
        """Why it cannot be used under its profile."""
    @property
    def tags(self) -> tuple[str, ...]: ...
    @property
    def links(self) -> tuple[DeviceLink, ...]: ...
    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of a model in Python."""
    @property
    def reset(self) -> tuple[str, ...]:
        """What goes back to its initial state when a test begins: `points`."""
    @property
    def writable(self) -> tuple[str, ...]:
        """What tests may write on the real device: names of points, and `table:first-last`."""
    @property
    def allow(self) -> tuple[str, ...]:
        """What else suites may do to the real device: `write`, `restart`, `silence`."""
    @property
    def life(self) -> dict[str, Any]:
        """The tables `identity`, `prepare`, `recover`, `power` and `run`, as far as the bench file has them.

        They are checked and have their defaults; durations are texts with a unit. `identity` is a dict by name, each
        with `kind` (`console`, `modbus`, `mqtt`, `command`) and what is asked under that key; `power` has `kind`
        (`command`, `modbus`, `mqtt`, `scpi`, `line`, `qmp`, `plugin`).
        """
    @property
    def power_command(self) -> str | None:
        """The command that switches it; `{action}` stands for what is to be done."""
    @property
    def power_actions(self) -> tuple[str, ...]: ...
    @property
    def power_settle(self) -> str | None:
        """How long it needs until it can be used again: a duration with its unit."""
    @property
    def power_timeout(self) -> str | None:
        """How long the command may take: a duration with its unit."""
    @property
    def power_safe(self) -> str | None:
        """What is done at the end of a run."""

@final
class DeviceLink:
    """How a device uses a link."""

    @property
    def name(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def role(self) -> Literal["client", "devices"]:
        """What the device is there."""
    @property
    def unit(self) -> int | None:
        """Its unit id there, if the bench file says one."""
    @property
    def face(self) -> str:
        """The face of the model that is on it."""
    @property
    def tested(self) -> bool:
        """The tester has an end of its own for this device: `Running.resolve` says where."""
    @property
    def private(self) -> bool:
        """Only this device has the link: it is no link of the bench."""
    @property
    def url(self) -> str | None:
        """The real port, or the broker outside, at which it is; None where it is emulated."""

@final
class Resolved:
    """Where the tester's end of a link is."""

    @property
    def device(self) -> str: ...
    @property
    def link(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def url(self) -> str:
        """A port URL, or the URL of a broker."""
    @property
    def line(self) -> str | None:
        """Speed and format, if it is a wire."""
    @property
    def base(self) -> str:
        """What stands for `{base}`; empty if the bench file does not say."""
    @property
    def unit(self) -> int:
        """Unit id of the device; 1 if the bench file does not say."""
    @property
    def belongs_to(self) -> Literal["bench", "dut"]: ...
    @property
    def shared(self) -> bool:
        """Other devices are at the same URL: one client serves all of them."""
    @property
    def username(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def client(self) -> dict[str, Any]:
        """How fieldrig asks there: keywords of its client."""
    @property
    def point_map(self) -> dict[str, dict[str, Any]] | None:
        """Where each point of the model stands, with its unit."""

@final
class Running:
    """A bench that is up: embedded brokers and emulated devices; devices that are judged have no power yet."""

    def device(self, name: str, /) -> Device | None:
        """The emulated device of this name."""
    def protocol(self, name: str, /) -> Protocol | None:
        """The protocol of a name, if a file of the bench defines it."""
    def resolve(self, device: str, link: str, /) -> Resolved:
        """Where our end of a link of a device is. Raises `UsageError` if there is no such link."""
    @property
    def devices(self) -> tuple[str, ...]:
        """The names of the emulated devices."""
    def link(self, name: str, /) -> LinkEnd:
        """A link of the bench. Raises `UsageError` if there is none of this name."""
    def close(self) -> None:
        """Closes every device and broker."""

@final
class LinkEnd:
    """A link of the bench that is up."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str | None:
        """Where a client of ours finds it, if there is one place: a port URL, or the URL of a broker."""
    @property
    def monitor_url(self) -> str | None:
        """Where an observer can hear everything that is said on it; `None` if it cannot be listened to."""
    @property
    def address(self) -> str | None:
        """Where others find the embedded broker or the proxy of the link; `None` if it has neither."""
    @property
    def gated(self) -> bool:
        """The bench has a hand on the link: it can take it down."""
    @property
    def bridged(self) -> bool:
        """The bytes of the link pass through the bench: it can disturb them."""
    @property
    def disturbed(self) -> bool:
        """The bench file disturbs it, in every test."""
    def gate(self, state: Literal["open", "refused", "stalled"], /) -> Stamp:
        """Takes the link down or up for everybody but the tester's own ends; gives the instant at which it was done.

        Raises:
            UsageError: another word; both ends of the link are outside.
        """
    def fault(
        self,
        name: _WireFault,
        *,
        p: float | None = None,
        count: int | None = None,
        after: int | None = None,
        direction: Literal["requests", "responses"] | None = None,
        delay: str | Span | None = None,
    ) -> None:
        """Disturbs the bytes that pass, until `clear_faults`.

        Args:
            name: what happens to a byte.
            p: with this probability; without it to every byte.
            count: so many times at most.
            after: not to the first so many bytes.
            direction: only towards the devices that answer, or only from them.
            delay: how long, for `delay`.

        Raises:
            UsageError: an unknown fault or a value that does not fit; the bytes do not pass through the bench.
        """
    def look(self) -> None:
        """Looks at the real ports that are joined to it: found empty, they show that what comes next comes after it."""
    def clear_faults(self) -> None:
        """Ends every disturbance but those of the bench file."""

def load(path: str | PathLike[str], profiles: Sequence[str], /) -> Plan:
    """Reads a bench file with its overlay (`bench.local.toml`) and its model files.

    Args:
        path: the TOML file.
        profiles: `"real"` for all devices, `"meter=real"` for one; later ones win.

    Raises:
        BenchFileError: something is wrong with one of the files; the message begins with file, line and column.
        UsageError: a profile is unknown.
    """

def bring_up(rig: Rig, plan: Plan, /) -> Running:
    """Starts what is emulated and finds out where everything is.

    Raises:
        PortError: a port cannot be opened.
        BenchFileError: a model does not fit.
    """

def survey(rig: Rig, plan: Plan, /) -> Running:
    """Where real devices and the brokers of others are: nothing is started, nothing is opened."""

def schema(kind: Literal["bench", "model"], /) -> str:
    """The JSON Schema of bench files or model files, as text."""
