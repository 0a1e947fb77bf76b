"""What a tracker is given of an evaluation: of each method parameters, measures, and curves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill.core.results import Evaluation, MethodResult
from distill.core.schema import digest

_CURVES = ("loss", "held_out", "learning_rate", "rows_per_second")


@dataclass(frozen=True)
class Point:
    """One number of a curve."""

    name: str
    value: float
    step: int


@dataclass(frozen=True)
class Series:
    """One method: a run of a tracker's."""

    key: str
    """What no other method of the evaluation has."""
    name: str
    parameters: Mapping[str, str]
    points: Sequence[Point]


def evaluation_digest(evaluation: Evaluation) -> str:
    """Return what names an evaluation: the same one is never tracked twice."""
    return digest(evaluation.to_plain())[:12]


def series_of(evaluation: Evaluation) -> list[Series]:
    """Return the series of all methods that were judged."""
    return [_series(evaluation, method) for method in evaluation.methods]


def slug(name: str) -> str:
    """Return a name without what trackers and folders do not take."""
    return re.sub(r"[^\w.=,-]+", "_", name).strip("_")


def _series(evaluation: Evaluation, method: MethodResult) -> Series:
    parameters = {
        "role": method.role,
        "taught_by": ", ".join(method.taught_by),
        "judged_on": evaluation.pool,
        **{path: str(value) for path, value in method.changes.items()},
    }
    if method.parameters is not None:
        parameters["parameters"] = str(method.parameters)
    points = list(_curves(method.history))
    last = max((point.step for point in points), default=0)
    numbers = {
        **method.measures,
        **_ends(method),
        "milliseconds_per_row": method.milliseconds_per_row,
    }
    points += [
        Point(f"{evaluation.pool}/{name}", value, last)
        for name, value in numbers.items()
        if math.isfinite(value)
    ]
    return Series(method.key or method.name, method.name, parameters, points)


def _curves(history: Sequence[Mapping[str, Any]]) -> list[Point]:
    return [
        Point(f"training/{name}", float(epoch[name]), int(epoch.get("step", epoch["epoch"])))
        for epoch in history
        for name in _CURVES
        if epoch.get(name) is not None and math.isfinite(epoch[name])
    ]


def _ends(method: MethodResult) -> dict[str, float]:
    found = {}
    for name, (low, high) in method.intervals.items():
        found[f"{name}_low"] = low
        found[f"{name}_high"] = high
    return found
