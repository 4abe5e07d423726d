"""The arrow rule: fieldrig-proto <- fieldrig-engine <- fieldrig-py <- python/fieldrig <- suites, tests."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from .sources import ENGINE, PACKAGE, PROTO, ROOT, python_files, rust_code, rust_files, shown

PROTOCOLS = ("modbus", "mqtt")
# Whoever runs suites may know them; nothing else of the package may.
MAY_IMPORT_SUITES = ("suites", "cli", "demo", "conform.py")
FORBIDDEN_CRATES = ("rodbus", "modbus-rs", "aws-lc-sys", "openssl-sys")


def imports(path: Path) -> set[str]:
    """The modules a file of the package imports, relative ones resolved."""
    package = ("fieldrig", *path.relative_to(PACKAGE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("path", python_files(PACKAGE), ids=shown)
def test_the_package_never_imports_tests_and_only_runners_import_suites(path: Path) -> None:
    found = imports(path)
    assert not [name for name in found if name.split(".")[0] == "tests"], "the package imports the tests"
    if path.relative_to(PACKAGE).parts[0] not in MAY_IMPORT_SUITES:
        assert not [name for name in found if name.startswith("fieldrig.suites")], "only runners may import suites"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocols_never_import_each_other(protocol: str) -> None:
    others = "|".join(other for other in PROTOCOLS if other != protocol)
    assert found_in(PROTO / protocol, rf"\b(?:crate|super)::(?:{others})\b") == []


def test_the_common_floor_knows_no_protocol() -> None:
    floor = [path for path in rust_files(PROTO) if path.relative_to(PROTO).parts[0] not in (*PROTOCOLS, "lib.rs")]
    hits = [shown(path) for path in floor if re.search(rf"\bcrate::(?:{'|'.join(PROTOCOLS)})\b", rust_code(path))]
    assert [hit for hit in hits if not hit.endswith(tuple(f"src/{name}.rs" for name in PROTOCOLS))] == []


def test_the_engine_knows_no_protocol_by_name() -> None:
    assert found_in(ENGINE, rf"\bfieldrig_proto::(?:{'|'.join(PROTOCOLS)})\b") == []


def test_protocols_touch_no_machine() -> None:
    """What clippy.toml cannot name one by one: whole modules of the standard library."""
    assert found_in(PROTO, r"\bstd::(?:fs|net|process|env|os|thread|io)\b") == []
    assert found_in(PROTO, r"\bunsafe\b") == []


def test_crates_depend_only_downwards() -> None:
    below = {"proto": set(), "engine": {"proto"}, "py": {"proto", "engine"}}
    for crate, allowed in below.items():
        manifest = tomllib.loads((ROOT / "rust" / f"fieldrig-{crate}" / "Cargo.toml").read_text(encoding="utf-8"))
        names = {*manifest.get("dependencies", {}), *manifest.get("dev-dependencies", {})}
        ours = {name.removeprefix("fieldrig-") for name in names if name.startswith("fieldrig-")}
        assert ours <= allowed, f"fieldrig-{crate} depends on {ours - allowed}"


def test_no_forbidden_crate_is_locked() -> None:
    locked = {
        package["name"] for package in tomllib.loads((ROOT / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    }
    assert locked.isdisjoint(FORBIDDEN_CRATES)


def found_in(folder: Path, pattern: str) -> list[str]:
    """Where Rust code below a folder has something: `file: match`."""
    hits = [(path, re.search(pattern, rust_code(path))) for path in rust_files(folder)]
    return [f"{shown(path)}: {hit.group()}" for path, hit in hits if hit]
