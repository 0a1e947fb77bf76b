"""What `[evaluate]` says of the pool that all are judged on, and of who is judged."""

from __future__ import annotations

from distill.plan.checks.problems import Problems
from distill.plan.judged import judged_heads, judged_labels
from distill.plan.tables import JobTables
from distill.spec.labels import TopK
from distill.spec.outputs import Outputs


def is_judged_on(tables: JobTables, pool: str | None) -> bool:
    """Whether students are judged on this pool, or on the one that a selection is of."""
    if tables.evaluate is None or pool is None:
        return False
    judged_on = tables.base_pool(tables.evaluate.on)
    base = tables.base_pool(pool)
    return judged_on == base


def check_evaluation(tables: JobTables) -> Problems:
    """Yield all problems of `[evaluate]`, whose names exist."""
    if tables.evaluate is None:
        return
    on = tables.evaluate.on
    if tables.pools[on].target is None:
        yield f"evaluate.on = {on!r}: that pool has no target to judge by. Name its target column."
    yield from _temperatures(tables, on)
    yield from _anything(tables, on)
    yield from _meanings(tables, on)
    yield from _teacher(tables, on, tables.evaluate.teacher)


def _temperatures(tables: JobTables, on: str) -> Problems:
    """Whether the judged label sets can be read at temperature 1."""
    for name in judged_labels(tables, on):
        labels = tables.labels[name]
        encoding = labels.encoding
        if isinstance(encoding, TopK) and 1.0 not in encoding.temperatures:
            key = f"labels.{name}.encoding.temperatures"
            declared = list(encoding.temperatures)
            yield f"{key} = {declared}: it is judged on pools.{on}, at temperature 1. Add 1."


def _anything(tables: JobTables, on: str) -> Problems:
    """Whether anything is judged, where there are students."""
    variants = tables.job.variants
    if judged_labels(tables, on) or not variants:
        return
    if not any(judged_heads(tables, variant.spec) for variant in variants):
        yield (
            f"evaluate.on = {on!r}: no label set covers it, and hints (heads with a width of their"
            " own) are not judged. Take [evaluate] out, or judge another head."
        )


def _meanings(tables: JobTables, on: str) -> Problems:
    """Whether all that are judged speak of what the pool's target says."""
    truth = tables.pool_outputs(on)
    for name in judged_labels(tables, on):
        outputs = tables.label_outputs(name)
        yield from _comparable(outputs, truth, f"labels.{name}.over", on)
    for variant in tables.job.variants:
        heads = f"students.{variant.student}.heads"
        for head in judged_heads(tables, variant.spec):
            outputs = tables.head_outputs(variant.spec, head)
            yield from _comparable(outputs, truth, f"{heads}.{head}", on)


def _comparable(outputs: Outputs, truth: Outputs, where: str, on: str) -> Problems:
    if not outputs.is_like(truth):
        yield (
            f"{where}: answers with {outputs.in_words}, but pools.{on}, which it is judged on,"
            f" has {truth.in_words}. Judge it on another pool."
        )
        return
    shared = set(outputs.classes).intersection(truth.classes)
    if truth.classes and not shared:
        yield (
            f"{where}: shares no class with pools.{on}: {outputs.in_words} against {truth.in_words}."
            " Spell them alike."
        )


def _teacher(tables: JobTables, on: str, teacher: str | None) -> Problems:
    if teacher is not None and teacher not in judged_labels(tables, on):
        yield (
            f"evaluate.teacher = {teacher!r}: it does not label pools.{on}."
            f" Add {on!r} to labels.{teacher}.over."
        )
