"""A cascade over a pool, resolved: what its threshold is chosen on, the selection of rows that are
sent on, and who answers them.

The rows that are sent on are a selection like any other, so the teacher's label set over them is
committed, resumed and paid for as `labels over select` is. There is one of a cascade, its teacher
and a pool: where the pool grows, or the threshold moves, a round adds the rows that the teacher was
not asked about before, and it is asked about these alone. Where it has labelled the whole pool
before, nothing is labelled anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from distill.core.cascades import CascadeResult
from distill.core.errors import DistillError, StorageError
from distill.core.schema import digest, unseal
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.apply import NamedLabels, slug
from distill.plan.apply_steps import CascadeStep, SentRows
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.chosen import selection_folder
from distill.pools.open_pool import OpenPool
from distill.spec.labels import Labels
from distill.spec.selections import SELECT, Select, Uncertain
from distill.storage.base import Storage

RESULT = "cascade.json"
_FOLDER = "cascades"


@dataclass(frozen=True)
class Sending:
    """The tables by which rows that are sent on are labelled."""

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
    found = read_result(folder)
    selection = _selection(workspace, name, pool)
    former = f"cascade-{slug(name)}-{asked[:12]}"
    # of a release that chose a selection for each threshold: what is done stays done
    if found is not None and workspace.rounds(former):
        selection = former
    return CascadeStep(
        name=name,
        folder=folder.uri,
        selection=selection,
        selection_folder=selection_folder(workspace.root, selection).uri,
        table=table,
        student=applied.student,
        pool=pool,
        labels=labels,
        judged=dataset,
        asked=asked,
        pins=pins,
        fragment_rows=workspace.tables.fragment_rows,
        found=found,
    )


def sending(workspace: Workspace, step: CascadeStep, labels: str) -> Sending:
    """Return the tables that let a labeler of the job answer what is sent on. Raises StorageError
    where the selection of it is lost."""
    if not workspace.rounds(step.selection):
        raise StorageError(
            f"{step.selection_folder} is not there, which says what was sent on. Restore it from a"
            " copy, or give the cascade another name, by which all is asked about again."
        )
    by = Uncertain(kind="uncertain", labels=labels, measure="margin")
    select = Select(of=f"pools.{step.pool.name}", by=by, rows=1, seed=0)
    teacher = str(step.table.label_set)
    over = (f"{SELECT}{step.selection}",)
    table = workspace.tables.labels[teacher].model_copy(update={"over": over})
    return Sending({teacher: table}, {step.selection: select})


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
    workspace: Workspace, step: CascadeStep, result: CascadeResult, *, of_pool: bool
) -> SentRows:
    """Return who has answered the rows that are sent on: the job's label set over the selection, or
    over the whole pool. Raises ContractError where that is not whole."""
    teacher = step.table.label_set
    if teacher is None or not result.sent:
        return SentRows(result, step.selection_folder, (), None, of_pool, {})
    over = step.pool if of_pool else workspace.pool(f"{SELECT}{step.selection}")
    _, contract = prepare_labels(workspace, teacher)
    answers = workspace.whole_labels(teacher, over, contract)
    if of_pool:
        return SentRows(result, step.selection_folder, (), answers, of_pool, {})
    rounds = tuple(workspace.rounds(step.selection))
    shards = {key: number for key, (number, _) in over.inventory.known.items()}
    return SentRows(result, step.selection_folder, rounds, answers, of_pool, shards)


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


def _selection(workspace: Workspace, name: str, pool: OpenPool) -> str:
    inventory = pool.inventory
    # a file that changed is another one: of its rows, and of the places of fragments behind it,
    # nothing holds any more
    identity = [
        pool.name,
        inventory.digest,
        sorted(inventory.retired),
        inventory.masks,
        sorted(pool.spec.dropped),
        workspace.tables.fragment_rows,
        # another teacher was asked about nothing, and owes no answer to what this one was asked
        workspace.tables.cascade[name].label_set,
    ]
    return f"cascade-{slug(name)}-{digest(identity)[:12]}"
