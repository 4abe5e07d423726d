"""Secrets stand in no artefact: all files of a run and all that is printed are searched for planted ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fieldrig
from fieldrig import Rig, _core, mqtt
from fieldrig.bench import BenchPlan
from fieldrig.errors import BenchFileError
from fieldrig.report import chapter_of, render

PASSWORD = 'Geheim-"47/11'
"""In quotes and slashes, which JSON, Python and URLs spell in ways of their own."""
TOKEN = "tok_9f8e7d6c"

BENCH = """\
[bench]
name = "vault"

[link.uplink]
protocol = "mqtt5"
base = "site/${SITE_TOKEN}/vault"
emulated = { username = "bench", password = "${VAULT_PASSWORD}" }

[link.console]
protocol = "console"
line = "115200 8N1"

[dut.vault]
model = "vault.toml"
links = { uplink = "client", console = {} }
"""

MODEL = """\
[model]
name = "vault"

[points.level]
kind = "float"
access = "read-write"

[[command]]
match = 'login (?P<word>.+)'
reply = "wrong password: {word}"
"""

TESTS = """\
import json, os
from fieldrig.errors import UsageError

PASSWORD, TOKEN = os.environ["VAULT_PASSWORD"], os.environ["SITE_TOKEN"]

def test_console_fails(vault):
    vault.console.send("login " + PASSWORD)
    vault.console.expect("welcome", within="100ms")

def test_watch_fails(vault):
    with vault.uplink.watch("{base}/#") as inbox:
        login = json.dumps({"password": PASSWORD, "pad": "x" * 50, "again": PASSWORD})
        sent = vault.uplink.publish("{base}/login", login)
        inbox.expect(json={"ok": True}, after=sent, within="100ms")

def test_assertion(vault, record_property):
    record_property("login", PASSWORD)
    print("trying", PASSWORD)
    assert {"password": PASSWORD} == {"password": TOKEN}

def test_measurement(vault, measure):
    measure("level of " + TOKEN, 1.0, unit="V", max=0.5)

def test_foreign_error(vault):
    raise ValueError("no login with %r" % PASSWORD)

def test_usage(vault):
    raise UsageError("no login with " + TOKEN, hint="not " + PASSWORD)

