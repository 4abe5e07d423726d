"""What stands below pytest's own summary: verdicts, requirements, waivers, what was run again, files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .requirements import counts

if TYPE_CHECKING:
    from .gates import Gates
    from .results import Case, Results

_ROWS = 30


def lines(headers: Sequence[str], results: Results, gates: Gates) -> Iterator[str]:
    """The lines of the summary; none if there is nothing to say."""
    found = ", ".join(f"{count} {word}" for word, count in results.counts().items())
    if len(headers) == 1:
        yield f"{headers[0]}: {found}"
    else:
        yield from headers
        yield f"verdicts: {found}" if headers else found
    yield from (f"{name}: {value}" for name, value in results.facts.items())
    unproven = [case.unproven for case in results.cases.values() if case.unproven]
    if unproven:
        tests = f"{len(unproven)} test{'s' if len(unproven) > 1 else ''}"
        yield f"inconclusive attempts that were run again: {sum(unproven)}, in {tests}"
    for case in results.cases.values():
        if case.attempts:
            yield f"run again: {case.nodeid}: {case.history()}"
            yield from _reasons(case)
        if case.waived:
            yield f"{case.nodeid}: {case.says}"
        if case.not_run.startswith("the run was ended in it") and case.text:
            yield f"{case.nodeid}: {case.text}"
    yield from _matrix(gates)
    yield from (f"note: {note}" for note in gates.notes)
    yield from (f"RED: {problem}" for problem in results.problems)
    yield from (f"{kind}: {path}" for kind, path in results.files.items())


def _reasons(case: Case) -> Iterator[str]:
    """Why the attempts proved nothing, a line for each."""
    for number, attempt in enumerate(case.attempts, 1):
        if attempt.verdict == "inconclusive":
            yield f"  attempt {number}: {attempt.text.partition(chr(10))[0]}"


def _matrix(gates: Gates) -> Iterator[str]:
    if gates.known is None:
        return
    rows = gates.rows
    yield "requirements: " + (", ".join(f"{count} {state}" for state, count in counts(rows).items()) or "none")
    shown = [row for row in rows if row.state != "passed" or row.note()]
    for row in shown[:_ROWS]:
        remark = f" ({note})" if (note := row.note()) else ""
        yield f"  {row.state:<13}{row.id}  {row.text}{remark}".rstrip()
    if len(shown) > _ROWS:
        yield f"  ... and {len(shown) - _ROWS} more"
