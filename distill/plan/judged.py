"""What is held against the target of the test pool: label sets over it and students' heads, but
what tells of a structure. Its clusters are numbered, whatever the classes are called."""

from __future__ import annotations

from distill.plan.tables import JobTables
from distill.spec.labels import Structured
from distill.spec.students import Student, Term


def judged_labels(tables: JobTables, on: str) -> list[str]:
    """Return the label sets over the test pool that are judged."""
    return [
        name
        for name, labels in tables.labels.items()
        if on in labels.over and not isinstance(labels.labeler, Structured)
    ]


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
