"""Drift: whether a pool's rows still fall into a structure's clusters as those did that it was fitted
on.

Told by the population stability index, Σ (q − p)·ln(q/p) over the clusters, p and q being their
shares of the rows then and now: the symmetric Kullback–Leibler divergence of the two (Kullback &
Leibler 1951, eq. 2.6). Half a row is added to each cluster on both sides, so that an empty one makes
it large and not infinite. Rules of thumb: up to 0.1 little, from 0.25 on much. Of a pool with few
rows a cluster, chance alone adds about k·(1/n + 1/m) for k clusters, n rows then and m now.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from distill.core.errors import ContractError, PoolError
from distill.core.schema import seal
from distill.core.structure_results import ClusterDrift, DriftResult
from distill.engine.protocol import Engine
from distill.labelers.base import Double
from distill.labelers.structure.base import Int64
from distill.labelers.structure.groups import Groups
from distill.labelers.structure.labeler import StructureLabeler
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.plan.structure_steps import DriftInputs, DriftStep
from distill.stages.structure.usable_rows import usable_rows
from distill.storage.open import open_storage

_CHUNK_ROWS = 8_192
_WORST = 5


@dataclass(frozen=True)
class _Sizes:
    """What travels to the workers."""

    dataset: Dataset
    before: StructureLabeler
    groups: Groups

    def __call__(self, chunk: Chunk) -> Int64:
        """Return the rows of each cluster."""
        values, _ = usable_rows(self.dataset, self.before, chunk)
        group = self.groups.of(values)
        sizes: Int64 = np.bincount(group, minlength=len(self.groups.sizes))
        return sizes


def measure_drift(step: DriftStep, engine: Engine) -> DriftResult:
    """Hold a pool against a structure, unless that is done. Raises PoolError, StorageError."""
    if step.result is not None:
        return step.result
    assert step.inputs is not None
    result = _result(step, step.inputs, engine)
    open_storage(step.folder).put(step.key, seal(asdict(result)))
    return result


def drift_line(step: DriftStep, result: DriftResult) -> str:
    """Say a drift in a line, with the cluster that adds most to it."""
    limit = "" if step.most is None else f" (most_drift = {step.most:g})"
    worst = result.worst[0]
    return (
        f"structure.{result.name}: {result.pool} drifted by {result.index:.3g}{limit};"
        f" the most in cluster {worst.number}, {100 * worst.before:.2g}% of rows then,"
        f" {100 * worst.now:.2g}% of {result.rows:,} now"
    )


def _result(step: DriftStep, inputs: DriftInputs, engine: Engine) -> DriftResult:
    chain = StructureLabeler.load(inputs.recipe).chain
    structure, _ = chain[-1]
    groups = structure.groups()
    if groups is None:
        kind = structure.plain["kind"]
        raise ContractError(
            f"structure.{step.name}.watch: a {kind} says by `has_groups` that it has groups, and"
            " what was fitted returns None from `groups`. Mend the file that has the kind."
        )
    sizes = engine.fold(
        f"drift of {step.pool} from structure.{step.name}",
        _Sizes(inputs.dataset, StructureLabeler(chain[:-1]), groups),
        inputs.dataset.chunks(_CHUNK_ROWS),
        np.add,
        unit="rows",
        size=lambda chunk: chunk.rows,
    )
    rows = int(sizes.sum())
    if not rows:
        raise PoolError(f"pools.{step.pool}: none of its rows can be used. Mend the rows.")
    before = _shares(groups.sizes)
    now = _shares(sizes)
    summands = (now - before) * np.log(now / before)
    worst = np.argsort(-summands, kind="stable")[:_WORST]
    return DriftResult(
        name=step.name,
        pool=step.pool,
        rows=rows,
        left_out=inputs.dataset.rows - rows,
        index=float(summands.sum()),
        worst=tuple(
            ClusterDrift(
                number=int(number),
                before=float(before[number]),
                now=float(now[number]),
                index=float(summands[number]),
            )
            for number in worst
        ),
    )


def _shares(sizes: Int64) -> Double:
    smoothed = sizes + 0.5
    total = smoothed.sum()
    shares: Double = smoothed / total
    return shares
