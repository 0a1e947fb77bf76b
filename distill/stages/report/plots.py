"""The charts of a report, each drawn only where its data is there: who is how good, at what cost,
how sure, how learned, how confused.

A chart never shows more than can be read; its caption says what was left out. Every chart has its
figures in words beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.results import MEASURES, SHARES, Evaluation, Group, MethodResult, shown_value
from distill.stages.report.confusion import draw_confusions
from distill.stages.report.drawing import (
    COLOURS,
    GREY,
    MARKERS,
    Chart,
    Mark,
    as_svg,
    few_ticks,
    house_style,
    log_x,
    new_axes,
    new_figure,
)
from distill.stages.report.groups import ranked_students, selected, short_name, told_selection
from distill.stages.report.measure import axis_name, full_name, scale, told
from distill.stages.report.sweeps import draw_sweeps

_BARS, _COLOURED, _RELIABLE, _CURVES = 12, 8, 6, 9
_CURVE_COLUMNS = 3
_SPLIT = ("accuracy", "accuracy_seen", "accuracy_unseen")


def draw_charts(evaluation: Evaluation) -> list[Chart]:
    """All charts that the evaluation has data for, in the order of the page."""
    with house_style():
        single = [
            _comparison(evaluation),
            _cost(evaluation),
            _reliability(evaluation),
            _curves(evaluation),
        ]
        drawn = [chart for chart in single if chart is not None]
        return [*drawn[:2], *draw_sweeps(evaluation), *drawn[2:], *draw_confusions(evaluation)]


def _colours(evaluation: Evaluation) -> dict[str, str]:
    """One colour a group, the same in every chart; groups beyond them are grey."""
    return {
        group.name: colour
        for group, colour in zip(selected(evaluation, _COLOURED), COLOURS, strict=False)
    }


def _comparison(evaluation: Evaluation) -> Chart | None:
    groups = [
        group
        for group in selected(evaluation, _BARS)
        if group.mean(evaluation.main_measure) is not None
    ]
    if not groups:
        return None
    parts = _SPLIT if "accuracy_unseen" in evaluation.shown else (evaluation.main_measure,)
    axes = new_axes(
        0.7 + len(groups) * (0.16 * len(parts) + 0.14), xlabel=axis_name(parts[0]), ylabel=""
    )
    for number, measure in enumerate(parts):
        _bars(axes, groups, measure, (number, len(parts)))
    axes.set_yticks(
        range(len(groups)),
        [short_name(group, between="\n", characters=30) for group in groups],
        fontsize=8,
    )
    axes.set_ylim(len(groups) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, max(text.xy[0] for text in axes.texts) * 1.14 or 1)
    if parts[0] in SHARES:
        axes.set_xticks(range(0, 101, 20))
    title = (
        "All, seen and unseen classes" if len(parts) > 1 else f"Comparison by {axis_name(parts[0])}"
    )
    return Chart(
        title=title,
        svg=as_svg(
            axes.figure, title=title, told="; ".join(told(group, parts) for group in groups)
        ),
        legend=(
            [Mark(MEASURES[part], COLOURS[number]) for number, part in enumerate(parts)]
            if len(parts) > 1
            else ()
        ),
        caption=f"{_pale(groups)}{told_selection(evaluation, groups)}",
    )


def _pale(groups: Sequence[Group]) -> str:
    return "Paler: not students. " * (len({group.role == "student" for group in groups}) > 1)


def _bars(axes: Any, groups: Sequence[Group], measure: str, place: tuple[int, int]) -> None:
    """One bar a group, `place[0]` of `place[1]` beside each other, with spread and figure at its
    end."""
    number, total = place
    height = 0.78 / total
    for row, group in enumerate(groups):
        mean, spread = group.mean(measure), group.spread(measure)
        if mean is None:
            continue
        y, long = row + (number - (total - 1) / 2) * height, mean * scale(measure)
        wide = (spread or 0) * scale(measure)
        axes.barh(
            y,
            long,
            height * 0.88,
            color=COLOURS[number],
            alpha=1 if group.role == "student" else 0.6,
        )
        if spread is not None:
            axes.errorbar(
                long,
                y,
                xerr=wide,
                fmt="none",
                ecolor=axes.xaxis.label.get_color(),
                elinewidth=0.8,
                capsize=1.5,
            )
        said = shown_value(measure, mean)
        axes.annotate(
            said,
            (long + wide, y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )


def _cost(evaluation: Evaluation) -> Chart | None:
    """Against parameters; against time where sizes say nothing."""
    measure = evaluation.main_measure
    groups = [group for group in evaluation.groups if group.mean(measure) is not None]
    sized = [group for group in groups if group.methods[0].parameters]
    if len({group.methods[0].parameters for group in sized}) < 2:
        sized, against = (
            [group for group in groups if group.methods[0].milliseconds_per_row > 0],
            "ms/row",
        )
    else:
        against = "parameters"
    if len(sized) < 2:
        return None
    colours = _colours(evaluation)
    axes = new_axes(3.6, xlabel=f"{against} (log)", ylabel=axis_name(measure))
    amounts = [_amount(group, against) for group in sized]
    log_x(axes, min(amounts), max(amounts))
    axes.margins(0.12)
    for group in sorted(sized, key=lambda group: group.name in colours):
        _point(axes, group, measure, against, colours.get(group.name, GREY))
    name = full_name(measure)
    title = f"{name[0].upper()}{name[1:]} against {against}"
    others = sum(group.name not in colours for group in sized)
    missing = len(groups) - len(sized)
    return Chart(
        title=title,
        svg=as_svg(
            axes.figure,
            title=title,
            told="; ".join(
                f"{told(group, [measure])} at {_amount(group, against):,.4g} {against}"
                for group in sized
            ),
        ),
        legend=[
            Mark(short_name(group), colours[group.name]) for group in sized if group.name in colours
        ]
        + [Mark(f"{others} others", GREY)] * (others > 0),
        caption=f"{missing} without a known number of parameters are not shown." if missing else "",
    )


def _amount(group: Group, against: str) -> float:
    first = group.methods[0]
    return float(first.parameters or 0) if against == "parameters" else first.milliseconds_per_row


def _point(axes: Any, group: Group, measure: str, against: str, colour: str) -> None:
    mean, spread = group.mean(measure), group.spread(measure)
    assert mean is not None
    size = 5 if colour == GREY else 8
    axes.errorbar(
        _amount(group, against),
        mean * scale(measure),
        yerr=None if spread is None else spread * scale(measure),
        fmt=MARKERS.get(group.role, "o"),
        color=colour,
        markersize=size,
        elinewidth=1,
        alpha=0.9,
    )


def _reliability(evaluation: Evaluation) -> Chart | None:
    groups = [group for group in selected(evaluation, _RELIABLE) if group.methods[0].reliability]
    if not groups:
        return None
    colours = _colours(evaluation)
    axes = new_axes(4.2, xlabel="confidence, %", ylabel="accuracy, %")
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for group in groups:
        bins = group.methods[0].reliability
        axes.plot(
            [100 * each["confidence"] for each in bins],
            [100 * each["accuracy"] for each in bins],
            color=colours[group.name],
            marker=MARKERS.get(group.role, "o"),
            markersize=4,
            linewidth=1.4,
        )
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    title = "How far confidence can be trusted"
    said = "; ".join(told(group, ["calibration_error"]) for group in groups)
    first = "First seed of each. " * any(len(group.methods) > 1 for group in groups)
    return Chart(
        title=title,
        svg=as_svg(
            axes.figure,
            title=title,
            told=f"Accuracy by confidence; expected calibration error: {said}",
        ),
        legend=[Mark(short_name(group), colours[group.name]) for group in groups],
        caption=(
            "On the dashed line, confidence is right; below it, too high."
            f" {first}{told_selection(evaluation, groups)}"
        ),
    )


def _curves(evaluation: Evaluation) -> Chart | None:
    """Small multiples, since losses of other terms are other quantities. Heads of one student share
    a history and a panel."""
    learned: dict[str, Group] = {}
    ordered = [
        *[group for group in evaluation.groups if group.role != "student"],
        *ranked_students(evaluation),
    ]
    for group in ordered:
        if any(len(method.history) > 1 for method in group.methods):
            learned.setdefault(repr([method.history for method in group.methods]), group)
    groups = list(learned.values())[:_CURVES]
    if not groups:
        return None
    columns = min(len(groups), _CURVE_COLUMNS)
    rows = -(-len(groups) // columns)
    figure = new_figure(0.5 + (1.5 if columns > 1 else 2.6) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, group in zip(panels, groups, strict=False):
        _panel(panel, group)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    figure.supxlabel("epoch", fontsize=9)
    title = "Training loss"
    last = "; ".join(
        f"{group.name} {group.methods[0].history[-1]['loss']:.3g}{_told_best(group)}"
        for group in groups
    )
    measured = any(_held_out(method) for group in groups for method in group.methods)
    left = f"{len(groups)} of {len(learned)} trainings, the best students first. " * (
        len(groups) < len(learned)
    )
    return Chart(
        title=title,
        svg=as_svg(figure, title=title, told=f"Loss by epoch, at the end: {last}"),
        legend=(
            [Mark("training loss", COLOURS[0]), Mark("held-out measure", COLOURS[1], dashed=True)]
            if measured
            else ()
        ),
        caption=left + "The dot is the epoch that was kept. " * measured + _told_lines(groups),
    )


def _held_out(method: MethodResult) -> list[Mapping[str, Any]]:
    """The epochs that were measured on held-out rows."""
    return [each for each in method.history if "held_out" in each]


def _best(method: MethodResult) -> Mapping[str, Any] | None:
    return next((each for each in reversed(_held_out(method)) if each["better"]), None)


def _told_best(group: Group) -> str:
    best = _best(group.methods[0])
    return (
        f" (held out {best['held_out']:.3g} at epoch {best['epoch']}, which was kept)"
        if best
        else ""
    )


def _told_lines(groups: Sequence[Group]) -> str:
    seeds = "One line a seed. " * any(len(group.methods) > 1 for group in groups)
    return seeds + "Scales are not alike, since losses are not." * (len(groups) > 1)


def _panel(panel: Any, group: Group) -> None:
    for method in group.methods:
        epochs = [each["epoch"] for each in method.history]
        panel.plot(
            epochs,
            [each["loss"] for each in method.history],
            color=COLOURS[0],
            linewidth=1.1,
            alpha=0.85,
        )
        measured, best = _held_out(method), _best(method)
        marks = [(each["epoch"], each["held_out"]) for each in measured]
        if best is not None:
            panel.plot(
                *zip(*marks, strict=True),
                color=COLOURS[1],
                linewidth=1.1,
                linestyle=(0, (3, 2)),
                alpha=0.85,
            )
            panel.plot(best["epoch"], best["held_out"], "o", color=COLOURS[1], markersize=4)
    panel.set_title(short_name(group, between="\n", characters=26), fontsize=7.5)
    panel.tick_params(labelsize=7)
    few_ticks(panel.xaxis, 4, whole=True)
    few_ticks(panel.yaxis, 4)
    panel.margins(x=0.03)
