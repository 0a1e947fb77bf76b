"""Labelling on 1 to 1,000 GPUs, on paper: how near to linear, what binds first, and what helps.

A simulation of events (`simulation/model.py`) with what `calibrate` measured of distill, and what
others publish of S3, spot machines and labelers (`simulation/published.py`). It is held against
closed forms and a labelling here (`test_simulation.py`), and against Ray's workers (`scaling`).

Efficiency is the time that GPUs which do nothing but label would take, over the time from the
workers' start to the last commit. What comes before (listing, footers, the plan) is told apart;
what nodes take to come is not counted, since nobody pays for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.simulation import published
from tests.benchmarks.simulation.costs import MEASURED, Costs, read_costs
from tests.benchmarks.simulation.model import simulate
from tests.benchmarks.simulation.study import (
    FILE_ROWS,
    FRAGMENT_ROWS,
    LINEAR,
    Studied,
    labelling,
    remedies,
    studied,
    study,
)
from tests.benchmarks.tables import markdown, options, show

ROWS = (1_000_000_000, 10_000_000_000)
GPUS = (1, 10, 100, 300, 1_000)
_MOST = 1_000
_PLOT_COLOURS = ("#3b74d9", "#d9822b", "#1f9e78", "#b5489f", "#c94f4f")


def main(arguments: list[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--costs", type=Path, default=MEASURED, help="what `calibrate` has written")
    parser.add_argument("--plot", type=Path, help="write the picture here (SVG or PNG)")
    told = parser.parse_args(arguments)
    costs = read_costs(told.costs)
    rows = (10_000_000, 100_000_000) if told.quick else ROWS
    gpus = (1, 10, 100) if told.quick else GPUS
    done = []
    for each in study(costs, published.ROWS_A_SECOND, rows, gpus):
        print(each.labeler, each.case.rows, each.case.gpus, each.outcome, file=sys.stderr)
        done.append(each)
    most = max(gpus)
    helped = {
        labeler: {
            name: simulate(case, costs)
            for name, case in remedies(labelling(labeler, rows[-1], most), most).items()
        }
        for labeler in _far_from_linear(done, rows[-1], most)
    }
    losses = _losses(costs, rows[0], most)
    parts = [
        _said(costs, told.costs),
        _linear_table(done, rows, gpus),
        _helped_table(helped, rows[-1], most),
        losses,
        _start_table(costs, rows, most),
    ]
    measured = [
        {"labeler": each.labeler, "case": asdict(each.case), **asdict(each.outcome)}
        for each in done
    ]
    show(told, "Labelling on a thousand GPUs, simulated", parts, measured)
    if told.plot:
        draw(done, helped, told.plot)


def _far_from_linear(done: Sequence[Studied], rows: int, gpus: int) -> list[str]:
    return [
        each.labeler
        for each in done
        if each.case.rows == rows and each.case.gpus == gpus and each.outcome.efficiency < LINEAR
    ]


def _said(costs: Costs, path: Path) -> str:
    return (
        f"Fragments of {FRAGMENT_ROWS:,} rows, files of {FILE_ROWS:,}; one driver; 8 CPUs a GPU; one"
        f" prefix of {published.PUTS_A_SECOND:,.0f} PUT and {published.GETS_A_SECOND:,.0f} GET a"
        f" second, {1000 * published.REQUEST_SECONDS:.0f} ms a request; 20% of the machines lost a"
        f" month. Measured ({path.name}): driver {1000 * costs.driver_fragment_seconds:.2g} ms a"
        f" fragment, worker {1000 * costs.worker_fragment_seconds:.2g} ms a fragment and"
        f" {1e6 * costs.worker_row_seconds:.2g} µs a row, {1000 * costs.image_seconds:.2g} ms an"
        f" image, {costs.gets:.3g} GET and {costs.puts:.3g} PUT a fragment."
    )


def _linear_table(done: Sequence[Studied], rows: Sequence[int], gpus: Sequence[int]) -> str:
    heads = ["labeler (rows/s a GPU)", "rows", *(f"{count:,} GPUs" for count in gpus), "binds"]
    lines = []
    for labeler, speed in published.ROWS_A_SECOND.items():
        for number in rows:
            found = [
                each.outcome
                for each in done
                if each.labeler == labeler and each.case.rows == number
            ]
            shares = [f"{outcome.efficiency:.3f}" for outcome in found]
            lines.append(
                [f"{labeler} ({speed:,.0f})", f"{number:,}", *shares, _binding(found[-1].busy)]
            )
    return f"Efficiency, and what has least to spare at the most GPUs:\n\n{markdown(heads, lines)}"


def _binding(busy: Mapping[str, float]) -> str:
    name = max(busy, key=lambda each: busy[each])
    others = {each: share for each, share in busy.items() if each not in (name, "GPU")}
    next_name = max(others, key=lambda each: others[each])
    return f"{name} {busy[name]:.0%}, then {next_name} {busy[next_name]:.1%}"


def _helped_table(helped: Mapping[str, Mapping[str, Any]], rows: int, gpus: int) -> str:
    lines = [
        [labeler, name, f"{outcome.efficiency:.3f}", _binding(outcome.busy)]
        for labeler, cases in helped.items()
        for name, outcome in cases.items()
    ]
    table = markdown(["labeler", "how", "efficiency", "binds"], lines)
    return f"Further from linear than a tenth, {rows:,} rows on {gpus:,} GPUs:\n\n{table}"


def _losses(costs: Costs, rows: int, gpus: int) -> str:
    labelers = ("embedding of a page", "image, ViT-B/16")
    lines = []
    for labeler in labelers:
        for name, rate in published.LOSSES.items():
            case = replace(labelling(labeler, rows, gpus), losses_an_hour=rate)
            outcome = simulate(case, costs)
            lines.append(
                [labeler, name, f"{outcome.efficiency:.3f}", outcome.lost, outcome.repeated]
            )
    heads = ["labeler", "lost of a machine", "efficiency", "machines lost", "fragments again"]
    return f"Losses, {rows:,} rows on {gpus:,} GPUs:\n\n{markdown(heads, lines)}"


def _start_table(costs: Costs, rows: Sequence[int], gpus: int) -> str:
    lines = []
    for number in rows:
        case = labelling("image, ViT-B/16", number, gpus)
        each = studied("image, ViT-B/16", replace(case, losses_an_hour=0.0), costs)
        lines.append([f"{number:,}", f"{each.start:,.1f}", f"{each.outcome.seconds:,.0f}"])
    heads = ["rows", "listing, footers and plan, s", "labelling of images after it, s"]
    return f"Before the first task, a pool that was never listed:\n\n{markdown(heads, lines)}"


def draw(done: Sequence[Studied], helped: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw efficiency by number of GPUs, a panel a size of pool; a ring is the best remedy."""
    from matplotlib.figure import Figure

    sizes = sorted({each.case.rows for each in done})
    figure = Figure(figsize=(5.2 * len(sizes), 4.2), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    labelers = list(published.ROWS_A_SECOND)
    for panel, size in zip(panels, sizes, strict=True):
        for labeler, colour in zip(labelers, _PLOT_COLOURS, strict=True):
            found = [each for each in done if (each.labeler, each.case.rows) == (labeler, size)]
            gpus = [each.case.gpus for each in found]
            shares = [each.outcome.efficiency for each in found]
            panel.plot(gpus, shares, marker="o", color=colour, label=labeler)
            if size == sizes[-1] and labeler in helped:
                best = max(outcome.efficiency for outcome in helped[labeler].values())
                panel.plot([gpus[-1]], [best], marker="o", ms=11, mfc="none", color=colour)
        panel.axhline(LINEAR, color="#8b95a5", linewidth=0.8, linestyle=(0, (4, 3)))
        panel.set_xscale("log")
        panel.set_xlabel("GPUs")
        panel.set_title(f"{size:,} rows", fontsize=10)
        panel.grid(alpha=0.3)
        panel.set_ylim(0, 1.04)
    panels[0].set_ylabel("of linear")
    panels[0].legend(fontsize=8, frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
