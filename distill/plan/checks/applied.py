"""What is checked of `distill apply` before any work, and needs the trained student or the pool that
it is applied to: the one list of such checks.

What the job file alone shows is checked when it is loaded (`distill.plan.checks.cascades`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from distill.core.errors import JobError
from distill.plan.apply import NamedLabels
from distill.plan.cascades import answered_before
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.spec.cascade import Cascade
from distill.spec.labels import Merge, Pooled
from distill.spec.pate import Pate

log = logging.getLogger(__name__)


def require_cascade(workspace: Workspace, name: str, applied: NamedLabels) -> Cascade:
    """Return a cascade that can be applied to a pool, and warn of labelled rows that promise less
    than they seem to. Raises JobError."""
    table = workspace.tables.cascade[name]
    where = f"{workspace.tables.path}: cascade.{name}"
    for check in _CHECKS:
        for problem in check(workspace, table, applied):
            raise JobError(f"{where}{problem}")
    for doubt in _doubts(workspace.tables, table):
        log.warning("cascade.%s.on = %r: %s", name, table.on, doubt)
    return table


def _exclusive(_workspace: Workspace, _table: Cascade, applied: NamedLabels) -> Problems:
    if not applied.outputs.is_exclusive:
        yield (
            f": its student says {applied.outputs.in_words}, and is sure of one of several exclusive"
            " classes or not. Apply it without a cascade."
        )


def _unseen(workspace: Workspace, table: Cascade, applied: NamedLabels) -> Problems:
    # a model in a folder is no student of the job, whose checks know what those learn from
    if workspace.pool(table.on).inventory.content in applied.seen:
        yield (
            f".on = {table.on!r}: the model learned from the very rows of that pool, where it is"
            " surer than elsewhere. Name rows that it never saw."
        )


def _same_classes(workspace: Workspace, table: Cascade, applied: NamedLabels) -> Problems:
    if table.label_set is None:
        return
    teacher = workspace.tables.label_outputs(table.label_set)
    if sorted(teacher.classes) != sorted(applied.outputs.classes):
        yield (
            f".to = {table.to!r}: says {teacher.in_words}, but the student"
            f" {applied.outputs.in_words}. Send to a labeler of the same classes."
        )


def _unseen_by_voters(workspace: Workspace, table: Cascade, applied: NamedLabels) -> Problems:
    # the job's checks saw other pools: those that the label set is over
    if table.label_set is None:
        return
    (pool,) = applied.labels.over
    labeler = workspace.tables.labels[table.label_set].labeler
    if isinstance(labeler, Pate):
        private = workspace.tables.fit[labeler.fit].on
        if workspace.tables.may_share_rows(pool, private):
            yield (
                f".to = {table.to!r}: the teachers have seen rows of {private!r}. Ask them about"
                " others."
            )


def _sees_rows(workspace: Workspace, table: Cascade, applied: NamedLabels) -> Problems:
    """Whether the labeler can be asked about some rows of a pool alone, with nothing labelled
    first."""
    if table.label_set is None:
        return
    (pool,) = applied.labels.over
    labeler = workspace.tables.labels[table.label_set].labeler
    of_labels = isinstance(labeler, (Merge, Pooled))
    if not of_labels and workspace.tables.values_of(table.label_set) is None:
        return
    if not answered_before(workspace, table.label_set, pool):
        yield (
            f".to = {table.to!r}: is made of other label sets, which have none of the rows that"
            f" will be sent on. Label pools.{pool} by it before, or send to a labeler that sees the"
            " rows themselves."
        )


# each yields what stands behind the table's name
_CHECKS: tuple[Callable[[Workspace, Cascade, NamedLabels], Problems], ...] = (
    _exclusive,
    _unseen,
    _same_classes,
    _unseen_by_voters,
    _sees_rows,
)


def _doubts(tables: JobTables, table: Cascade) -> Problems:
    """Yield why the rows that a threshold is chosen on may promise less of a pool's."""
    if tables.pools[table.on].corrects is not None:
        yield (
            "people were shown the doubtful rows first, so these are not drawn as those of the pool"
            " are, and the accuracy is promised of rows like them alone. Label rows at random."
        )
    evaluate = tables.evaluate
    if evaluate is not None and tables.may_share_rows(table.on, evaluate.on):
        yield (
            f"[evaluate] judges by pools.{evaluate.on}, which has the same rows: what the cascade is"
            " found to be right in there is no second proof. Choose it on others."
        )
