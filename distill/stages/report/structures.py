"""What was found without labels, drawn: the variance that components explain, how a fit came to
rest, the pool in two dimensions, and a self-organising map.

Colours tell the eight largest clusters (or most frequent classes) apart, and the rest is grey: more
colours than that nobody tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch, RegularPolygon

from distill.core.structure_results import Grid, StructureResult
from distill.stages.report.drawing import (
    COLOURS,
    GREY,
    Chart,
    Mark,
    as_svg,
    few_ticks,
    house_style,
    new_axes,
)
from distill.stages.report.groups import clipped

# what a fit lowers, pass by pass, and how an axis calls it
_PASS_MEASURES = {"inertia": "inertia a row", "quantization_error": "quantization error"}
_NAME_CHARACTERS = 24
# between the middles of two rows of hexagons, where their middles in a row are 1 apart
_HEX_HEIGHT = 3**0.5 / 2
_PALEST = 0.04
_DEEPEST = 0.95


def draw_structure(result: StructureResult) -> list[Chart]:
    """Draw all charts that the structure has data for."""
    with house_style():
        variance = _explained(result)
        charts = [variance, _passes(result), _elbow(result), *_samples(result), *_maps(result)]
    return [chart for chart in charts if chart is not None]


def _explained(result: StructureResult) -> Chart | None:
    """Variance by component; None but of a PCA."""
    if not result.explained:
        return None
    shares = [100 * share for share in result.explained]
    sums = accumulate(shares)
    cumulated = list(sums)
    numbers = range(1, len(shares) + 1)
    axes = new_axes(3.2, xlabel="component", ylabel="variance explained, %")
    axes.bar(numbers, shares, color=COLOURS[0], width=0.8)
    axes.plot(numbers, cumulated, color=COLOURS[1], linewidth=1.6)
    axes.set_ylim(0, 102)
    few_ticks(axes.xaxis, 8, whole=True)
    title = f"{result.name}: variance explained"
    text = f"{len(shares)} components explain {cumulated[-1]:.1f}% of the variance"
    return Chart(
        title=title,
        svg=as_svg(axes.figure, title=title, description=text),
        legend=[Mark("each component", COLOURS[0]), Mark("up to it", COLOURS[1])],
        caption=f"{text}; the first alone {shares[0]:.1f}%.",
    )


def _passes(result: StructureResult) -> Chart | None:
    """What the fit lowered, pass by pass; None where a fit is one pass."""
    for measure, name in _PASS_MEASURES.items():
        values = [each[measure] for each in result.passes if measure in each]
        if len(values) > 1:
            return _pass_chart(result, name, values)
    return None


def _pass_chart(result: StructureResult, name: str, values: Sequence[float]) -> Chart:
    axes = new_axes(2.6, xlabel="pass over the pool", ylabel=name)
    axes.plot(range(1, len(values) + 1), values, color=COLOURS[0], marker="o", markersize=3)
    few_ticks(axes.xaxis, 8, whole=True)
    title = f"{result.name}: how the fit came to rest"
    text = f"{name.capitalize()} {values[0]:.4g} at first, {values[-1]:.4g} at the end"
    svg = as_svg(axes.figure, title=title, description=text)
    return Chart(title=title, svg=svg, caption=f"{text}, in {len(values)} passes.")


def _elbow(result: StructureResult) -> Chart | None:
    """Inertia over the number of clusters; None but of a k-means."""
    if len(result.elbow) < 2:
        return None
    numbers = [each[0] for each in result.elbow]
    inertia = [each[1] for each in result.elbow]
    axes = new_axes(2.6, xlabel="clusters", ylabel="inertia a row")
    axes.plot(numbers, inertia, color=COLOURS[0], marker="o", markersize=3)
    axes.set_ylim(0, None)
    legend = []
    if result.all_clusters <= numbers[-1]:
        axes.axvline(result.all_clusters, color=COLOURS[1], linewidth=1.2)
        legend.append(Mark(f"the {result.all_clusters:,} of this structure", COLOURS[1]))
    title = f"{result.name}: inertia over the number of clusters"
    text = f"Inertia {inertia[0]:.4g} of one cluster, {inertia[-1]:.4g} of {numbers[-1]:,.0f}"
    return Chart(
        title=title,
        svg=as_svg(axes.figure, title=title, description=text),
        legend=legend,
        caption=f"{text}, on rows drawn from {result.pool}. Where the line bends, more clusters"
        " stop to tell rows apart.",
    )


def _samples(result: StructureResult) -> Iterator[Chart]:
    """The pool in two dimensions, by cluster and, where the target is known, by class."""
    sample = result.sample
    if sample is None:
        return
    largest = [cluster.number for cluster in result.clusters]
    if largest:
        clusters = {number: f"cluster {number}" for number in largest}
        total = max(result.all_clusters, len(largest))
        yield _sample_chart(result, "clusters", sample.cluster, clusters, total)
    if not result.classes:
        return
    numbered = enumerate(result.classes)
    classes = dict(numbered)
    yield _sample_chart(result, "classes", sample.target, classes, len(classes))


def _sample_chart(
    result: StructureResult,
    what: str,
    numbers: Sequence[int],
    names: dict[int, str],
    total: int,
) -> Chart:
    """Rows by what they belong to, of `total` such; those without a name are grey."""
    assert result.sample is not None
    coloured = dict(zip(names, COLOURS, strict=False))
    points = list(zip(result.sample.x, result.sample.y, numbers, strict=True))
    axes = new_axes(4.6, xlabel="first axis", ylabel="second axis")
    # the grey ones first, so that they lie below
    for number, colour in [(None, GREY), *coloured.items()]:
        chosen = [point for point in points if _group(point[2], coloured) == number]
        xs = [x for x, _, _ in chosen]
        ys = [y for _, y, _ in chosen]
        axes.plot(xs, ys, linestyle="none", marker=".", markersize=3, color=colour, alpha=0.6)
    title = f"{result.name}: the pool by {what}"
    legend = [
        Mark(clipped(names[number], _NAME_CHARACTERS), coloured[number]) for number in coloured
    ]
    others = total - len(coloured)
    if others:
        legend.append(Mark(f"{others:,} others", GREY))
    text = f"{len(points):,} rows drawn from {result.pool}"
    axes_of = "of the centres" if result.clusters else "of the pool"
    description = f"{text}, in two dimensions, coloured by {what}"
    return Chart(
        title=title,
        svg=as_svg(axes.figure, title=title, description=description),
        legend=legend,
        caption=f"{text}, on the first two principal axes {axes_of}.",
    )


def _group(number: int, coloured: dict[int, str]) -> int | None:
    is_coloured = number in coloured
    return number if is_coloured else None


def _maps(result: StructureResult) -> Iterator[Chart]:
    """U-matrix, hits and, where the target is known, the most frequent class of each unit."""
    grid = result.grid
    if grid is None:
        return
    highest = max(grid.distances)
    far = [distance / highest if highest else 0.0 for distance in grid.distances]
    ridges = "The deeper a unit, the further it is from its neighbours: ridges part regions."
    yield _depth_chart(result, grid, "U-matrix", far, ridges)
    most = max(grid.hits)
    full = [hits / most if most else 0.0 for hits in grid.hits]
    empty = sum(not hits for hits in grid.hits)
    note = f"The deeper a unit, the more rows it has; at most {most:,}. {empty} units have none."
    yield _depth_chart(result, grid, "rows a unit", full, note)
    if result.classes:
        yield _class_chart(result, grid)


def _depth_chart(
    result: StructureResult, grid: Grid, what: str, depths: Sequence[float], note: str
) -> Chart:
    red, green, blue = to_rgb(COLOURS[0])
    span = _DEEPEST - _PALEST
    colours = [(red, green, blue, _PALEST + span * depth) for depth in depths]
    return _map_chart(result, grid, what, colours, note=note)


def _class_chart(result: StructureResult, grid: Grid) -> Chart:
    classes = {}
    for cluster in result.clusters:
        if cluster.classes:
            classes[cluster.number] = next(iter(cluster.classes))
    frequent = _by_frequency(result)
    colour_of = dict(zip(frequent, COLOURS, strict=False))
    colours = []
    for unit in range(len(grid.hits)):
        name = classes.get(unit)
        colour = colour_of.get(name, GREY) if name is not None else GREY
        # an empty unit has no class: as pale as the page
        is_named = name is not None
        alpha = 0.85 if is_named else _PALEST
        colours.append((*to_rgb(colour), alpha))
    legend = [Mark(clipped(name, _NAME_CHARACTERS), colour_of[name]) for name in colour_of]
    others = len(frequent) - len(colour_of)
    if others:
        legend.append(Mark(f"{others} others", GREY))
    note = "The most frequent class of each unit's rows."
    return _map_chart(result, grid, "classes", colours, note=note, legend=legend)


def _by_frequency(result: StructureResult) -> list[str]:
    """The classes that rows have, the most frequent first."""
    totals = dict.fromkeys(result.classes, 0)
    for cluster in result.clusters:
        for name, rows in cluster.classes.items():
            totals[name] += rows
    found = [name for name, rows in totals.items() if rows]
    return sorted(found, key=lambda name: -totals[name])


def _map_chart(
    result: StructureResult,
    grid: Grid,
    what: str,
    colours: Sequence[tuple[float, ...]],
    *,
    note: str,
    legend: Sequence[Mark] = (),
) -> Chart:
    height = 0.8 + 5.0 * grid.rows / max(grid.columns, grid.rows)
    axes = new_axes(height, xlabel="", ylabel="")
    patches = _hexagons(grid) if grid.hexagonal else _squares(grid)
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()
    title = f"{result.name}: {what}"
    description = f"Map of {grid.rows} × {grid.columns} units, {what}. {note}"
    svg = as_svg(axes.figure, title=title, description=description)
    return Chart(title=title, svg=svg, legend=legend, caption=note)


def _hexagons(grid: Grid) -> list[Patch]:
    """Units whose every second row is shifted by half a unit."""
    patches: list[Patch] = []
    for row in range(grid.rows):
        for column in range(grid.columns):
            middle = (column + 0.5 * (row % 2), -row * _HEX_HEIGHT)
            patches.append(RegularPolygon(middle, 6, radius=0.56))
    return patches


def _squares(grid: Grid) -> list[Patch]:
    patches: list[Patch] = []
    for row in range(grid.rows):
        for column in range(grid.columns):
            # a square's radius is half its diagonal; its corner points right unless it is turned
            square: Any = RegularPolygon((column, -row), 4, radius=0.68, orientation=0.7853981634)
            patches.append(square)
    return patches
