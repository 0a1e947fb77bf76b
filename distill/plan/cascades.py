"""A cascade over a pool, resolved: what its threshold is chosen on, the selection of rows that are
sent on, and who answers them.

The rows that are sent on are a selection like any other, so the teacher's label set over them is
committed, resumed and paid for as `labels over select` is. Where the teacher has labelled the whole
pool before, nothing is labelled anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from distill.core.cascades import CascadeResult
from distill.core.errors import DistillError, JobError, StorageError
from distill.core.schema import digest, unseal
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.apply import NamedLabels, slug
from distill.plan.apply_steps import CascadeStep, SentRows
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.chosen import selection_folder
from distill.spec.cascade import Cascade
from distill.spec.labels import Labels, Merge, Pooled
from distill.spec.pate import Pate
from distill.spec.selections import SELECT, Select, Uncertain
from distill.storage.base import Storage

RESULT = "cascade.json"
_FOLDER = "cascades"


@dataclass(frozen=True)
class Sending:
    """The tables by which rows that are sent on are labelled."""

    selection: str
    labels: Mapping[str, Labels]
    """The teacher's, over the selection alone."""
    select: Mapping[str, Select]


def cascade_step(
    workspace: Workspace, name: str, applied: NamedLabels, judged: NamedLabels
) -> CascadeStep:
    """Return the choice of a cascade's threshold over a pool that the student has labelled, and the
    labelled rows with it. Raises ContractError where one of the two label sets is not whole."""
    table = workspace.tables.cascade[name]
    (over,) = applied.labels.over
    pool = workspace.pool(over)
    labelled = workspace.pool(table.on)
    _, contract = prepare_labels(workspace, applied.name)
    labels = workspace.whole_labels(applied.name, pool, contract)
    _, judged_contract = prepare_labels(workspace, judged.name)
    judged_labels = workspace.whole_labels(judged.name, labelled, judged_contract)
    pins = {
        f"labels.{applied.name} over {over}": labels.label_hash,
        f"labels.{judged.name} over {table.on}": judged_labels.label_hash,
        f"pools.{over}": pool.inventory.content,
        f"pools.{table.on}": labelled.inventory.content,
    }
    plain = table.model_dump(mode="json", exclude_defaults=True)
    asked = digest([plain, pins])
    truth = workspace.tables.pool_outputs(table.on)
    columns: Mapping[str, LabelColumn | TargetColumn] = {
        "truth": TargetColumn(str(labelled.spec.target), truth),
        "student": LabelColumn(judged_contract, (judged_labels,), None),
    }
    # its features are never asked for: the student has seen them already
    dataset = Dataset((labelled.inventory,), labelled.features, 1, columns)
    folder = workspace.root.folder(_FOLDER, name, over, asked[:16])
    return CascadeStep(
        name=name,
        folder=folder.uri,
        selection=selection_folder(workspace.root, _selection(name, asked)).uri,
        table=table,
        student=applied.student,
        pool=pool,
        labels=labels,
        judged=dataset,
        asked=asked,
        pins=pins,
        fragment_rows=workspace.tables.fragment_rows,
        found=read_result(folder),
    )


def sending(workspace: Workspace, step: CascadeStep, labels: str) -> Sending:
    """Return the tables that let a labeler of the job answer what is sent on."""
    selection = _selection(step.name, step.asked)
    by = Uncertain(kind="uncertain", labels=labels, measure="margin")
    select = Select(of=f"pools.{step.pool.name}", by=by, rows=1, seed=0)
    teacher = str(step.table.label_set)
    over = (f"{SELECT}{selection}",)
    table = workspace.tables.labels[teacher].model_copy(update={"over": over})
    return Sending(selection, {teacher: table}, {selection: select})


def answered_before(workspace: Workspace, teacher: str | None, pool: str) -> bool:
    """Whether the labeler that rows are sent to has labelled the whole pool before."""
    if teacher is None or pool not in workspace.tables.labels[teacher].over:
        return False
    try:
        _, contract = prepare_labels(workspace, teacher)
        workspace.whole_labels(teacher, workspace.pool(pool), contract)
    except StorageError:
        raise
    except DistillError:  # not labelled, or not yet, or otherwise
        return False
    return True


