"""The choice of rows that people should see, resolved: whose rows, by what, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from distill.core.errors import ContractError, JobError
from distill.core.results import EVALUATION_KEY, Evaluation
from distill.core.schema import digest, unseal
from distill.loader.dataset import LabelColumn
from distill.plan.evaluation import evaluate_step
from distill.plan.slicing import Slicing, label_slicing
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.evaluation import COLUMNS, LABELS
from distill.spec.labels import Fitted
from distill.spec.outputs import Outputs
from distill.spec.pools import TextFeatures
from distill.spec.review import REASONS, Review
from distill.storage.open import open_storage

_MOST_SLICES = 8


@dataclass(frozen=True)
class ReviewLabels:
    """One label set that is asked about rows."""

    name: str
    outputs: Outputs
    column: LabelColumn
    pin: str
    # whether its labeler was fitted on the very pool: of rows that it learned by heart it finds
    # no label suspect
    learned_it: bool


@dataclass(frozen=True)
class WeakSlice:
    """Rows on which students are worse than over all rows."""

    slicing: Slicing
    value: str
    text: str  # how much worse, in words
    distance: float  # how far the best student's measure there is from its measure over all rows


@dataclass(frozen=True)
class ReviewStep:
    """Choose the rows of a pool that people should see."""

    folder: str
    pool: OpenPool
    labels: tuple[ReviewLabels, ...]  # the first is whose confidence counts
    truth: Outputs | None  # of the pool's target, where it has one of exclusive classes
    classes: tuple[str, ...]  # all that any of them names
    reasons: tuple[str, ...]
    slices: tuple[WeakSlice, ...]
    rows: int


def review_step(workspace: Workspace) -> ReviewStep:
    """Return the review. Raises JobError without `[review]` or with nothing to go by, ContractError
    where labels that it goes by are not there."""
    tables = workspace.tables
    review = tables.job.review
    if review is None:
        raise JobError(
            f'{tables.path}: no [review] table. Add one: `[review]` and `over = "POOL"`, a pool'
            " with label sets."
        )
    pool = workspace.pool(review.over)
    labels = tuple(_labels(workspace, name, pool) for name in reviewed_labels(tables, review))
    truth = _truth(tables, review)
    slices = tuple(_weak_slices(workspace, pool, labels))
    there = {
        "suspects": truth is not None and bool(labels),
        "disagreement": len(labels) > 1,
        "slices": bool(slices),
        "confidence": bool(labels),
    }
    asked = review.by or tuple(reason for reason in REASONS if there[reason])
    missing = [reason for reason in asked if not there[reason]]
    if missing or not asked:
        raise ContractError(f"{tables.path}: review.by: {_why_not(missing)}")
    named = [each.outputs.classes for each in labels] + [truth.classes if truth else ()]
    classes = tuple(dict.fromkeys(name for names in named for name in names))
    reasons = tuple(reason for reason in REASONS if reason in asked)
    identity = [
        pool.inventory.content,
        [[each.name, each.pin] for each in labels],
        [[each.slicing.name, each.value, each.text] for each in slices],
        [reasons, review.rows, pool.spec.target, list(classes)],
    ]
    folder = workspace.root.folder("reviews", tables.job.name, digest(identity)[:16])
    return ReviewStep(
        folder=folder.uri,
        pool=pool,
        labels=labels,
        truth=truth,
        classes=classes,
        reasons=reasons,
        slices=slices,
        rows=review.rows,
    )


def reviewed_labels(tables: JobTables, review: Review) -> list[str]:
    """Return the label sets that a review goes by: those that it names, or all of exclusive classes
    over its pool that say no structure's clusters."""
    if review.labels:
        return list(review.labels)
    label_tables = tables.labels.items()
    return [
        name
        for name, labels in label_tables
        if review.over in labels.over and is_reviewable(tables, name)
    ]


def is_reviewable(tables: JobTables, name: str) -> bool:
    """Return whether a label set names one class a row, and no cluster."""
    table = tables.labels[name]
    labeler = table.labeler
    is_cluster = getattr(labeler, "kind", "") == "structure"
    outputs = tables.label_outputs(name)
    return not is_cluster and bool(outputs.classes) and outputs.exclusive