def test_skipped(vault):
    import pytest
    pytest.skip("needs " + PASSWORD)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bench whose secrets stand in the environment."""
    for name, text in {"bench.toml": BENCH, "vault.toml": MODEL, "test_vault.py": TESTS}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("VAULT_PASSWORD", PASSWORD)
    monkeypatch.setenv("SITE_TOKEN", TOKEN)
    return tmp_path


def spellings(secret: str) -> set[bytes]:
    """How files may spell a secret."""
    escaped = secret.replace("\\", "\\\\").replace('"', '\\"')
    markup = secret.replace('"', "&quot;")
    plain = [secret, escaped, markup, secret.encode().hex(), secret.encode().hex(" "), secret.encode().hex().upper()]
    # The beginning of one is too much, too.
    return {text.encode() for text in (*plain, secret[:6])}


def leaks(data: bytes) -> list[bytes]:
    """The planted secrets found in some bytes."""
    return [spelling for secret in (PASSWORD, TOKEN) for spelling in spellings(secret) if spelling in data]


def test_no_artefact_of_a_run_and_nothing_printed_has_a_secret(folder: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "FIELDRIG"))}
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider"]
    options = ["--bench", "bench.toml", "--fieldrig-out", "out", "--junitxml", "out/junit.xml", "-rA", "--showlocals"]
    ended = subprocess.run([*command, *options], cwd=folder, env=kept, capture_output=True)
    shown = ended.stdout.decode()
    assert ended.returncode == 1, shown
    assert "6 failed" in shown and "1 skipped" in shown
    assert leaks(ended.stdout + ended.stderr) == []
    exported = folder / "out" / "trace.jsonl"
    assert _core.export_trace(folder / "out" / "trace.pcapng", exported) > 0
    files = {path.name: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    assert {"run.jsonl", "trace.pcapng", "trace.jsonl", "junit.xml"} <= set(files)
    assert {name: leaks(data) for name, data in files.items() if leaks(data)} == {}
    # They were there, and what stands for them is.
    assert shown.count("***") >= 6
    assert files["trace.pcapng"].count(b"*" * len(PASSWORD)) >= 3
    assert files["junit.xml"].count(b"***") >= 6


def test_the_report_has_no_secret(folder: Path) -> None:
    from fieldrig import own_pytest
    from fieldrig.pytest_plugin import results

    class Chapters:
        """Renders the report of a run at its end."""

        html = ""

        def pytest_sessionfinish(self, session: pytest.Session) -> None:
            self.html = render([chapter_of(results(session.config), "vault")], "run")

    chapters = Chapters()
    options = ["--bench", str(folder / "bench.toml"), "--fieldrig-out", str(folder / "out")]
    own_pytest.run(folder / "test_vault.py", options, [chapters])
    assert "wrong password: ***" in chapters.html
    assert leaks(chapters.html.encode()) == []


def test_an_error_of_the_bench_file_does_not_quote_a_secret(folder: Path) -> None:
    text = BENCH.replace('"${VAULT_PASSWORD}"', '"x", listen = "${VAULT_PASSWORD}", broker = "${VAULT_PASSWORD}"')
    (folder / "bench.toml").write_text(text)
    with pytest.raises(BenchFileError) as refused:
        BenchPlan.load(folder / "bench.toml")
    assert "***" in str(refused.value)
    assert leaks(str(refused.value).encode()) == []


def test_what_a_bench_takes_for_a_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_PASSWORD", "pin")
    plan = BenchPlan.load(folder / "bench.toml")
    assert plan.secrets.mask(f"{TOKEN} pin bench") == "*** pin bench"
    assert "1 of its secrets are too short to be masked" in plan.header()


def test_a_bench_can_declare_further_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACK_SEAL", "wax-and-thread")
    (folder / "bench.toml").write_text(BENCH.replace('name = "vault"', 'name = "vault"\nsecrets = ["RACK_SEAL"]'))
    assert BenchPlan.load(folder / "bench.toml").secrets.mask("wax-and-thread") == "***"


def test_a_password_in_an_url_is_a_secret() -> None:
    from fieldrig.secrets import in_urls

    assert set(in_urls([None, "mqtt://me:s%40fe-place@host:1", "tcp://h:1", "mqtt://[x"])) == {
        "s%40fe-place",
        "s@fe-place",
        "",
    }


def test_a_rig_masks_what_it_writes(tmp_path: Path) -> None:
    with Rig(folder=tmp_path, secrets=[PASSWORD]) as rig, mqtt.Broker(rig=rig) as broker:
        rig.log("login", text=f"with {PASSWORD}", raw=PASSWORD.encode(), nested={"list": [PASSWORD]})
        with mqtt.Client(broker.url, rig=rig, username="me", password=PASSWORD) as client:
            client.publish("a/b", PASSWORD, qos=1)  # acknowledged: the broker has seen it
    assert {path.name for path in tmp_path.iterdir()} == {"run.jsonl", "trace.pcapng"}
    for path in tmp_path.iterdir():
        assert leaks(path.read_bytes()) == []
    assert b'"text":"with ***"' in (tmp_path / "run.jsonl").read_bytes()
    # CONNECT and PUBLISH, each seen from both ends.
    assert (tmp_path / "trace.pcapng").read_bytes().count(b"*" * len(PASSWORD)) == 4


def test_texts_are_masked_in_every_spelling() -> None:
    secrets = _core.Secrets([PASSWORD])
    quoted = fieldrig.errors.DutError(PASSWORD)
    for text in (PASSWORD, repr(PASSWORD), f"{quoted}", PASSWORD.encode().hex(" "), f"{PASSWORD[:7]}.."):
        assert leaks(secrets.mask(text).encode()) == [], text
    assert (bool(secrets), bool(_core.Secrets([]))) == (True, False)


def test_what_a_test_hides_is_hidden_in_reports_and_in_the_rig_of_the_bench(tmp_path: Path) -> None:
    secrets = _core.Secrets(["swordfish"])
    with _core.Rig(folder=str(tmp_path), secrets=secrets) as rig:
        rig.hide("open sesame")
        rig.log("said", text="open sesame, swordfish")
        files = rig.files()
    assert secrets.mask("open sesame") == "***"
    said = Path(files["log"]).read_text()
    assert "***, ***" in said and "sesame" not in said
