"""One thing that `fieldrig check` found out about a bench."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        what: ``link``, ``port``, ``broker``, ``certificate``, ``device``, ``identity``, ``power``, ..
        name: of which.
        verdict: ``ok``, ``warning``, ``problem``, or a state: ``emulated``, ``not run``.
        says: where it is, what it said, or what is wrong.
        hint: a known remedy.
    """

    what: str
    name: str
    verdict: str
    says: str
    hint: str = ""
