"""The evaluation, resolved: what is judged, on which rows, and where its result lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from distill.core.errors import JobError
from distill.core.results import LabelSetResult
from distill.core.schema import digest, without_usual
from distill.plan.candidates import Candidate, find_candidates
from distill.plan.steps import EvaluateStep
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool


def evaluate_step(workspace: Workspace) -> EvaluateStep:
    """Return the evaluation. Raises JobError without `[evaluate]`, ContractError where a
    student or a label set is not there."""
    tables = workspace.tables
    evaluate = tables.evaluate
    if evaluate is None:
        raise JobError(
            f"{tables.path}: no [evaluate] table. Add one: `[evaluate]` and"
            ' `on = "POOL"`, a pool with a target.'
        )
    pool = workspace.pool(evaluate.on)
    truth = tables.pool_outputs(evaluate.on)
    candidates = find_candidates(workspace, pool)
    teachers = [each.method.key for each in candidates if each.role == "teacher"]
    teacher = teachers[0] if teachers else None
    identity = _evaluation_identity(pool, candidates, teacher)
    job = tables.job
    folder = workspace.root.folder("reports", job.name, identity[:16])
    return EvaluateStep(
        folder.uri,
        job.name,
        job.text,
        pool,
        truth,
        tuple(candidates),
        teacher,
        _label_set_results(workspace),
    )


def _label_set_results(workspace: Workspace) -> tuple[LabelSetResult, ...]:
    results = []
    for name, spec in workspace.tables.labels.items():
        for pool in spec.over:
            entries = workspace.label_set(name, pool).entries
            results.append(
                LabelSetResult(
                    name,
                    spec.version,
                    pool,
                    entries.rows,
                    entries.rejected,
                    len(entries),
                    entries.size_bytes,
                )
            )
    return tuple(results)


def _evaluation_identity(
    pool: OpenPool, candidates: Sequence[Candidate], teacher: str | None
) -> str:
    """Digest of what is judged: a finished evaluation is found again by it."""
    judged = [
        [candidate.method.key, candidate.pin, asdict(candidate.method.outputs)]
        for candidate in candidates
    ]
    spec = without_usual(pool.spec.model_dump(mode="json"), {"csv": None})
    return digest([pool.inventory.content, spec, judged, teacher])
