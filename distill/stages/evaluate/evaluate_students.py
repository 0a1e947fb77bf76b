"""The stage `evaluate`: label sets and students judged on the same rows of one test pool.

The result is one sealed JSON, `reports/<job>/<digest>/evaluation.json`. Its digest covers what was
judged (weights, labels, test rows), so a finished evaluation is found again without starting Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from distill.core.errors import ContractError, JobError
from distill.core.results import Evaluation, LabelSetResult, MethodResult
from distill.core.schema import digest, seal, unseal
from distill.engine.ray.fold import call_remotely, fold
from distill.job.job import Job
from distill.labelers.versions import library_versions
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.identity import label_set
from distill.plan.outputs import pool_outputs
from distill.plan.pools import open_pool
from distill.pools.open_pool import OpenPool
from distill.spec.outputs import Outputs
from distill.stages.evaluate.candidates import Candidate, find_candidates
from distill.stages.evaluate.evaluator import TARGET, Evaluator
from distill.stages.evaluate.latency import Stopwatch
from distill.stages.evaluate.metrics import MetricSums, add_sums, measures, reliability
from distill.storage.base import Storage
from distill.storage.open import open_storage

_CHUNK_ROWS = 8_192


def evaluate_students(job: Job) -> tuple[Storage, Evaluation]:
    """Judge every label set over the test pool and every student; returns the result and the folder
    that keeps it.

    Raises JobError without `[evaluate]`, ContractError where a student or a label set is not there.
    """
    if job.evaluate is None:
        raise JobError(
            f'{job.path}: no [evaluate] table. Add one: `[evaluate]` and `on = "POOL"`, a pool with'
            " a target."
        )
    pool, truth = open_pool(job, job.evaluate.on), pool_outputs(job, job.evaluate.on)
    candidates = find_candidates(job, pool)
    teacher = next(
        (candidate.method.key for candidate in candidates if candidate.role == "teacher"), None
    )
    folder = open_storage(job.root_uri).folder(
        "reports", job.name, _identity(pool, candidates, teacher)[:16]
    )
    stored = folder.read_or_none("evaluation.json")
    if stored is None:
        made = _judge(job, pool, truth, candidates, teacher)
        folder.put("evaluation.json", seal(made.to_plain()))
        stored = folder.read("evaluation.json")
    return folder, Evaluation.from_plain(unseal(stored, folder.url("evaluation.json")))


def _identity(pool: OpenPool, candidates: list[Candidate], teacher: str | None) -> str:
    judged = [
        [candidate.method.key, candidate.pin, asdict(candidate.method.outputs)]
        for candidate in candidates
    ]
    return digest([pool.inventory.content, pool.spec.model_dump(mode="json"), judged, teacher])


def _judge(
    job: Job, pool: OpenPool, truth: Outputs, candidates: list[Candidate], teacher: str | None
) -> Evaluation:
    _require_widths(pool, truth, candidates)
    columns: dict[str, LabelColumn | TargetColumn] = {
        TARGET: TargetColumn(str(pool.spec.target), truth, width=pool.target_width(truth))
    }
    columns |= {
        candidate.method.key: candidate.column
        for candidate in candidates
        if candidate.column is not None
    }
    source = Dataset((pool.inventory,), pool.features, pool.width, columns)
    judge = Evaluator(source, truth, tuple(candidate.method for candidate in candidates), teacher)
    chunks = source.chunks(_CHUNK_ROWS)
    tallies = fold("evaluate", judge, chunks, add_sums)
    timed = call_remotely(Stopwatch(source, chunks[0], tuple(candidates)))
    left_out = int(tallies[""]["left_out"][0])
    if left_out == pool.inventory.rows:
        raise ContractError(
            f"pools.{pool.name}: no row has both a known target and labels, so nothing can be"
            " judged. Look at its target and rejects."
        )
    seen = _seen(truth, candidates, teacher)
    return Evaluation(
        job=job.name,
        job_text=job.text,
        pool=pool.name,
        rows=pool.inventory.rows - left_out,
        left_out=left_out,
        kind=(
            "value" if truth.kind == "value" else "exclusive" if truth.exclusive else "independent"
        ),
        classes=truth.classes,
        seen=tuple(name for name, said in zip(truth.classes, seen, strict=True) if said),
        teacher=teacher,
        methods=tuple(
            _result(candidate, tallies[candidate.method.key], seen, timed)
            for candidate in candidates
        ),
        label_sets=_label_sets(job),
        versions=library_versions(),
    )


def _require_widths(pool: OpenPool, truth: Outputs, candidates: list[Candidate]) -> None:
    """Refuse to judge values of one width by values of another. Raises ContractError."""
    due = pool.target_width(truth)
    wrong = [
        candidate.name
        for candidate in candidates
        if truth.kind == "value" and candidate.width != due
    ]
    if wrong:
        raise ContractError(
            f"pools.{pool.name}: its target has {due} numbers a row, but {wrong} answer with"
            " others. Judge them elsewhere."
        )


def _seen(truth: Outputs, candidates: list[Candidate], teacher: str | None) -> list[bool]:
    """Which of the truth's classes the teacher can say; all of them without a teacher."""
    said = next(
        (
            candidate.method.outputs.classes
            for candidate in candidates
            if candidate.method.key == teacher
        ),
        truth.classes,
    )
    return [name in said for name in truth.classes]


def _result(
    candidate: Candidate, tally: MetricSums, seen: list[bool], timed: Mapping[str, float]
) -> MethodResult:
    confusion = tally["confusion"].astype(int).tolist() if "confusion" in tally else None
    return MethodResult(
        name=candidate.name,
        role=candidate.role,
        group=candidate.group,
        student=candidate.student,
        head=candidate.method.head,
        taught_by=candidate.taught_by,
        changes=dict(candidate.changes),
        parameters=candidate.parameters,
        milliseconds_per_row=timed[candidate.method.key],
        measures=measures(tally, seen),
        confusion=confusion,
        reliability=reliability(tally),
        history=candidate.history,
    )


def _label_sets(job: Job) -> tuple[LabelSetResult, ...]:
    made = []
    for name, labels in job.labels.items():
        for pool in labels.over:
            lines = label_set(job, name, pool).lines
            rows, rejected, size = (
                int(lines.column(each).sum()) for each in ("rows", "rejected", "bytes")
            )
            made.append(
                LabelSetResult(name, labels.version, pool, rows, rejected, len(lines), size)
            )
    return tuple(made)
