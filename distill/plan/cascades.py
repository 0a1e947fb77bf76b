"""A cascade over a pool, resolved: what its threshold is chosen on, the account of rows that are
sent on (`accounts`), and who answers them.

The rows that are sent on are a selection like any other, so the teacher's label set over them is
committed, resumed and paid for as `labels over select` is. What the teacher has labelled before is
not asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from distill.core.cascades import CascadeResult
from distill.core.schema import digest, unseal
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.accounts import (
    Accounts,
    Sending,
    find_accounts,
    labelled_account,
    labelled_pool,
    lost_account,
    sending,
)
from distill.plan.apply import NamedLabels, slug
from distill.plan.apply_steps import Answered, CascadeStep
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.chosen import selection_folder
from distill.spec.selections import SELECT
from distill.storage.base import Storage

RESULT = "cascade.json"
_FOLDER = "cascades"


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
    accounts = find_accounts(workspace, name, pool, applied.name)
    choice = _choice(workspace, name, over, [plain, pins], accounts)
    truth = workspace.tables.pool_outputs(table.on)
    columns: Mapping[str, LabelColumn | TargetColumn] = {
        "truth": TargetColumn(str(labelled.spec.target), truth),
        "student": LabelColumn(judged_contract, (judged_labels,), None),
    }
    # its features are never asked for: the student has seen them already
    dataset = Dataset((labelled.inventory,), labelled.features, 1, columns)
    return CascadeStep(
        name=name,
        folder=choice.folder.uri,
        selection=choice.selection,
        selection_folder=selection_folder(workspace.root, choice.selection).uri,
        table=table,
        student=applied.student,
        pool=pool,
        labels=labels,
        judged=dataset,
        asked=choice.asked,
        pins=pins,
        fragment_rows=workspace.tables.fragment_rows,
        answered=choice.answered,
        found=choice.found,
    )


def answered_before(workspace: Workspace, teacher: str | None, pool: str) -> bool:
    """Whether the labeler that rows are sent to has labelled the whole pool before."""
    if teacher is None:
        return False
    labelled = labelled_pool(workspace, teacher, workspace.pool(pool))
    return labelled is not None and labelled.is_whole


def asking(workspace: Workspace, step: CascadeStep) -> Sending | None:
    """Return the tables that let a labeler of the job label what is sent on; None where all of it
    is labelled elsewhere. Raises StorageError where what was sent on is lost."""
    workspace.forget_selection(step.selection)
    is_whole = any(each.is_whole for each in step.answered)
    if is_whole or not workspace.rounds(step.selection):
        if step.answered:
            return None
        raise lost_account(step.selection_folder)
    teacher = str(step.table.label_set)
    return sending(workspace, teacher, [step.selection], step.pool.name, step.labels.name)


def with_own(workspace: Workspace, step: CascadeStep) -> tuple[Answered, ...]:
    """Return who has answered what is sent on, of which the job has labelled its own account now.
    Raises ContractError where that is not whole."""
    teacher = str(step.table.label_set)
    _, contract = prepare_labels(workspace, teacher)
    selection = workspace.pool(f"{SELECT}{step.selection}")
    labels = workspace.whole_labels(teacher, selection, contract)
    own = labelled_account(workspace, labels, step.selection, step.pool.inventory)
    return (own, *step.answered)


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


@dataclass(frozen=True)
class _Choice:
    """Where the choice of a cascade's rows lies."""

    asked: str
    folder: Storage
    selection: str
    answered: tuple[Answered, ...]
    found: CascadeResult | None


def _choice(
    workspace: Workspace, name: str, over: str, identity: list[object], accounts: Accounts
) -> _Choice:
    def chosen(asked: str, answered: tuple[Answered, ...]) -> _Choice:
        folder = workspace.root.folder(_FOLDER, name, over, asked[:16])
        return _Choice(asked, folder, accounts.own, answered, read_result(folder))

    plain = digest(identity)
    whole = tuple(each for each in accounts.others if each.is_whole)
    # made when nothing was labelled elsewhere, so the account has all rows
    alone = chosen(plain, whole)
    if alone.found is not None and accounts.is_first:
        former = f"cascade-{slug(name)}-{plain[:12]}"
        # of a release that chose a selection for each threshold: what is done stays done
        if workspace.rounds(former):
            return replace(alone, selection=former)
        # a pool that is again as it was before files came and went: what was sent on then stands
        # in an account of before
        if whole or workspace.rounds(accounts.own):
            return alone
    if not accounts.others:
        return alone
    labelled = [
        [each.over, each.labels.version, each.labels.label_hash] for each in accounts.others
    ]
    return chosen(digest([*identity, labelled]), accounts.others)
