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

_CLASSES, _FIGURED = 30, 12
_DEEPEST = 0.9
_NAME_CHARACTERS = 14
_ROOM_CHARACTERS = 60
"""Fit below a matrix side by side."""


def draw_confusions(evaluation: Evaluation) -> list[Chart]:
    """Up to two charts; none for many classes, which nobody could read."""
    pair = [
        ("Teacher", teacher_of(evaluation)),
        ("Best student", next(iter(ranked_students(evaluation)), None)),
    ]
    if len(evaluation.classes) > _CLASSES:
        return []
    return [
        _chart(evaluation.classes, role, group, group.methods[0].confusion)
        for role, group in pair
        if group is not None and group.methods[0].confusion is not None
    ]


def _chart(
    classes: Sequence[str], role: str, group: Group, counts: Sequence[Sequence[int]]
) -> Chart:
    axes = new_axes(5.2, xlabel="answer", ylabel="truth")
    _cells(axes, counts)
    names, size = (
        [clipped(name, _NAME_CHARACTERS) for name in classes],
        (8 if len(classes) <= _FIGURED else 6.5),
    )
    steep = max(map(len, names)) * len(names) > _ROOM_CHARACTERS
    axes.set_xticks(range(len(names)), names, rotation=90 if steep else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    title = f"{role}: what is taken for what"
    first = " First seed." * (len(group.methods) > 1)
    return Chart(
        title=title,
        svg=as_svg(
            axes.figure,
            title=title,
            told=f"Confusion matrix of {group.name}. {_worst(classes, counts)}",
        ),
        paired=True,
        caption=(
            f"{short_name(group)}. The deeper, the larger the share of the true class's"
            f" rows.{first} {_worst(classes, counts)}"
        ),
    )


def _cells(axes: Any, counts: Sequence[Sequence[int]]) -> None:
    """Filled where there are rows. Figures are row counts."""
    rgb = to_rgb(COLOURS[0])
    patches, colours = [], []
    for truth, row in enumerate(counts):
        for answer, count in enumerate(row):
            if not count:
                continue
            share = count / sum(row)
            patches.append(Rectangle((answer - 0.47, truth - 0.47), 0.94, 0.94))
            colours.append((*rgb, 0.08 + (_DEEPEST - 0.08) * share))
            if len(counts) <= _FIGURED:
                ink = {"color": "#ffffff"} if share > 0.5 else {}
                axes.text(answer, truth, f"{count}", ha="center", va="center", fontsize=7.5, **ink)
    axes.add_collection(PatchCollection(patches, facecolors=colours, linewidths=0))


def _worst(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The most frequent mistake."""
    mistakes = [
        (count, classes[truth], classes[answer])
        for truth, row in enumerate(counts)
        for answer, count in enumerate(row)
        if truth != answer
    ]
    count, truth, answer = max(mistakes, key=lambda each: each[0], default=(0, "", ""))
    return f"Most often mistaken: {truth} for {answer}, {count:,} rows." if count else "No mistake."
