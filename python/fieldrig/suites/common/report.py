"""Judged rows for people and for machines, whatever suite they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .outcome import VERDICTS, Exchange, Requirement, Row

Dissect = Callable[[Exchange], list[str]]
"""What each message in the bytes of an exchange means."""

_SHOWN_OF_PASS = 2
_SHOWN_OF_REST = 8
_BYTES_SHOWN = 48
_MEANINGS_SHOWN = 3
_ATTENTION = ("fail", "advice", "inconclusive")


def lines(row: Row, dissect: Dissect) -> list[str]:
    """The row for people: what was demanded, what it came to and why, the bytes that decide."""
    requirement = row.requirement
    source = "" if requirement.spec == "-" else f"see {requirement.spec}, "
    shown = [f"{requirement.id:<8} {row.verdict:<14} {requirement.text} ({source}{requirement.level})"]
    shown.append(f"         {row.says}")
    attention = row.verdict in _ATTENTION
    decisive = row.exchanges[-_SHOWN_OF_REST:] if attention else row.exchanges[:_SHOWN_OF_PASS]
    if len(decisive) < len(row.exchanges):
        shown.append(f"         {len(decisive)} of {len(row.exchanges)} exchanges:")
    for exchange in decisive:
        shown.append("         " + line_of(exchange, dissect))
    if attention:
        for exchange in _stimulus_and_answer(decisive):
            arrow = ">" if exchange.what == "sent" else "<"
            shown += [f"         {arrow} " + line for line in dissect(exchange)[-1].splitlines()[1:]]
    return shown


def _stimulus_and_answer(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """What was sent last, and what came to it: one or the other may be missing."""
    last = {exchange.what: exchange for exchange in exchanges if exchange.data}
    order = [exchange for exchange in exchanges if exchange in (last.get("sent"), last.get("received"))]
    return list(dict.fromkeys(order))


def line_of(exchange: Exchange, dissect: Dissect) -> str:
    """One exchange: connection, direction, bytes, meaning."""
    if exchange.what == "note":
        return f"[{exchange.connection}] - {exchange.text}"
    arrow = ">" if exchange.what == "sent" else "<"
    data = exchange.data[:_BYTES_SHOWN].hex(" ")
    more = f" .. ({len(exchange.data)} bytes)" if len(exchange.data) > _BYTES_SHOWN else ""
    meanings = [text.partition("\n")[0] for text in dissect(exchange)]
    if len(meanings) > _MEANINGS_SHOWN:
        meanings[_MEANINGS_SHOWN:] = [f".. {len(meanings) - _MEANINGS_SHOWN} more"]
    meaning = "; ".join(filter(None, (" | ".join(meanings), exchange.text)))
    return f"[{exchange.connection}] {arrow} {data}{more}  {meaning}"


def record(row: Row, dissect: Dissect) -> dict[str, Any]:
    """The row for machines, with every exchange that was kept."""
    requirement = row.requirement
    return {
        "id": requirement.id,
        "section": requirement.section,
        "level": requirement.level,
        "spec": f"see {requirement.spec}",
        "text": requirement.text,
        "carrier": row.carrier,
        "verdict": row.verdict,
        "says": row.says,
        "exchanges": [_exchange(exchange, dissect) for exchange in row.exchanges],
    }


def _exchange(exchange: Exchange, dissect: Dissect) -> dict[str, Any]:
    shown: dict[str, Any] = {"connection": exchange.connection, "what": exchange.what, "at": exchange.at}
    if exchange.data:
        shown |= {"bytes": exchange.data.hex(" "), "dissected": "\n".join(dissect(exchange))}
    if exchange.text:
        shown["text"] = exchange.text
    return shown


def coverage(
    rows: Iterable[Row], requirements: Mapping[str, Requirement], sections: Iterable[str]
) -> dict[str, dict[str, int]]:
    """How many requirements of each section came to what; those without a row were not tested, or have no test."""
    verdicts = {row.requirement.id: row.verdict for row in rows}
    words: tuple[str, ...] = VERDICTS
    table = {section: dict.fromkeys(words, 0) for section in sections}
    for requirement in requirements.values():
        absent = "untestable" if requirement.kind == "untestable" else "not tested"
        table[requirement.section][verdicts.get(requirement.id, absent)] += 1
    return table


def coverage_table(
    rows: Iterable[Row], counts: Mapping[str, Mapping[str, int]], titles: Mapping[str, str]
) -> list[list[str]]:
    """The coverage as rows of text: section, title, one number for each verdict, and a last line with the sums.

    Sections that nobody asked for, which have no row, are left out.
    """
    asked = {row.requirement.section for row in rows}
    shown = {name: count for name, count in counts.items() if name in asked}
    table = [[name, titles[name], *(str(count[verdict]) for verdict in VERDICTS)] for name, count in shown.items()]
    sums = [str(sum(count[verdict] for count in shown.values())) for verdict in VERDICTS]
    return [*table, ["all", "", *sums]]


def exit_code(rows: Sequence[Row]) -> int:
    """0 pass, 1 fail, 4 inconclusive, 5 nothing judged. Advice never fails a run."""
    verdicts = {row.verdict for row in rows}
    if "fail" in verdicts:
        return 1
    if verdicts & {"inconclusive", "not tested"}:
        return 4
    return 0 if verdicts & {"pass", "advice"} else 5
