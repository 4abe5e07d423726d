"""What stands in the documentation could be typed in: names exist, calls fit, commands and links are known.

Snippets that can run alone are run by `tests/emulated/test_documentation.py`; this looks at all of them.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fieldrig import bridge, cli, link, measure, modbus, mqtt, power, protocol, serial, stimulus, stream, timing
from fieldrig.model import links

from ..snippets import DOCUMENTS, ROOT, Snippet, snippets
from .sources import shown

# What a name means wherever it stands in front of a call: `meter.console.send(..)`, `console.send(..)`.
RECEIVERS: dict[str, tuple[Any, ...]] = {
    "console": (serial.Console,),
    "modbus": (modbus.Client, modbus),  # the link of a device, or the module
    "client": (modbus.Client, mqtt.Client, protocol.Client),
    "mqtt": (mqtt.Client, mqtt),
    "uplink": (mqtt.Client, link.Link, links.MqttLink),
    "alarms": (mqtt.Watch,),
    "states": (mqtt.Watch,),
    "values": (mqtt.Watch,),
    "bus485": (link.WireLink, links.ModbusLink),
    "power": (power.Power,),
    "timing": (timing, measure.Measure),
    "bridge": (bridge.Bridge,),
    "ours": (stream.Stream,),
    "protocol": (protocol,),
    "stimulus": (stimulus,),
}
"""Of several, one has to fit."""


def calls(code: str) -> Iterator[ast.Call]:
    """The calls in a piece of code, and those in what stands between its lines as text is not looked at."""
    return (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))


def fits(target: Any, call: ast.Call) -> str | None:
    """Why a call is refused by what it calls, or None."""
    try:
        signature = inspect.signature(target)
    except ValueError:  # a native function that says nothing about its arguments
        return None
    if any(isinstance(one, ast.Starred) for one in call.args) or any(one.arg is None for one in call.keywords):
        return None
    given = [*([None] if takes_self(target) else []), *(None for _ in call.args)]
    try:
        signature.bind(*given, **{one.arg: None for one in call.keywords if one.arg})
    except TypeError as error:
        return str(error)
    return None


def takes_self(target: Any) -> bool:
    """Whether the first argument is the object itself, for a method that was taken from its class."""
    if isinstance(target, type | ModuleType):
        return False
    return next(iter(inspect.signature(target).parameters), "") == "self"


def problem(call: ast.Call) -> str | None:
    """What is wrong with a call of something that is known, or None."""
    if not isinstance(call.func, ast.Attribute):
        return None
    place = call.func.value
    receiver = place.attr if isinstance(place, ast.Attribute) else getattr(place, "id", "")
    known = RECEIVERS.get(receiver)
    if known is None:
        return None
    targets = [getattr(one, call.func.attr) for one in known if hasattr(one, call.func.attr)]
    if not targets:
        return f"{receiver}.{call.func.attr}: there is no such thing"
    reasons = [fits(target, call) for target in targets]
    return None if None in reasons else f"{receiver}.{call.func.attr}(..): {reasons[0]}"


def imported(code: str) -> Iterator[tuple[str, str | None]]:
    """The modules of fieldrig that a piece of code imports, and what from them."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fieldrig":
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.partition(".")[0] == "fieldrig")


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_python_of_the_documentation_fits_what_there_is(snippet: Snippet) -> None:
    compile(snippet.code, str(snippet), "exec")
    for module, name in imported(snippet.code):
        found = importlib.import_module(module)
        assert name is None or hasattr(found, name) or importlib.import_module(f"{module}.{name}"), name
    assert [wrong for call in calls(snippet.code) if (wrong := problem(call))] == []


def test_a_call_that_does_not_fit_is_found() -> None:
    wrong = 'meter.console.expect("x", wihtin="1s")\nconsole.espect("x")\npower.cycle(off="1s")\nbridge.fault()'
    found = [one for call in calls(wrong) if (one := problem(call))]
    assert len(found) == 3
    assert "wihtin" in found[0] and "there is no such thing" in found[1] and "'name'" in found[2]


@pytest.mark.parametrize("snippet", snippets("toml"), ids=str)
def test_toml_of_the_documentation_can_be_read(snippet: Snippet) -> None:
    tomllib.loads(snippet.code)


def commands(document: Path) -> list[str]:
    """Every call of `fieldrig` that a document shows whole, in a block or between back quotes."""
    text = document.read_text(encoding="utf-8")
    blocks = [line for one in snippets("sh", document) for line in one.code.splitlines()]
    quoted = [one for one in re.findall(r"`([^`\n]+)`", text) if re.match(r"(\.venv/bin/)?fieldrig [a-z]+ ", one)]
    shown = [re.sub(r"^\.venv/bin/", "", line.strip()) for line in blocks + quoted]
    return [line.partition("  #")[0] for line in shown if line.startswith("fieldrig ")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_the_commands_of_the_documentation_are_understood(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = []
    for line in commands(document):
        try:
            cli.parser().parse_args(shlex.split(line)[1:])
        except SystemExit as ended:
            said = capsys.readouterr().err
            if ended.code and "the following arguments are required" not in said:  # a command that is only named
                refused.append((line, said))
    assert refused == []


def test_there_are_commands_to_be_understood() -> None:
    assert sum(len(commands(document)) for document in DOCUMENTS) >= 10


def anchors(document: Path) -> set[str]:
    """The names by which the headings of a document can be linked to."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_the_links_of_the_documentation_lead_somewhere(document: Path) -> None:
    lost = []
    for place in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text(encoding="utf-8")):
        path, _, anchor = place.partition("#")
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            lost.append(place)
    assert lost == []


def test_every_document_is_linked_from_the_readme() -> None:
    linked = re.findall(r"\]\((docs/[\w-]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {shown(path) for path in (ROOT / "docs").glob("*.md")} - set(linked) == set()
