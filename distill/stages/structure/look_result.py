"""From what was gathered of a structure to what people see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.core.structure_results import Cluster, ExampleRow, Grid, Sample
from distill.labelers.base import Double, Matrix
from distill.labelers.structure import rows as drawn
from distill.labelers.structure.base import FittedStructure, Int64
from distill.labelers.structure.elbow import elbow
from distill.labelers.structure.groups import SHOWN_GROUPS, Groups
from distill.plan.structure_steps import LookInputs
from distill.spec.pools import ImageFeatures, TextFeatures
from distill.stages.structure.look_sums import Seen
from distill.stages.thumbnails import thumbnail

_TEXT_CHARACTERS = 160
_SHARES = ("quantization_error", "topographic_error", "silhouette", "davies_bouldin")


def measures_of(details: Mapping[str, Any], rows: int) -> dict[str, float]:
    """What the fit measured of all rows, as far as it did."""
    found = {name: details[name] for name in _SHARES if details.get(name) is not None}
    if "explained_variance_ratio" in details:
        found["explained"] = sum(details["explained_variance_ratio"])
    if "inertia" in details:
        found["inertia"] = details["inertia"] / rows
    return found


def passes_of(details: Mapping[str, Any]) -> tuple[dict[str, float], ...]:
    """What each pass of the fit measured; inertia a row, since a pass may count a share of them."""
    found = []
    for measure in details.get("passes", ()):
        numbers = {name: value for name, value in measure.items() if isinstance(value, float)}
        if "inertia" in numbers:
            numbers["inertia"] /= max(1, measure["rows"])
        found.append(numbers)
    return tuple(found)


def clusters_of(inputs: LookInputs, groups: Groups, seen: Seen) -> tuple[Cluster, ...]:
    """The largest with examples; of a map all units that have rows."""
    examples = _examples(inputs, groups, seen)
    order = np.argsort(-groups.sizes, kind="stable")
    most = len(order) if groups.gives == "unit" else SHOWN_GROUPS
    return tuple(
        Cluster(
            number=int(number),
            rows=int(groups.sizes[number]),
            classes=_classes(inputs.classes, seen.counts, int(number)),
            nearest=examples.get(int(number), ()),
        )
        for number in order[:most]
        if groups.sizes[number]
    )


def _classes(names: Sequence[str], counts: Int64 | None, number: int) -> dict[str, int]:
    if counts is None:
        return {}
    of_cluster = counts[number]
    order = np.argsort(-of_cluster, kind="stable")
    return {names[each]: int(of_cluster[each]) for each in order if of_cluster[each]}


def _examples(inputs: LookInputs, groups: Groups, seen: Seen) -> dict[int, tuple[ExampleRow, ...]]:
    """The nearest rows of each cluster that is shown, read again."""
    assert seen.nearest is not None
    found: dict[int, list[ExampleRow]] = {}
    for place, row in zip(seen.nearest.group, seen.nearest.row, strict=True):
        number = int(groups.shown[place])
        example = _example(inputs, int(row))
        found.setdefault(number, []).append(example)
    return {number: tuple(rows) for number, rows in found.items()}


def _example(inputs: LookInputs, row: int) -> ExampleRow:
    chunk = inputs.shown.chunk_of(row)
    inventories = inputs.shown.inventories
    inventory = inventories[chunk.pool]
    key = inventory.shard(chunk.shard).key
    (value,) = inputs.shown.seen(chunk)
    text = ""
    png = ""
    if isinstance(inputs.shown.features, TextFeatures):
        whole = str(value)
        text = whole[:_TEXT_CHARACTERS]
    if isinstance(inputs.shown.features, ImageFeatures):
        png = thumbnail(value)
    return ExampleRow(shard=key, row=chunk.start, text=text, png=png)


def plane_of(
    structure: FittedStructure, gives: str, groups: Groups | None, sample: drawn.Sample
) -> Sample | None:
    """The drawn rows in two dimensions. A map is a picture of the pool itself."""
    if groups is not None and groups.gives == "unit":
        return None
    values = sample.values[:, :-1]
    target = sample.values[:, -1].astype(int)
    plane: npt.NDArray[Any]
    cluster = np.full(len(values), -1)
    if groups is None:
        plane = structure.transform(values, gives)
    else:
        plane = _plane(values, groups)
        cluster = groups.of(values)
    x, y = plane[:, 0], plane[:, 1] if plane.shape[1] > 1 else np.zeros(len(plane))
    return Sample(
        x=[round(float(each), 4) for each in x],
        y=[round(float(each), 4) for each in y],
        cluster=cluster.tolist(),
        target=target.tolist(),
    )


def _plane(values: Matrix, groups: Groups) -> Double:
    """Rows on the first two principal axes of the centres, each weighed by its rows."""
    total = groups.sizes.sum()
    weights = groups.sizes / total
    middle = weights @ groups.centres
    weighed = (groups.centres - middle) * np.sqrt(weights)[:, None]
    _, _, axes = np.linalg.svd(weighed, full_matrices=False)
    away = groups.compared(values).astype(np.float64) - middle
    plane: Double = away @ axes[:2].T
    return plane


def elbow_of(groups: Groups | None, sample: drawn.Sample) -> tuple[tuple[int, float], ...]:
    """The inertia of drawn rows over the number of clusters; empty but of a k-means."""
    if groups is None or groups.structure.plain["kind"] != "kmeans":
        return ()
    values = groups.compared(sample.values[:, :-1])
    return tuple(elbow(values, len(groups.sizes)))


def grid_of(structure: FittedStructure, groups: Groups | None) -> Grid | None:
    if groups is None or groups.gives != "unit":
        return None
    plain = structure.plain
    return Grid(
        rows=plain["rows"],
        columns=plain["columns"],
        hexagonal=plain["grid"] == "hexagonal",
        distances=structure.arrays["u_matrix"].tolist(),
        hits=groups.sizes.tolist(),
    )
