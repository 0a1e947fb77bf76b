"""Hours, bytes and dollars as people read them, and ranges of them."""

from __future__ import annotations

from collections.abc import Callable

from distill.core.costs import Range

_UNITS = ((1.0, "h"), (1 / 60, "min"), (1 / 3600, "s"))
_BYTES = ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB"))
UNKNOWN = "–"


def amount(found: Range | None, show: Callable[[float], str]) -> str:
    """Return a range, each end as `show` writes it."""
    if found is None:
        return UNKNOWN
    if found.high is None:
        return f"≥ {show(found.low)}" if found.low else UNKNOWN
    low = show(found.low)
    high = show(found.high)
    return low if low == high else f"{low} – {high}"


def duration(hours: float) -> str:
    """Return hours in the unit that fits."""
    if not hours:
        return "0"
    for least, unit in _UNITS:
        if hours >= least:
            return f"{hours / least:,.3g} {unit}"
    return f"{hours * 3600:.2g} s"


def size(count: float) -> str:
    """Return bytes in the unit that fits."""
    for power, unit in _BYTES:
        if count >= 1000**power:
            return f"{count / 1000**power:.3g} {unit}"
    return f"{count:.0f} B"


def money(dollars: float) -> str:
    """Return dollars, of small sums what is not zero."""
    return f"${dollars:,.2f}" if dollars >= 1 or not dollars else f"${dollars:.2g}"
