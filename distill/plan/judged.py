"""What is held against the target of the test pool: label sets over it and students' heads, but
neither what tells of a structure, whose clusters are numbered whatever the classes are called, nor
embeddings that are there to be seen, nor what only tells rows apart."""

from __future__ import annotations

from distill.plan.tables import JobTables
from distill.spec.labels import Structured
from distill.spec.students import Student, Term


def judged_labels(tables: JobTables, on: str) -> list[str]:
    """Return the label sets over the test pool that are judged."""
    over = {name: labels for name, labels in tables.labels.items() if on in labels.over}
    return [
        name
        for name, labels in over.items()
        if not isinstance(labels.labeler, Structured)
        and not _is_embedding(tables, name, on)
        and not _only_slices(tables, name, on)
    ]


def _only_slices(tables: JobTables, name: str, on: str) -> bool:
    """Whether a label set says something else than the test pool's target, and slices rows."""
    evaluate = tables.evaluate
    if evaluate is None:
        return False
    powered = evaluate.prediction_powered
    slicing = {*evaluate.sliced_labels, powered.strata if powered else None}
    return name in slicing and not tables.label_outputs(name).is_like(tables.pool_outputs(on))


def _is_embedding(tables: JobTables, name: str, on: str) -> bool:
    """Whether a label set says something else than the test pool's target, and a model of the job
    sees its values."""
    students = [variant.spec.features for variant in tables.job.variants]
    fits = [fit.features for fit in tables.fit.values()]
    seen = {features.label_set for features in (*students, *fits) if features}
    seen |= {str(table.label_set) for table in tables.structure.values()}
    truth = tables.pool_outputs(on)
    return name in seen and not tables.label_outputs(name).is_like(truth)


def judged_heads(tables: JobTables, student: Student) -> tuple[str, ...]:
    """Return the heads of a student that are judged: neither hints (heads with a width of their
    own) nor those that learn what a structure found."""
    return tuple(
        head
        for head in student.judged_heads
        if not any(is_of_structure(tables, term) for term in student.terms_of(head))
    )


def is_of_structure(tables: JobTables, term: Term) -> bool:
    """Whether a term learns what a structure found."""
    if term.label_set is None:
        return False
    return isinstance(tables.labels[term.label_set].labeler, Structured)
