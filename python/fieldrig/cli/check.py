"""Looks whether a bench is ready: its files, its real ports, its devices.

Example: fieldrig check bench.toml --profile real

Each real port is opened and closed again, brokers outside and supplies in the network are connected to (a broker with
TLS is asked for its certificate), ports that are there for a modem line alone are not touched,
files of certificates are read, commands and files that the bench names are looked for. Nothing is sent and nothing is
switched, but for what `identity` asks the devices to say who they are (`--no-identity` leaves that out). Exit code 0:
all is well, perhaps with warnings; 3: something is not.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from .. import _core
from ..bench import BenchPlan
from ..errors import FieldrigError, UsageError
from ..units import nanoseconds
from . import certificates
from .exits import Exit
from .finding import Finding
from .output import Output
from .place import bench_file
from .visit import Visit


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("bench", nargs="?", default="bench.toml", metavar="BENCH", help="bench file (bench.toml)")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="[DUT=]PROFILE", help="emulated or real; may be repeated"
    )
    parser.add_argument(
        "--expiry", default="30d", metavar="TIME", help="warn of certificates that expire within TIME (30d)"
    )
    parser.add_argument("--no-identity", action="store_true", help="do not ask the devices who they are")


def run(options: argparse.Namespace, output: Output) -> int:
    """Looks at everything and prints a table."""
    expiry = _expiry(options.expiry)
    plan = BenchPlan.load(bench_file(options.bench), options.profile)
    output.secrets = plan.secrets
    output.say(f"{plan.header()} ({plan.path})")
    findings = []
    for finding in _findings(plan, not options.no_identity, expiry):
        findings.append(finding)
        output.record(
            "finding",
            what=finding.what,
            name=finding.name,
            verdict=finding.verdict,
            says=finding.says,
            hint=finding.hint,
        )
        output.progress(f"{finding.what} {finding.name}")
    rows = [(finding.what, finding.name, finding.verdict, finding.says) for finding in findings]
    output.table(rows, ["what", "name", "", ""], 2)
    problems = [finding for finding in findings if finding.verdict == "problem"]
    warnings = [finding for finding in findings if finding.verdict == "warning"]
    for hint in dict.fromkeys(f"{finding.name}: {finding.hint}" for finding in problems + warnings if finding.hint):
        output.say(f"  hint: {hint}")
    output.record("check", bench=plan.name, findings=len(findings), problems=len(problems), warnings=len(warnings))
    ready = f"{len(problems)} of {len(findings)} are not ready" if problems else "all is ready"
    output.say(f"{ready}; warnings: {len(warnings)}" if warnings else ready)
    return Exit.BENCH if problems else Exit.PASS


def _expiry(text: str) -> float:
    """Seconds; in days, or as any duration.

    Raises:
        UsageError: it is neither.
    """
    days = text.removesuffix("d")
    if days != text and days.isascii() and days.isdigit():
        return float(int(days) * certificates.DAY)
    try:
        return nanoseconds(text, "--expiry") / 1e9
    except UsageError:
        raise UsageError(f"--expiry {text}: that is no time; write days, such as 30d, or hours, such as 36h") from None


def _findings(plan: BenchPlan, identify: bool, expiry: float) -> Iterator[Finding]:
    for device in plan.devices.values():
        yield _device(plan, device)
    with ExitStack() as locks, _core.Rig(name="check", secrets=plan.secret_texts) as rig:
        for what, name, url in _real_places(plan):
            yield _opened(rig, locks, what, name, url)
        for link in plan._native.links:
            if link.refused is not None:
                says, hint = link.refused
                yield Finding("broker", link.name, "problem", says, hint or "")
        yield from certificates.findings(plan._native.links, time.time(), expiry)
        for device in plan.devices.values():
            if device.profile == "real":
                yield from _named(plan, device)
        if identify:
            yield from _identities(plan, rig)


def _device(plan: BenchPlan, device: _core.bench.Dut) -> Finding:
    kind = "device" if device.name in plan.profiles else "peer"
    if device.not_run:
        return Finding(kind, device.name, "not run", device.not_run)
    links = ", ".join(f"{link.name} ({link.protocol})" for link in device.links) or "no links"
    return Finding(kind, device.name, device.profile, links)


def _real_places(plan: BenchPlan) -> Iterator[tuple[str, str, str]]:
    """Every real port and outside broker that a run can use, once: kind, the links that use it, URL."""
    refused = {link.outside for link in plan._native.links if link.refused is not None}
    users: dict[str, list[str]] = {}
    for link in plan._native.links:
        for url in link.lock:
            users.setdefault(url, []).append(link.name)
    for device in plan.devices.values():
        for used in device.links:
            if used.url is not None and used.url not in refused and used.name not in users.setdefault(used.url, []):
                users[used.url].append(f"{device.name}.{used.name}" if used.private else used.name)
    for device in plan.devices.values():
        switch = _switched_at(plan, device)
        if switch is not None and switch not in refused:
            users.setdefault(switch, []).append(f"{device.name}.power")
    for url, names in users.items():
        yield ("broker" if _is_broker(url) else "port", ", ".join(dict.fromkeys(names)), url)


def _switched_at(plan: BenchPlan, device: _core.bench.Dut) -> str | None:
    """The broker or supply through which a real device gets power, if a network has it: to open it switches nothing."""
    power = (device.life.get("power") or {}) if device.profile == "real" else {}
    supply = str(power.get("scpi") or "")
    if supply:
        return supply if urlsplit(supply).scheme == "tcp" else None
    return next((link.outside for link in plan._native.links if link.name == power.get("mqtt")), None)


def _is_broker(url: str) -> bool:
    return urlsplit(url).scheme.startswith("mqtt")


def _opened(rig: _core.Rig, locks: ExitStack, what: str, name: str, url: str) -> Finding:
    """Opens and closes a port, without a byte. Its lock stays ours until the check ends."""
    address = urlsplit(url)
    port = f"tcp://{address.netloc.rpartition('@')[2]}" if what == "broker" else url
    try:
        if what == "port":
            locks.enter_context(_core.WireLock(address.netloc or address.path, "fieldrig check"))
        _core.stream.Stream(port, rig=rig, name=name).close()
    except FieldrigError as error:
        return Finding(what, name, "problem", error.message, error.hint or "")
    return Finding(what, name, "ok", url)


def _named(plan: BenchPlan, device: _core.bench.Dut) -> Iterator[Finding]:
    """The commands and files that the life of a device names: they are looked for, not run."""
    folder = plan.path.absolute().parent
    for what in ("power", "prepare", "recover"):
        table = device.life.get(what) or {}
        command = table.get("command")
        if command:
            yield _command(what, device.name, str(command), folder)
    artifact = (device.life.get("prepare") or {}).get("artifact")
    if artifact:
        there = (folder / str(artifact)).exists()
        says = str(artifact) if there else f"there is no file {folder / str(artifact)}"
        yield Finding("artifact", device.name, "ok" if there else "problem", says)


def _command(what: str, name: str, command: str, folder: Path) -> Finding:
    try:
        program = shlex.split(command)[0]
    except (ValueError, IndexError):
        return Finding(what, name, "problem", f"`{command}` is no command")
    beside = folder / program if "/" in program else None
    found = shutil.which(str(beside) if beside is not None else program)
    if found is None:
        return Finding(
            what, name, "problem", f"`{program}` is no program that can be run", "is it installed, is it executable?"
        )
    return Finding(what, name, "ok", command)


def _identities(plan: BenchPlan, rig: _core.Rig) -> Iterator[Finding]:
    """What the real devices say about themselves, where the bench asks for it."""
    with Visit(plan, rig) as visit:
        for dut in visit.devices():
            for name in dut.identity:
                full = f"{dut.name}.{name}"
                if not visit.can_reach(dut.name, name):
                    yield Finding("identity", full, "not run", "its broker is there only in a run")
                    continue
                try:
                    yield Finding("identity", full, "ok", visit.identity(dut.name, name))
                except FieldrigError as error:
                    yield Finding("identity", full, "problem", error.message, error.hint or "")