def _labels(workspace: Workspace, name: str, pool: OpenPool) -> ReviewLabels:
    slicing = label_slicing(workspace, name, pool)
    tables = workspace.tables
    labeler = tables.labels[name].labeler
    fit = tables.fit[labeler.fit] if isinstance(labeler, Fitted) else None
    base = tables.base_pool
    learned_it = fit is not None and base(fit.on) == base(pool.name)
    outputs = tables.label_outputs(name)
    return ReviewLabels(name, outputs, slicing.column, slicing.pin, learned_it)


def _truth(tables: JobTables, review: Review) -> Outputs | None:
    pool = review.over
    if tables.pools[pool].target is None:
        return None
    outputs = tables.pool_outputs(pool)
    is_exclusive = outputs.judged_as == "exclusive"
    return outputs if is_exclusive else None


def _why_not(missing: Sequence[str]) -> str:
    needs = {
        "suspects": "'suspects' needs a pool with a target of classes, and a label set over it",
        "disagreement": "'disagreement' needs two label sets over the pool",
        "slices": (
            "'slices' needs [evaluate] with slices that the pool has too, an evaluation that is done,"
            " and a slice where students are worse than over all rows"
        ),
        "confidence": "'confidence' needs a label set of exclusive classes over the pool",
    }
    lines = [needs[reason] for reason in missing] or [needs["confidence"]]
    reasons = "; ".join(lines)
    return f"{reasons}. Add it, or take the reason out."


def _weak_slices(
    workspace: Workspace, pool: OpenPool, labels: Sequence[ReviewLabels]
) -> Iterator[WeakSlice]:
    """The slices where the first student is worse than over all rows, its interval says so, and of
    which rows of the pool can be told; the worst first."""
    evaluation = _stored_evaluation(workspace)
    if evaluation is None or not evaluation.students:
        return
    student = evaluation.students[0]
    method = student.first
    measure = evaluation.main_measure
    overall = method.measures.get(measure)
    if overall is None:
        return
    sign = -1 if evaluation.kind == "value" else 1
    found = []
    for each in evaluation.slices:
        value, *ends = each.measures[method.key][measure]
        # the end nearest to what it is over all rows
        if len(ends) != 2 or each.few or sign * (overall - ends[sign > 0]) <= 0:
            continue
        slicing = _slicing(workspace, pool, each.slicing, labels)
        if slicing is not None:
            text = f"{each.slicing} {each.value!r}: {measure} {value:.3g}, {overall:.3g} over all"
            found.append(WeakSlice(slicing, each.value, text, abs(overall - value)))
    found.sort(key=lambda each: -each.distance)
    yield from found[:_MOST_SLICES]


def _stored_evaluation(workspace: Workspace) -> Evaluation | None:
    """The job's evaluation, where it is done."""
    if workspace.tables.evaluate is None or not workspace.tables.evaluate.slices:
        return None
    try:
        uri = evaluate_step(workspace).folder
        folder = open_storage(uri)
    except ContractError:  # students are not trained yet
        return None
    stored = folder.read_or_none(EVALUATION_KEY)
    if stored is None:
        return None
    return Evaluation.from_plain(unseal(stored, folder.url(EVALUATION_KEY)))


def _slicing(
    workspace: Workspace, pool: OpenPool, name: str, labels: Sequence[ReviewLabels]
) -> Slicing | None:
    """How rows of the reviewed pool are told apart as the test pool's were; None without a way."""
    tables = workspace.tables
    assert tables.evaluate is not None
    evaluate = tables.evaluate
    edges = evaluate.edges_of(name)
    if name.startswith(COLUMNS):
        column = name.removeprefix(COLUMNS)
        is_there = column in pool.schema.names and column not in pool.spec.dropped
        return Slicing(name, edges, column) if is_there else None
    if name.startswith(LABELS):
        label_set = name.removeprefix(LABELS)
        if pool.name not in tables.labels[label_set].over:
            return None
        return Slicing(name, edges, labels=label_slicing(workspace, label_set, pool))
    known = {
        "class": pool.spec.target is not None,
        "confidence": bool(labels),
        "length": isinstance(pool.spec.features, TextFeatures),
    }
    return Slicing(name, edges) if known.get(name) else None
