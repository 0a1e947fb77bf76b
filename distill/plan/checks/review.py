"""What `[review]` says of its pool and label sets."""

from __future__ import annotations

from distill.plan.checks.problems import Problems
from distill.plan.review import is_reviewable, reviewed_labels
from distill.plan.tables import JobTables


def check_review(tables: JobTables) -> Problems:
    """Yield all problems of it."""
    review = tables.job.review
    if review is None:
        return
    if review.over not in tables.pools:
        there = ", ".join(tables.pools)
        yield f"review.over = {review.over!r}: there is no such pool. There is: {there}."
        return
    for name in review.labels:
        if name not in tables.labels:
            there = ", ".join(tables.labels) or "none"
            yield f"review.labels = {name!r}: there is no such label set. There is: {there}."
        elif review.over not in tables.labels[name].over:
            yield (
                f"review.labels = {name!r}: it does not label pools.{review.over}."
                f" Add {review.over!r} to labels.{name}.over."
            )
        elif not is_reviewable(tables, name):
            outputs = tables.label_outputs(name)
            yield (
                f"review.labels = {name!r}: says {outputs.in_words}, and people are shown rows by"
                " one class a row. Name label sets of exclusive classes."
            )
    if not review.labels and not reviewed_labels(tables, review):
        yield (
            f"review.over = {review.over!r}: no label set of exclusive classes is over it."
            " Label it, or review another pool."
        )
    for name in reviewed_labels(tables, review):
        labels = tables.labels.get(name)
        if labels is not None and labels.encryption is not None:
            yield (
                f"review.labels: labels.{name} is encrypted, and a review shows people its answers"
                " in plain files. Name others."
            )
