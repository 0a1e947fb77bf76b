"""Which label sets one pass of a network answers: several heads of a student, or a classifier and its
embedding, over the same pools.

Each stays a label set of its own, with its contract and its commits: what is missing of one alone is
labelled by a pass of its own.
"""

from __future__ import annotations

from distill.labelers.kind import ModelLabelerKind
from distill.plan.tables import JobTables


def companions_of(tables: JobTables, name: str) -> list[str]:
    """Return the other label sets that the pass of `labels.<name>` answers too."""
    due = _pass_of(tables, name)
    if due is None:
        return []
    return [other for other in tables.labels if other != name and _pass_of(tables, other) == due]


def _pass_of(tables: JobTables, name: str) -> tuple[object, ...] | None:
    """What label sets of one pass have alike."""
    # None where a pass answers one label set alone
    labels = tables.labels[name]
    kind = labels.labeler
    if not isinstance(kind, ModelLabelerKind):
        return None
    # each of these takes something of a fragment's own: rows again, or a device that is compared
    is_simple = labels.views is None and labels.calibrate_on is None
    if not is_simple or labels.deterministic == "strict":
        return None
    own = kind.pass_key()
    if own is None:
        return None
    model = tables.model_uri(kind.model)
    return (kind.kind, model, kind.sha256, own, labels.over, labels.batch_rows, labels.precision)
