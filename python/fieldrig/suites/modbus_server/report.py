"""Judged rows for people and for machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .carriers import CARRIERS, Carrier
from .outcome import VERDICTS, Exchange, Row, requirements, sections

_SHOWN_OF_PASS = 2
_SHOWN_OF_REST = 8
_BYTES_SHOWN = 48
_MEANINGS_SHOWN = 3
_ATTENTION = ("fail", "advice", "inconclusive")


def lines(row: Row) -> list[str]:
    """The row for people: what was demanded, what it came to and why, the bytes that decide."""
    requirement = row.requirement
    shown = [f"{requirement.id:<8} {row.verdict:<14} {requirement.text} (see {requirement.spec}, {requirement.level})"]
    shown.append(f"         {row.says}")
    attention = row.verdict in _ATTENTION
    carrier = CARRIERS[row.carrier]
    decisive = row.exchanges[-_SHOWN_OF_REST:] if attention else row.exchanges[:_SHOWN_OF_PASS]
    if len(decisive) < len(row.exchanges):
        shown.append(f"         {len(decisive)} of {len(row.exchanges)} exchanges:")
    for exchange in decisive:
        shown.append("         " + line_of(exchange, carrier))
    if attention:
        received = [exchange for exchange in decisive if exchange.what == "received"]
        for exchange in received[-1:]:
            shown += ["           " + line for line in _dissections(exchange, carrier)[-1].splitlines()[1:]]
    return shown


def line_of(exchange: Exchange, carrier: Carrier) -> str:
    """One exchange: connection, direction, bytes, meaning."""
    if exchange.what == "note":
        return f"[{exchange.connection}] - {exchange.text}"
    arrow = ">" if exchange.what == "sent" else "<"
    data = exchange.data[:_BYTES_SHOWN].hex(" ")
    more = f" .. ({len(exchange.data)} bytes)" if len(exchange.data) > _BYTES_SHOWN else ""
    meanings = [text.partition("\n")[0] for text in _dissections(exchange, carrier)]
    if len(meanings) > _MEANINGS_SHOWN:
        meanings[_MEANINGS_SHOWN:] = [f".. {len(meanings) - _MEANINGS_SHOWN} more"]
    meaning = "; ".join(filter(None, (" | ".join(meanings), exchange.text)))
    return f"[{exchange.connection}] {arrow} {data}{more}  {meaning}"


def _dissections(exchange: Exchange, carrier: Carrier) -> list[str]:
    """What each message in the bytes means."""
    return carrier.dissect(exchange.data, "client" if exchange.what == "sent" else "server")


def record(row: Row) -> dict[str, Any]:
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
        "exchanges": [_exchange(exchange, CARRIERS[row.carrier]) for exchange in row.exchanges],
    }


def _exchange(exchange: Exchange, carrier: Carrier) -> dict[str, Any]:
    shown: dict[str, Any] = {"connection": exchange.connection, "what": exchange.what, "at": exchange.at}
    if exchange.data:
        shown |= {"bytes": exchange.data.hex(" "), "dissected": "\n".join(_dissections(exchange, carrier))}
    if exchange.text:
        shown["text"] = exchange.text
    return shown


def coverage(rows: Iterable[Row]) -> dict[str, dict[str, int]]:
    """How many requirements of each section came to what; those without a row were not tested, or have no test."""
    verdicts = {row.requirement.id: row.verdict for row in rows}
    words: tuple[str, ...] = VERDICTS
    table = {section: dict.fromkeys(words, 0) for section in sections()}
    for requirement in requirements().values():
        absent = "untestable" if requirement.kind == "untestable" else "not tested"
        table[requirement.section][verdicts.get(requirement.id, absent)] += 1
    return table


def coverage_table(rows: Sequence[Row]) -> list[list[str]]:
    """The coverage as rows of text: section, title, one number for each verdict, and a last line with the sums."""
    counts = coverage(rows)
    titles = sections()
    table = [[name, titles[name], *(str(counts[name][verdict]) for verdict in VERDICTS)] for name in counts]
    sums = [str(sum(count[verdict] for count in counts.values())) for verdict in VERDICTS]
    return [*table, ["all", "", *sums]]


def exit_code(rows: Sequence[Row]) -> int:
    """0 pass, 1 fail, 4 inconclusive, 5 nothing judged. Advice never fails a run."""
    verdicts = {row.verdict for row in rows}
    if "fail" in verdicts:
        return 1
    if verdicts & {"inconclusive", "not tested"}:
        return 4
    return 0 if verdicts & {"pass", "advice"} else 5
