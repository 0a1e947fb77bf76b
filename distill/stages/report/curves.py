"""How a student was learned: its loss by epoch, and what held-out rows said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.core.results import Evaluation, Group, MethodResult
from distill.stages.report.drawing import COLOURS, Chart, Mark, as_svg, few_ticks, new_figure
from distill.stages.report.groups import any_seeds, ranked_students, short_name

_MOST_PANELS = 9
_MOST_COLUMNS = 3
_LOSS_COLOUR = COLOURS[0]
_HELD_OUT_COLOUR = COLOURS[1]


def draw_curves(evaluation: Evaluation) -> Chart | None:
    """Draw small multiples; None where nothing was trained over several epochs."""
    # a panel each, since losses of other terms are other quantities
    trainings = _trainings(evaluation)
    groups = trainings[:_MOST_PANELS]
    if not groups:
        return None
    title = "Training loss"
    last = "; ".join(_describe(group) for group in groups)
    description = f"Loss by epoch, at the end: {last}"
    legend: Sequence[Mark] = ()
    caption = ""
    if len(groups) < len(trainings):
        caption += f"{len(groups)} of {len(trainings)} trainings, the best students first. "
    if any(_held_out(method) for group in groups for method in group.methods):
        training = Mark("training loss", _LOSS_COLOUR)
        held_out = Mark("held-out measure", _HELD_OUT_COLOUR, dashed=True)
        legend = (training, held_out)
        caption += "The dot is the epoch that was kept. "
    if any_seeds(groups):
        caption += "One line a seed. "
    if len(groups) > 1:
        caption += "Scales are not alike, since losses are not."
    figure = _figure(groups)
    svg = as_svg(figure, title=title, description=description)
    return Chart(title=title, svg=svg, legend=legend, caption=caption)


def _trainings(evaluation: Evaluation) -> list[Group]:
    """Return the groups that were trained over several epochs: label sets, then students, the best
    first. Heads of one student share a history and a panel."""
    label_sets = [group for group in evaluation.groups if group.role != "student"]
    by_history: dict[str, Group] = {}
    for group in [*label_sets, *ranked_students(evaluation)]:
        histories = [method.history for method in group.methods]
        # of a private training there are no losses: they would tell of its rows
        if any(len(history) > 1 and "loss" in history[0] for history in histories):
            # by its text, since lists of dictionaries have no hash
            key = repr(histories)
            by_history.setdefault(key, group)
    return list(by_history.values())


def _figure(groups: Sequence[Group]) -> Any:
    total = len(groups)
    columns = min(total, _MOST_COLUMNS)
    rows = -(-len(groups) // columns)
    several = columns > 1
    row_inches = 1.5 if several else 2.6
    height = 0.5 + row_inches * rows
    figure = new_figure(height)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    # the last row may have more panels than there are groups
    for panel, group in zip(panels, groups, strict=False):
        _draw_panel(panel, group)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    figure.supxlabel("epoch", fontsize=9)
    return figure


def _held_out(method: MethodResult) -> list[Mapping[str, Any]]:
    """Return the epochs that were measured on held-out rows."""
    return [epoch for epoch in method.history if "held_out" in epoch]


def _best_epoch(method: MethodResult) -> Mapping[str, Any] | None:
    better = [epoch for epoch in _held_out(method) if epoch["better"]]
    return better[-1] if better else None


def _describe(group: Group) -> str:
    history = group.first.history
    last = history[-1]
    text = f"{group.name} {last['loss']:.3g}"
    best = _best_epoch(group.first)
    if best is None:
        return text
    return f"{text} (held out {best['held_out']:.3g} at epoch {best['epoch']}, which was kept)"


def _draw_panel(panel: Any, group: Group) -> None:
    for method in group.methods:
        _draw_training(panel, method)
    name = short_name(group, between="\n", characters=26)
    panel.set_title(name, fontsize=7.5)
    panel.tick_params(labelsize=7)
    few_ticks(panel.xaxis, 4, whole=True)
    few_ticks(panel.yaxis, 4)
    panel.margins(x=0.03)


def _draw_training(panel: Any, method: MethodResult) -> None:
    epochs = [epoch["epoch"] for epoch in method.history]
    losses = [epoch["loss"] for epoch in method.history]
    panel.plot(epochs, losses, color=_LOSS_COLOUR, linewidth=1.1, alpha=0.85)
    best = _best_epoch(method)
    if best is None:
        return
    measured = _held_out(method)
    panel.plot(
        [epoch["epoch"] for epoch in measured],
        [epoch["held_out"] for epoch in measured],
        color=_HELD_OUT_COLOUR,
        linewidth=1.1,
        linestyle=(0, (3, 2)),
        alpha=0.85,
    )
    panel.plot(best["epoch"], best["held_out"], "o", color=_HELD_OUT_COLOUR, markersize=4)
