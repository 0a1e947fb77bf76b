"""One look for all charts: matplotlib figures as SVG that takes its ink from the page.

Ink and grid are CSS colours, so that a chart follows light, dark and paper. Legends are left to the
page, which wraps and escapes them better.
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

from distill.stages.report.measure import short_number

WIDTH_INCHES = 6.0
# told apart on white and on black
COLOURS = ("#3b74d9", "#d9822b", "#1f9e78", "#b5489f", "#7a6ff0", "#c94f4f", "#2a9db5", "#8a8f3c")
GREY = "#8b95a5"
MARKERS = {"teacher": "s", "labeler": "D", "student": "o"}

# colours that nothing else has, so that they can be found in the SVG and made CSS
_INK = "#010203"
_GRID = "#010204"
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
    # text stays text: set in the page's font, found by search
    "svg.fonttype": "none",
    "text.color": _INK,
    # a name may have dollar signs
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
    paired: bool = False  # stands beside the chart after it


@contextmanager
def house_style() -> Iterator[None]:
    """Make figures look alike that are made and saved inside; the caller's settings come back."""
    with mpl.rc_context(), warnings.catch_warnings():
        # the browser's fonts have what matplotlib's lack
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # whatever the caller has set would change the drawing, and the bytes of the page
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure(height_inches: float) -> Any:
    """Return an empty figure of the page's width."""
    size = (WIDTH_INCHES, height_inches)
    return Figure(figsize=size, layout="constrained")


def new_axes(height_inches: float, *, xlabel: str, ylabel: str) -> Any:
    """Return one pair of axes on a figure of its own."""
    figure = new_figure(height_inches)
    axes = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return axes


def few_ticks(axis: Any, count: int, *, whole: bool = False) -> None:
    """Set at most `count` ticks, at whole numbers where asked."""
    few = MaxNLocator(count, integer=whole)
    axis.set_major_locator(few)


def log_x(axes: Any, low: float, high: float) -> None:
    """Make x logarithmic, its ticks as people write them and denser over a short range."""
    axes.set_xscale("log")
    ratio = high / low
    between = (1.0,) if ratio > 300 else (1.0, 3.0)
    x = axes.xaxis
    locator = LogLocator(subs=between)
    x.set_major_locator(locator)
    if ratio < 8:
        few = MaxNLocator(4)
        x.set_major_locator(few)
    x.set_minor_locator(NullLocator())
    x.set_minor_formatter(NullFormatter())
    # matplotlib's own labels are mathtext, which the page shows as it stands
    x.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def as_svg(figure: Any, *, title: str, description: str) -> str:
    """Return the figure as an `<svg>` for HTML; `description` is for those who do not see it."""
    drawn = io.StringIO()
    # with the date, no two runs would write the same page
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # by this salt, ids differ between charts of one page and never between runs
    with mpl.rc_context({"svg.hashsalt": title}):
        figure.savefig(drawn, format="svg", transparent=True, metadata=no_metadata)
    text = drawn.getvalue()
    box = re.search(r'viewBox="([\d. ]+)"', text)
    assert box is not None
    body_start = text.index(">", box.end()) + 1
    # matplotlib names each group (`axes_1`), alike in all charts; nothing refers to these ids
    body = re.sub(r' id="[A-Za-z.]+(?:2d)?_\d+"', "", text[body_start:])
    for sentinel, colour in _CSS.items():
        body = body.replace(sentinel, colour)
    label = escape(description)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{label}">{body.strip()}'
