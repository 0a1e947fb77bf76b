"""The stage `evaluate`: label sets and students judged on the same rows of one test pool.

The result is one sealed JSON, `reports/<job>/<digest>/evaluation.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill.core.errors import ContractError
from distill.core.results import Evaluation, MethodResult
from distill.core.schema import seal, unseal
from distill.engine.protocol import Engine
from distill.labelers.versions import library_versions
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.candidates import Candidate
from distill.plan.steps import EvaluateStep
from distill.spec.outputs import Outputs
from distill.stages.evaluate.evaluator import LEFT_OUT, TARGET, Evaluator
from distill.stages.evaluate.latency import Stopwatch
from distill.stages.evaluate.metrics import MetricSums, add_sums, measures, reliability
from distill.storage.base import ObjectMissingError
from distill.storage.open import open_storage

_KEY = "evaluation.json"
_CHUNK_ROWS = 8_192


def evaluate_students(step: EvaluateStep, engine: Engine) -> Evaluation:
    """Judge every label set over the test pool and every student, unless it is done. Raises
    ContractError where nothing can be judged."""
    folder = open_storage(step.folder)
    # the folder's digest covers what is judged (weights, labels, test rows), so a finished
    # evaluation is found again without starting Ray
    stored = folder.read_or_none(_KEY)
    if stored is None:
        evaluation = _evaluate(step, engine)
        plain = evaluation.to_plain()
        sealed = seal(plain)
        folder.put(_KEY, sealed)
        # read back: whoever finds it finished gets the very same
        stored = folder.read(_KEY)
    where = folder.url(_KEY)
    plain = unseal(stored, where)
    return Evaluation.from_plain(plain)


def is_evaluated(step: EvaluateStep) -> bool:
    """Return whether it is done."""
    try:
        open_storage(step.folder).entry(_KEY)
    except ObjectMissingError:
        return False
    return True


def _evaluate(step: EvaluateStep, engine: Engine) -> Evaluation:
    pool = step.pool
    truth = step.truth
    candidates = step.candidates
    width = pool.target_width(truth)
    _require_widths(pool.name, width, truth, candidates)
    target = TargetColumn(str(pool.spec.target), truth, width=width)
    columns: dict[str, LabelColumn | TargetColumn] = {TARGET: target}
    columns |= {each.method.key: each.column for each in candidates if each.column is not None}
    columns |= {each.method.features: each.seen for each in candidates if each.seen is not None}
    dataset = Dataset((pool.inventory,), pool.seen_features, pool.width, columns)
    methods = tuple(candidate.method for candidate in candidates)
    evaluator = Evaluator(dataset, truth, methods, step.teacher)
    chunks = dataset.chunks(_CHUNK_ROWS)
    sums = engine.fold("evaluate", evaluator, chunks, add_sums)
    stopwatch = Stopwatch(dataset, chunks[0], candidates)
    timed = engine.call(stopwatch)
    left_out = int(sums[LEFT_OUT]["left_out"][0])
    if left_out == pool.inventory.rows:
        raise ContractError(
            f"pools.{pool.name}: no row has both a known target and labels, so nothing can be"
            " judged. Look at its target and rejects."
        )
    seen = _seen(truth, candidates, step.teacher)
    return Evaluation(
        job=step.job_name,
        job_text=step.job_text,
        pool=pool.name,
        rows=pool.inventory.rows - left_out,
        left_out=left_out,
        kind=_kind(truth),
        classes=truth.classes,
        seen=tuple(name for name, known in zip(truth.classes, seen, strict=True) if known),
        teacher=step.teacher,
        methods=tuple(
            _result(candidate, sums[candidate.method.key], seen, timed) for candidate in candidates
        ),
        label_sets=step.label_sets,
        versions=library_versions(),
    )


def _kind(truth: Outputs) -> str:
    if truth.kind == "value":
        return "value"
    return "exclusive" if truth.exclusive else "independent"


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
