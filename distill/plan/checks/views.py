"""What `views` of a label set, and students that learn from one, need of images."""

from __future__ import annotations

from collections.abc import Mapping

from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.labels import Merge, Pooled, Views
from distill.spec.pate import Pate
from distill.spec.students import Student


def check_views(tables: JobTables, name: str) -> Problems:
    """Yield why the rows of `labels.<name>` cannot be altered as its `views` say."""
    labels = tables.labels[name]
    if labels.views is None:
        return
    where = f"labels.{name}.views"
    if isinstance(labels.labeler, Pate):
        yield f"{where}: each vote of a row is paid for by itself. Leave it out."
        return
    values = tables.values_of(name)
    sees_labels = values is not None
    if sees_labels or isinstance(labels.labeler, (Merge, Pooled)):
        yield (f"{where}: its labeler sees what other label sets say, and no images. Leave it out.")
        return
    for pool in labels.over:
        spec = tables.pools[pool]
        features = spec.features
        for problem in labels.views.augment.misfits(features, pool):
            yield f"{where}.{problem}"


def check_replay(tables: JobTables, student: Student, where: str) -> Problems:
    """Yield why a student cannot see the views of its label sets; `where` is its key."""
    views = _views_of(tables, student)
    if not views:
        return
    first = next(iter(views))
    if student.features is not None:
        yield (
            f"{where}.features.of = {student.features.of!r}: labels.{first}, from which it learns,"
            " has views of images, and the student sees none. Learn from a label set without views."
        )
    for name, each in views.items():
        if each != views[first]:
            yield (
                f"{where}.terms: labels.{first} and labels.{name} have different views, and a row is"
                " altered in one way at a time. Give them the same views."
            )
    if student.training.augment is not None and set(student.taught_on) == set(student.on):
        yield (
            f"{where}.training.augment: all its rows are altered as the views of labels.{first} are."
            " Leave it out."
        )


def _views_of(tables: JobTables, student: Student) -> Mapping[str, Views]:
    """The views of the label sets that it learns from, by their names."""
    found = {}
    for term in student.terms:
        views = tables.labels[term.label_set].views if term.label_set else None
        if views is not None:
            name = str(term.label_set)
            found[name] = views
    return found
