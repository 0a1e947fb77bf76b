"""The stage `evaluate`: label sets and students judged on the same rows of one test pool.

The result is one sealed JSON, `reports/<job>/<digest>/evaluation.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from distill.core.errors import ContractError
from distill.core.results import EVALUATION_KEY, FORM, Evaluation, MethodResult
from distill.core.schema import seal, unseal
from distill.engine.protocol import Engine
from distill.labelers.versions import library_versions
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.loader.sampler import Chunk
from distill.plan.candidates import Candidate
from distill.plan.short import evaluation_is_short
from distill.plan.steps import EvaluateStep
from distill.spec.outputs import Outputs
from distill.stages.evaluate.comparisons import compare, paired_keys, pairs_result
from distill.stages.evaluate.evaluator import TARGET, Evaluator
from distill.stages.evaluate.gate import hold
from distill.stages.evaluate.judged_sums import JudgedSums
from distill.stages.evaluate.latency import Pace, Stopwatch
from distill.stages.evaluate.measure_intervals import errors
from distill.stages.evaluate.metrics import add_sums, reliability
from distill.stages.evaluate.powered import judge_by_teacher
from distill.stages.evaluate.resampling import replicates_of
from distill.stages.evaluate.slice_results import slice_results
from distill.storage.base import ObjectMissingError
from distill.storage.open import open_storage

_CHUNK_ROWS = 8_192
# of all methods' answers to a chunk: 128 MiB, where 32 methods of 1,000 classes took 2 GB
_MOST_NUMBERS = 1 << 24


def evaluate_students(step: EvaluateStep, engine: Engine) -> Evaluation:
    """Judge every label set over the test pool and every student, unless it is done. Raises
    ContractError where nothing can be judged."""
    folder = open_storage(step.folder)
    # the folder's digest covers what is judged (weights, labels, test rows), so a finished
    # evaluation is found again without starting Ray
    stored = folder.read_or_none(EVALUATION_KEY)
    if stored is None:
        if evaluation_is_short(step):
            engine = engine.for_short_work()
        evaluation = _evaluate(step, engine)
        plain = evaluation.to_plain()
        sealed = seal(plain)
        folder.put(EVALUATION_KEY, sealed)
        # read back: whoever finds it finished gets the very same
        stored = folder.read(EVALUATION_KEY)
    where = folder.url(EVALUATION_KEY)
    plain = unseal(stored, where)
    return Evaluation.from_plain(plain)


def is_evaluated(step: EvaluateStep) -> bool:
    """Return whether it is done."""
    try:
        folder = open_storage(step.folder)
        folder.entry(EVALUATION_KEY)
    except ObjectMissingError:
        return False
    return True


def _evaluate(step: EvaluateStep, engine: Engine) -> Evaluation:
    pool = step.pool
    truth = step.truth
    candidates = step.candidates
    width = pool.target_width(truth)
    _require_widths(pool.name, width, truth, candidates)
    dataset = _dataset(step, width)
    most_rows = _chunk_rows(step)
    chunks = dataset.chunks(most_rows)
    evaluator = _evaluator(step, dataset, chunks[0])
    sums = engine.fold("evaluate", evaluator, chunks, add_sums)
    stopwatch = Stopwatch(dataset, chunks[0], candidates)
    timed = engine.call(stopwatch)
    seen = _seen(truth, candidates, step.teacher)
    kind = truth.judged_as
    paired = evaluator.paired
    judged = JudgedSums(
        sums, candidates, kind, seen, paired, evaluator.beside, pool.inventory.rows, truth.classes
    )
    if not judged.rows:
        raise ContractError(
            f"pools.{pool.name}: no row has both a known target and labels, so nothing can be"
            " judged. Look at its target and rejects."
        )
    return Evaluation(
        job=step.job_name,
        job_text=step.job_text,
        pool=pool.name,
        rows=judged.rows,
        left_out=judged.left_out,
        kind=kind,
        classes=truth.classes,
        seen=tuple(name for name, known in zip(truth.classes, seen, strict=True) if known),
        teacher=step.teacher,
        methods=tuple(_result(each, judged, timed) for each in candidates),
        label_sets=step.label_sets,
        versions=library_versions(),
        form=FORM,
        slices=slice_results(evaluator, judged, engine),
        pairs=pairs_result(judged),
        comparisons=compare(judged, step.teacher, step.former),
        powered=judge_by_teacher(step, judged, engine),
        gate=hold(step.gate, judged) if step.gate is not None else None,
    )


def _chunk_rows(step: EvaluateStep) -> int:
    """How many rows are judged at once."""
    # all methods' answers to them are in memory together
    numbers = len(step.candidates) * max(1, len(step.truth.classes))
    return max(64, min(_CHUNK_ROWS, _MOST_NUMBERS // numbers))


def _dataset(step: EvaluateStep, width: int) -> Dataset:
    pool = step.pool
    candidates = step.candidates
    target = TargetColumn(str(pool.spec.target), step.truth, width=width)
    columns: dict[str, LabelColumn | TargetColumn] = {TARGET: target}
    columns |= {each.method.key: each.column for each in candidates if each.column is not None}
    columns |= {each.method.features: each.seen for each in candidates if each.seen is not None}
    return Dataset((pool.inventory,), pool.seen_features, pool.width, columns)


def _evaluator(step: EvaluateStep, dataset: Dataset, first: Chunk) -> Evaluator:
    powered: tuple[str, ...] = ()
    strata = None
    if step.powered is not None:
        powered = tuple(each.method.key for each in step.candidates if each.role == "student")
        strata = step.powered.strata
    references = dict.fromkeys(each for each in (step.teacher, step.former) if each is not None)
    return Evaluator(
        dataset=dataset,
        truth=step.truth,
        methods=tuple(candidate.method for candidate in step.candidates),
        teacher=step.teacher,
        replicates=replicates_of(len(step.candidates), len(step.truth.classes)),
        paired=paired_keys(step.candidates, step.teacher, step.former),
        slicings=step.slicings,
        beside=tuple(references),
        powered=powered,
        strata=strata,
        offset=_offset(step.truth, dataset, first),
    )


def _offset(truth: Outputs, dataset: Dataset, first: Chunk) -> tuple[float, ...] | None:
    """Return a value near the truth's."""
    # replicates keep the digits of what differs from it
    if truth.kind != "value":
        return None
    learned = dataset.learned(first, TARGET)
    known = learned["weight"] > 0  # type: ignore[operator]
    values = learned["target"][known].astype(np.float64)
    means = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
    return tuple(means.tolist())


