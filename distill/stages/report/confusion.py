"""What is taken for what: teacher and best student, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from distill.core.results import Evaluation, Group
from distill.stages.report.drawing import COLOURS, Chart, as_svg, new_axes
from distill.stages.report.groups import clipped, ranked_students, short_name, teacher_of

_MOST_CLASSES = 30
_MOST_FIGURED = 12  # classes up to which cells have their counts written in
_PALEST = 0.08
_DEEPEST = 0.9
_NAME_CHARACTERS = 14
_ROOM_CHARACTERS = 60  # fit below a matrix side by side

Counts = Sequence[Sequence[int]]  # rows by true class and chosen class


def draw_confusions(evaluation: Evaluation) -> list[Chart]:
    """Draw up to two charts; none for many classes, which nobody could read."""
    if len(evaluation.classes) > _MOST_CLASSES:
        return []
    students = ranked_students(evaluation)
    best = students[0] if students else None
    charts = []
    for role, group in (("Teacher", teacher_of(evaluation)), ("Best student", best)):
        if group is not None and group.first.confusion is not None:
            chart = _chart(evaluation.classes, role, group, group.first.confusion)
            charts.append(chart)
    return charts


def _chart(classes: Sequence[str], role: str, group: Group, counts: Counts) -> Chart:
    axes = new_axes(5.2, xlabel="answer", ylabel="truth")
    _draw_cells(axes, counts)
    _name_classes(axes, classes)
    title = f"{role}: what is taken for what"
    mistake = _most_frequent_mistake(classes, counts)
    description = f"Confusion matrix of {group.name}. {mistake}"
    first_seed = " First seed." if len(group.methods) > 1 else ""
    return Chart(
        title=title,
        svg=as_svg(axes.figure, title=title, description=description),
        paired=True,
        caption=(
            f"{short_name(group)}."
            " The deeper, the larger the share of the true class's rows."
            f"{first_seed} {mistake}"
        ),
    )


def _name_classes(axes: Any, classes: Sequence[str]) -> None:
    count = len(classes)
    names = [clipped(name, _NAME_CHARACTERS) for name in classes]
    few = count <= _MOST_FIGURED
    size = 8 if few else 6.5
    longest = max(map(len, names))
    needed = longest * count
    is_steep = needed > _ROOM_CHARACTERS
    rotation = 90 if is_steep else 0
    places = range(count)
    axes.set_xticks(places, names, rotation=rotation, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.set_xlim(-0.5, count - 0.5)
    # downwards, as one reads a matrix
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def _draw_cells(axes: Any, counts: Counts) -> None:
    """Fill the cells that have rows; write their counts in where there is room."""
    red, green, blue = to_rgb(COLOURS[0])
    patches = []
    colours = []
    for truth, row in enumerate(counts):
        for chosen, count in enumerate(row):
            if not count:
                continue
            total = sum(row)
            share = count / total
            depth = _PALEST + (_DEEPEST - _PALEST) * share
            patches.append(Rectangle((chosen - 0.47, truth - 0.47), 0.94, 0.94))
            colours.append((red, green, blue, depth))
            if len(counts) <= _MOST_FIGURED:
                ink = {"color": "#ffffff"} if share > 0.5 else {}
                axes.text(chosen, truth, f"{count}", ha="center", va="center", fontsize=7.5, **ink)
    cells = PatchCollection(patches, facecolors=colours, linewidths=0)
    axes.add_collection(cells)


def _most_frequent_mistake(classes: Sequence[str], counts: Counts) -> str:
    most = 0
    text = "No mistake."
    for truth, row in enumerate(counts):
        for chosen, count in enumerate(row):
            if truth != chosen and count > most:
                most = count
                names = f"{classes[truth]} for {classes[chosen]}"
                text = f"Most often mistaken: {names}, {count:,} rows."
    return text