def sent_rows(
    workspace: Workspace, step: CascadeStep, result: CascadeResult, selection: str | None
) -> SentRows:
    """Return the rows that are sent on and who has answered them: the job's label set over the
    selection, or over the pool where there is no `selection`. Raises ContractError where that is
    not whole."""
    teacher = step.table.label_set
    name = _selection(step.name, step.asked)
    rounds = tuple(workspace.rounds(name))
    answers = None
    shards: Mapping[str, int] = {}
    if teacher is not None and result.sent:
        over = step.pool if selection is None else workspace.pool(f"{SELECT}{selection}")
        _, contract = prepare_labels(workspace, teacher)
        answers = workspace.whole_labels(teacher, over, contract)
        if selection is not None:
            shards = {key: number for key, (number, _) in over.inventory.known.items()}
    return SentRows(result, step.selection, rounds, answers, selection is None, shards)


def read_result(folder: Storage) -> CascadeResult | None:
    """Read what a cascade came to; None before it did. Raises StorageError."""
    content = folder.read_or_none(RESULT)
    if content is None:
        return None
    return CascadeResult.from_plain(unseal(content, folder.url(RESULT)))


def stored_results(root: Storage, names: Iterator[str]) -> Iterator[CascadeResult]:
    """Yield what cascades of these names came to, over all pools. Raises StorageError."""
    for name in names:
        folder = root.folder(_FOLDER, name)
        for entry in folder.list_objects():
            if entry.key.endswith(f"/{RESULT}"):
                content = folder.read(entry.key)
                yield CascadeResult.from_plain(unseal(content, folder.url(entry.key)))


def require_cascade(workspace: Workspace, name: str, applied: NamedLabels) -> Cascade:
    """Return the cascade of a student. Raises JobError for answers that have no threshold, for
    labelled rows that taught it, and for a teacher or labelled rows of other classes."""
    outputs = applied.outputs
    table = workspace.tables.cascade[name]
    where = f"{workspace.tables.path}: cascade.{name}"
    if not outputs.is_exclusive:
        raise JobError(
            f"{where}: its student says {outputs.in_words}, and is sure of one of several exclusive"
            " classes or not. Apply it without a cascade."
        )
    # a model in a folder is no student of the job, whose checks know what those learn from
    if workspace.pool(table.on).inventory.content in applied.seen:
        raise JobError(
            f"{where}.on = {table.on!r}: the model learned from the very rows of that pool, where"
            " it is surer than elsewhere. Name rows that it never saw."
        )
    truth = workspace.tables.pool_outputs(table.on)
    if not truth.is_exclusive:
        raise JobError(
            f"{where}.on = {table.on!r}: its target says {truth.in_words}, where one class is due."
        )
    if table.label_set is not None:
        teacher = workspace.tables.label_outputs(table.label_set)
        if sorted(teacher.classes) != sorted(outputs.classes):
            raise JobError(
                f"{where}.to = {table.to!r}: says {teacher.in_words}, but the student"
                f" {outputs.in_words}. Send to a labeler of the same classes."
            )
        (pool,) = applied.labels.over
        labeler = workspace.tables.labels[table.label_set].labeler
        # the job's checks saw other pools: those that the label set is over
        if isinstance(labeler, Pate):
            private = workspace.tables.fit[labeler.fit].on
            if workspace.tables.may_share_rows(pool, private):
                raise JobError(
                    f"{where}.to = {table.to!r}: the teachers have seen rows of {private!r}. Ask"
                    " them about others."
                )
        sees_rows = _sees_rows(workspace, table.label_set)
        if not sees_rows and not answered_before(workspace, table.label_set, pool):
            raise JobError(
                f"{where}.to = {table.to!r}: is made of other label sets, which have none of the"
                f" rows that will be sent on. Label pools.{pool} by it before, or send to a labeler"
                " that sees the rows themselves."
            )
    return table


def _sees_rows(workspace: Workspace, teacher: str) -> bool:
    """Whether a labeler can be asked about some rows of a pool alone, with nothing labelled first."""
    labeler = workspace.tables.labels[teacher].labeler
    of_labels = isinstance(labeler, (Merge, Pooled))
    return not of_labels and workspace.tables.values_of(teacher) is None


def _selection(name: str, asked: str) -> str:
    return f"cascade-{slug(name)}-{asked[:12]}"