def _require_widths(pool: str, width: int, truth: Outputs, candidates: Sequence[Candidate]) -> None:
    """Refuse to judge values of one width by values of another. Raises ContractError."""
    if truth.kind != "value":
        return
    wrong = [candidate.name for candidate in candidates if candidate.width != width]
    if wrong:
        raise ContractError(
            f"pools.{pool}: its target has {width} numbers a row, but {wrong} answer with others."
            " Judge them elsewhere."
        )


def _seen(truth: Outputs, candidates: Sequence[Candidate], teacher: str | None) -> list[bool]:
    """Which of the truth's classes the teacher can say; all of them without a teacher."""
    named = truth.classes
    for candidate in candidates:
        if candidate.method.key == teacher:
            named = candidate.method.outputs.classes
    return [name in named for name in truth.classes]


def _result(candidate: Candidate, judged: JudgedSums, timed: Mapping[str, Pace]) -> MethodResult:
    key = candidate.method.key
    tally = judged.sums[key]
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
        milliseconds_per_row=timed[key].milliseconds_per_row,
        measures=judged.measures[key],
        confusion=confusion,
        reliability=reliability(tally),
        history=candidate.history,
        key=key,
        intervals={name: list(ends) for name, ends in judged.intervals(key).items()},
        errors=errors(tally),
        pace=timed[key].details,
    )
