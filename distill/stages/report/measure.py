"""Measures as charts show them."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.results import LOWER_IS_BETTER, MEASURES, SHARES, Group, shown_value


def full_name(measure: str) -> str:
    """A measure's name where it stands alone: `all` is clear only beside `seen`."""
    return "accuracy" if measure == "accuracy" else MEASURES[measure]


def axis_name(measure: str) -> str:
    """Name, unit, and the better direction where it is not up."""
    return (
        full_name(measure)
        + ", %" * (measure in SHARES)
        + " (lower is better)" * (measure in LOWER_IS_BETTER)
    )


def scale(measure: str) -> float:
    """Shares are drawn in percent."""
    return 100.0 if measure in SHARES else 1.0


def told(group: Group, measures: Sequence[str]) -> str:
    """`combined: all 93.1 ± 0.4%, seen 95.0%`."""
    said = [
        f"{MEASURES[name] if len(measures) > 1 else ''}"
        f" {shown_value(name, group.mean(name), group.spread(name))}{'%' * (name in SHARES)}".strip()
        for name in measures
    ]
    return f"{group.name}: {', '.join(said)}"
