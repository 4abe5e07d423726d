"""What a wheel has to hold: the build takes every file below the package that git does not ignore."""

from __future__ import annotations

import subprocess
import tomllib

import pytest

from .sources import PACKAGE, ROOT

PRODUCTS = (".so", ".pyc")
"""What comes of building and running, and is made anew for a wheel or left out of it."""


def listed(*options: str) -> list[str]:
    """The files below the package, as git sees them."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    command = ["git", "ls-files", "-z", *options, str(PACKAGE)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in said.split("\0") if name]


def test_no_file_of_the_package_is_ignored() -> None:
    ignored = listed("--others", "--ignored", "--exclude-standard")
    assert [name for name in ignored if not name.endswith(PRODUCTS)] == []
    assert listed("--cached", "--ignored", "--exclude-standard") == []


def test_no_setting_of_the_build_leaves_data_out() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["maturin"]
    assert settings["python-source"] == PACKAGE.parent.name
    assert not {"exclude", "python-packages"} & settings.keys()


@pytest.mark.parametrize(
    "data", ["cli/start/*.toml", "schema/*.json", "suites/*/*.toml", "suites/*/README.md", "demo/**/*.toml"]
)
def test_data_is_kept_with_the_package(data: str) -> None:
    kept = {ROOT / name for name in listed("--cached")}
    there = set(PACKAGE.glob(data))
    assert there and there <= kept
