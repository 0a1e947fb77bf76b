"""The stage's other half: look at a fitted structure, for people.

One fold over rows of the pool gathers what a picture needs, and nothing that grows with the pool: a
sample of rows, the rows nearest to the centres of the largest clusters, and which classes clusters
hold where the pool has a target. Of a large pool it goes over chunks that lie evenly in it, some
`MOST_ROWS` rows, since a picture of more says nothing else; sizes and measures are the fit's own,
over all rows.

The result is one sealed JSON beside the structure, so that a finished job looks again at nothing.
Rows that stand for a cluster are read again at the end, a few of them: their text or image is shown
as a reader of features sees it, so private columns are never in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from distill.core.schema import seal
from distill.core.structure_results import StructureResult
from distill.engine.protocol import Engine
from distill.labelers.structure.labeler import StructureLabeler
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.plan.structure_steps import LookInputs, LookStep
from distill.stages.structure.look_result import (
    clusters_of,
    elbow_of,
    grid_of,
    measures_of,
    passes_of,
    plane_of,
)
from distill.stages.structure.look_sums import Look, Seen
from distill.storage.open import open_storage

MOST_ROWS = 500_000
_CHUNK_ROWS = 8_192


def look_at(step: LookStep, engine: Engine) -> StructureResult:
    """Look at a fitted structure, unless that is done. Raises PoolError, StorageError."""
    if step.result is not None:
        return step.result
    assert step.inputs is not None
    result = _result(step.name, step.inputs, engine)
    folder = open_storage(step.folder)
    folder.put(step.key, seal(asdict(result)))
    return result


def _result(name: str, inputs: LookInputs, engine: Engine) -> StructureResult:
    chain = StructureLabeler.load(inputs.recipe).chain
    structure, gives = chain[-1]
    before = StructureLabeler(chain[:-1])
    groups = structure.groups()
    look = Look(inputs.dataset, before, groups, len(inputs.classes))
    title = f"look at structure.{name}"
    seen = engine.fold(
        title, look, _spread(inputs.dataset), Seen.merge, unit="rows", size=lambda chunk: chunk.rows
    )
    details: Mapping[str, Any] = structure.plain["details"]
    return StructureResult(
        name=name,
        kind=str(structure.plain["kind"]),
        of=inputs.of,
        pool=inputs.pool,
        rows=inputs.rows,
        left_out=inputs.left_out,
        measures=measures_of(details, inputs.rows),
        explained=tuple(details.get("explained_variance_ratio", ())),
        passes=passes_of(details),
        clusters=clusters_of(inputs, groups, seen) if groups else (),
        all_clusters=len(groups.sizes) if groups else 0,
        classes=inputs.classes,
        sample=plane_of(structure, gives, groups, seen.sample),
        grid=grid_of(structure, groups),
        # by the engine, where BLAS has one thread: the same points on each
        elbow=engine.call(partial(elbow_of, groups, seen.sample)),
    )


def _spread(dataset: Dataset) -> Sequence[Chunk]:
    """Chunks that lie evenly in the pool, `MOST_ROWS` rows or a little more."""
    chunks = dataset.chunks(_CHUNK_ROWS)
    fitting = dataset.rows // MOST_ROWS
    step = max(1, fitting)
    return chunks[::step]
