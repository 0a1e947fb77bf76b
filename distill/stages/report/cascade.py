"""What cascades came to, as the report shows it: who answers how many rows, what proves it, and
what it takes beside the teacher alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.core.cascades import CascadeCost


@dataclass(frozen=True)
class CascadeLine:
    """One cascade over one pool."""

    name: str
    lead: str
    rows: str
    sent: str
    to: str
    promised: str
    found: str
    cost: str


def cascade_lines(costs: Sequence[CascadeCost]) -> list[CascadeLine]:
    """Return a line a cascade and pool."""
    return [_line(each) for each in costs]


def _line(cost: CascadeCost) -> CascadeLine:
    result = cost.result
    threshold = result.threshold
    by_sets = threshold.by == "sets"
    what = "hold the truth" if by_sets else "right"
    found = f"{threshold.right:,} of {threshold.answered:,} labelled rows {what}"
    return CascadeLine(
        name=result.name,
        lead=f"{result.student}, over {result.pool}",
        rows=f"{result.rows:,}",
        sent=f"{100 * result.share_sent:.1f}%",
        to="nobody: they stay open" if result.to == "nobody" else result.to,
        promised=f"{result.at_least:g} at confidence {result.confidence:g}",
        found=f"{found}: {threshold.bound:.4g} is proven, from {threshold.threshold:.4g} on",
        cost=share_in_words(cost),
    )


def share_in_words(cost: CascadeCost) -> str:
    """Say what a cascade takes of what its teacher alone would."""
    if cost.share is None:
        return "not measured" if cost.result.to.startswith("labels.") else "no teacher"
    of = "money" if cost.is_money else "worker time"
    return f"{100 * cost.share:.3g}% of its {of}"
