"""One look for all charts: matplotlib figures as SVG that takes its ink from the page.

Text stays text (set in the page's font, found by search), and ink and grid are CSS colours, so that
a chart follows light, dark and paper. Legends are left to the page, which wraps and escapes them
better. Names are never read as mathtext.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

WIDTH_INCHES = 6.0
COLOURS = ("#3b74d9", "#d9822b", "#1f9e78", "#b5489f", "#7a6ff0", "#c94f4f", "#2a9db5", "#8a8f3c")
"""Told apart on white and on black."""
GREY = "#8b95a5"
MARKERS = {"teacher": "s", "labeler": "D", "student": "o"}

_INK, _GRID = "#010203", "#010204"
_CSS = {_INK: "currentColor", _GRID: "var(--grid)"}
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "axes.titlesize": 9,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "text.color": _INK,
    "text.parse_math": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class Mark:
    """A line of a legend."""

    name: str
    colour: str
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture with its words. `svg` is safe to place as it is."""

    title: str
    svg: str
    legend: Sequence[Mark] = ()
    caption: str = ""
    paired: bool = False
    """Stands beside the chart after it."""


@contextmanager
def house_style() -> Iterator[None]:
    """Figures made and saved inside look alike; the caller's settings come back after it."""
    with mpl.rc_context(), warnings.catch_warnings():
        # the browser's fonts have what matplotlib's lack
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(height_inches: float) -> Any:
    """An empty figure of the page's width."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def new_axes(height_inches: float, *, xlabel: str, ylabel: str) -> Any:
    """One pair of axes on a figure of its own."""
    axes = new_figure(height_inches).subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return axes


def few_ticks(axis: Any, count: int, *, whole: bool = False) -> None:
    """At most `count` ticks, at whole numbers where asked."""
    axis.set_major_locator(MaxNLocator(count, integer=whole))


def log_x(axes: Any, low: float, high: float) -> None:
    """A logarithmic x with ticks as people write them (matplotlib's own are mathtext), denser over
    a short range."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 300 else (1.0, 3.0)))
    if high / low < 8:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """`3k`, `1.5M`, `0.03`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def as_svg(figure: Any, *, title: str, told: str) -> str:
    """The figure as an `<svg>` for HTML; `told` is what it says to those who do not see it."""
    drawn = io.StringIO()
    with mpl.rc_context(
        {"svg.hashsalt": title}
    ):  # ids differ between charts of one page, and never between runs
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    body = drawn.getvalue()
    box = re.search(r'viewBox="([\d. ]+)"', body)
    assert box is not None
    inner = re.sub(
        r' id="[A-Za-z.]+(?:2d)?_\d+"', "", body[body.index(">", box.end()) + 1 :]
    )  # names nobody refers to
    for sentinel, colour in _CSS.items():
        inner = inner.replace(sentinel, colour)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(told)}">{inner.strip()}'
