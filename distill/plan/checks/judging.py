"""What `[evaluate]` says of slices, of a former student and of rows that the teacher alone labelled,
and what `[gate]` demands."""

from __future__ import annotations

import pyarrow as pa

from distill.core.errors import PoolError
from distill.core.results import MEASURES, ROW_MEASURES
from distill.plan.candidates import first_teacher
from distill.plan.checks.problems import Problems
from distill.plan.judged import judged_heads, judged_labels
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.formats.base import check_columns
from distill.spec.evaluation import COLUMNS, Evaluate, Rule
from distill.spec.pools import TextFeatures

# measures of which no interval of a difference is known
_UNPAIRED = ("roc_auc", "pr_auc", "rank_correlation", "retrieval_recall")
_OF_KIND = {"value": {"mse", "mae", "r2", "mse_to_teacher", "rank_correlation", "retrieval_recall"}}


def check_judging(tables: JobTables) -> Problems:
    """Yield all problems of them, whose names exist."""
    evaluate = tables.evaluate
    if evaluate is None:
        if tables.gate is not None:
            yield "gate: nobody is judged. Add [evaluate] with `on`, a pool with a target."
        return
    yield from _former(tables, evaluate)
    yield from _slices(tables, evaluate)
    yield from _powered(tables, evaluate)
    yield from _gate(tables, evaluate)


def _former(tables: JobTables, evaluate: Evaluate) -> Problems:
    former = evaluate.former
    if former is not None and former not in judged_labels(tables, evaluate.on):
        yield (
            f"evaluate.former = {former!r}: it does not label pools.{evaluate.on}."
            f" Add {evaluate.on!r} to labels.{former}.over."
        )


def _slices(tables: JobTables, evaluate: Evaluate) -> Problems:
    on = evaluate.on
    outputs = tables.pool_outputs(on)
    if "class" in evaluate.slices and outputs.judged_as != "exclusive":
        yield f"evaluate.slices: 'class' is of exclusive classes; pools.{on} has {outputs.in_words}."
    if "confidence" in evaluate.slices:
        if not outputs.classes:
            yield f"evaluate.slices: 'confidence' is of classes; pools.{on} has a value."
        if first_teacher(tables, on) is None:
            yield f"evaluate.slices: 'confidence' is the teacher's, and none labels pools.{on}."
    if "length" in evaluate.slices and not isinstance(tables.pools[on].features, TextFeatures):
        yield f"evaluate.slices: 'length' is of a text, and pools.{on} has none."
    private = set(tables.pools[on].dropped).intersection(evaluate.sliced_columns)
    if private:
        yield (
            f"evaluate.slices: {sorted(private)} are private in pools.{on}: their values would stand"
            " in the report. Take them out."
        )
    for name in evaluate.sliced_labels:
        if on not in tables.labels[name].over:
            yield (
                f"evaluate.slices: labels.{name} does not label pools.{on}."
                f" Add {on!r} to labels.{name}.over."
            )


def _powered(tables: JobTables, evaluate: Evaluate) -> Problems:
    powered = evaluate.prediction_powered
    if powered is None:
        return
    where = "evaluate.prediction_powered"
    on = evaluate.on
    teacher = first_teacher(tables, on)
    if teacher is None:
        yield f"{where}: no teacher labels pools.{on}. Add a label set over it."
        return
    needed = {teacher: (on, powered.over)}
    if powered.strata is not None:
        needed[powered.strata] = (on, powered.over)
    for name, pools in needed.items():
        for pool in pools:
            if pool not in tables.labels[name].over:
                yield (
                    f"{where}: labels.{name} does not label pools.{pool}."
                    f" Add {pool!r} to labels.{name}.over."
                )
    for variant in tables.job.variants:
        for pool in variant.spec.pools:
            if tables.may_share_rows(pool, powered.over):
                yield (
                    f"{where}.over = {powered.over!r}: students.{variant.student} learns from"
                    f" pools.{pool}, so it agrees with its teacher there more than elsewhere."
                    " Name rows that it never saw."
                )


def _gate(tables: JobTables, evaluate: Evaluate) -> Problems:
    gate = tables.gate
    if gate is None:
        return
    variants = tables.job.variants
    judged = {each.student for each in variants if judged_heads(tables, each.spec)}
    if not judged:
        yield "gate: the job has no student that is judged. Add one, or take [gate] out."
    # nothing would be held against them, and nothing is not passed
    unjudged = sorted(judged.union(gate.students) - judged)
    if judged and unjudged:
        yield f"gate.students: {unjudged} have no head that is judged. Take them out."
    for number, rule in enumerate(gate.rules):
        yield from _rule(tables, evaluate, rule, f"gate.rules.{number}")


def _rule(tables: JobTables, evaluate: Evaluate, rule: Rule, where: str) -> Problems:
    kind = tables.pool_outputs(evaluate.on).judged_as
    values = _OF_KIND["value"]
    known = [name for name in MEASURES if (name in values) == (kind == "value")]
    if rule.measure not in known:
        yield (
            f"{where}.measure = {rule.measure!r}: pools.{evaluate.on} is judged by no such measure."
            f" There is: {', '.join(known)}."
        )
        return
    missing = [name for name in rule.slices if name not in evaluate.slices]
    if missing:
        there = ", ".join(evaluate.slices) or "none"
        yield f"{where}.slices: {missing} are not among evaluate.slices. There is: {there}."
    if rule.slices and rule.measure not in ROW_MEASURES[kind]:
        measures = ROW_MEASURES[kind]
        of_rows = " or ".join(measures)
        yield f"{where}.measure = {rule.measure!r}: slices have {of_rows}. Use one of them."
    if rule.beside and rule.measure in _UNPAIRED:
        yield (
            f"{where}.measure = {rule.measure!r}: no interval of its difference is known."
            " Leave `beside` out, or use another measure."
        )
    if rule.beside == "former" and evaluate.former is None:
        yield f"{where}.beside = 'former': evaluate.former names no label set of one. Name it."
    if rule.beside == "teacher" and first_teacher(tables, evaluate.on) is None:
        yield f"{where}.beside = 'teacher': no label set is over pools.{evaluate.on}."


def check_sliced_columns(workspace: Workspace) -> None:
    """Refuse slices by columns that the test pool lacks, and numbers that are not cut anywhere.
    Raises PoolError."""
    evaluate = workspace.tables.evaluate
    if evaluate is None or not evaluate.sliced_columns:
        return
    on = evaluate.on
    pool = workspace.pool(on)
    edges = {name: list(evaluate.edges_of(f"{COLUMNS}{name}")) for name in evaluate.sliced_columns}

    def look() -> None:
        where = f"evaluate.slices: pools.{pool.name}"
        check_columns(pool.schema, evaluate.sliced_columns, where)
        for name, cuts in edges.items():
            kind = pool.schema.field(name).type
            is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            if pa.types.is_floating(kind) and not cuts:
                example = f'edges = {{ "{COLUMNS}{name}" = [0, 10] }}'
                raise PoolError(
                    f"{where}: {name!r} has numbers ({kind}), of which each would be a slice. Say"
                    f" where they are cut: {example}"
                )
            if cuts and not is_number:
                raise PoolError(
                    f"evaluate.edges: {COLUMNS}{name} of pools.{pool.name} is {kind}, and no"
                    " number. Take it out."
                )
            if (
                pa.types.is_nested(kind)
                or pa.types.is_large_binary(kind)
                or pa.types.is_binary(kind)
            ):
                raise PoolError(f"{where}: {name!r} is {kind}, which no slice is told by.")

    workspace.remember("checks", [pool.inventory.content, ["slices", edges]], look)
