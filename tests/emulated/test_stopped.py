"""Stopped for 20 ms inside a timing test, we say inconclusive, with the reason: never pass, never fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "stopped.py"
IN_TIME = PROGRAM.with_name("stopped_in_time.py")
WANTED, AT_MOST = 5, 100


def verdicts(who: str) -> list[dict[str, Any]]:
    """What was said in the rounds in which the machine itself was not too busy to tell."""
    command = [sys.executable, str(PROGRAM), who, str(WANTED), str(AT_MOST)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
    told, timely = [], False
    for line in map(json.loads, done.stdout.splitlines()):
        timely = line.get("timely", timely)
        if timely and "rule" in line:
            told.append(line)
        # Even if the machine was busy beside, 20 ms in which nobody looked are no proof of 15 ms.
        assert line.get("rule") == "not_before" or line.get("verdict") != "pass", line
    return told


@pytest.mark.parametrize("who", ["other", "own"])
def test_20_ms_without_us_prove_nothing_and_accuse_nobody(who: str) -> None:
    told = verdicts(who)
    rules = {"other": {"within", "not_before", "measure"}, "own": {"within", "measure"}}[who]
    assert {one["rule"] for one in told} == rules, "no round in which the machine was not too busy"
    for one in told:
        assert one["verdict"] == "inconclusive", one
        assert "stood still" in one["why"], one


@pytest.mark.parametrize("kind", ["console", "modbus", "protocol"])
def test_who_answered_in_time_while_we_were_stopped_until_the_time_was_over_is_not_accused(kind: str) -> None:
    done = subprocess.run([sys.executable, str(IN_TIME), kind], stdout=subprocess.PIPE, check=True, timeout=60)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == 12
    accused = [one for one in told if one["in_time"] and one["verdict"] == "fail"]
    assert not accused


@pytest.mark.parametrize("kind", ["modbus", "within", "console"])
def test_a_device_whose_line_thread_alone_is_held_is_not_accused(kind: str) -> None:
    (told,) = held_alone(kind)
    assert told["verdict"] == "inconclusive", told
    assert "stood still" in told["why"], told


def test_a_device_that_is_silent_while_nobody_is_held_is_judged() -> None:
    # A machine that is too busy, or stands still itself, is told from that at once.
    assert "fail" in [told["verdict"] for _ in range(5) for told in held_alone("console", "free")]


def held_alone(*arguments: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(PROGRAM.with_name("line_thread_held.py")), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    if "refused" in told[0]:
        pytest.skip(f"no process may hold a thread of another one here: {told[0]['refused']}")
    return told
