"""Which rows of a pool a cascade's teacher has labelled, wherever these labels lie, so that it is
asked about none of them again.

An account is a selection (`asked_rows`) and the teacher's label set over it. Growth of the pool and
another threshold add to it. A new one is opened where the old one can no longer be labelled to its
end: a file of the pool changed or is gone (the old one may name its rows), or the teacher has
labelled the pool itself meanwhile (which may answer what the old one still asks). What was labelled
in all others of the same cascade, and over the pool itself, counts as before.

    account's name = digest of what decides places and teacher, the retired shards, a generation

A retired shard stays retired, so the inventory's segments say which names there can have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.core.errors import DistillError, StorageError
from distill.core.schema import digest
from distill.labels.label_set import LabelSet
from distill.labels.pending import covered_rows
from distill.plan.apply import slug
from distill.plan.apply_steps import Answered
from distill.plan.labelers import prepare_labels
from distill.plan.workspace import Workspace
from distill.pools.chosen import ChosenRound, selection_folder
from distill.pools.fragments import fragment_id
from distill.pools.inventory import Inventory
from distill.pools.open_pool import OpenPool
from distill.spec.labels import Labels
from distill.spec.selections import SELECT, Select, Uncertain


@dataclass(frozen=True)
class Accounts:
    """The accounts of one cascade over one pool."""

    own: str
    """Name of the selection that rows are added to now."""
    is_first: bool
    """Whether no other was opened beside it since the pool's shards are what they are."""
    others: tuple[Answered, ...]
    """What is labelled outside it."""


@dataclass(frozen=True)
class Sending:
    """The tables by which rows of accounts are labelled."""

    labels: Mapping[str, Labels]
    """The teacher's, over the selections alone."""
    select: Mapping[str, Select]


@dataclass(frozen=True)
class _Account:
    name: str
    state: Inventory
    """The pool's, under which its rows are found: as it was when the last were added, or later."""


def find_accounts(workspace: Workspace, name: str, pool: OpenPool, by: str) -> Accounts:
    """Find the account that `cascade.<name>` adds to, and what its teacher has labelled of the pool
    beside it; `by` is the label set that rows are sent on by. Raises StorageError."""
    names = _Names(workspace, name, pool)
    first = names.of(pool.inventory, 0)
    teacher = workspace.tables.cascade[name].label_set
    if teacher is None:
        return Accounts(first, True, ())
    of_pool = labelled_pool(workspace, teacher, pool)
    if of_pool is not None and of_pool.is_whole:
        return Accounts(first, True, (of_pool,))
    former = [each for state in _former_states(pool.inventory) for each in names.there(state)]
    there = names.there(pool.inventory)
    accounts = [*former, *there]
    more = sending(workspace, teacher, [each.name for each in accounts], pool.name, by)
    asking = workspace.with_tables(more.labels, more.select)
    answered = {each.name: _labelled(asking, teacher, each) for each in accounts}
    own = names.of(pool.inventory, len(there))
    for account in there:
        if of_pool is None or not _overlap(asking, account, answered[account.name], of_pool):
            own = account.name
            break
    found = [of_pool, *(each for name, each in answered.items() if name != own)]
    others = tuple(each for each in found if each is not None and len(each.labels.entries))
    return Accounts(own, own == first, others)


def lost_account(folder: str) -> StorageError:
    """Return the error of an account that is gone from its folder."""
    return StorageError(
        f"{folder} is not there, which says what was sent on. Restore it from a copy, or give the"
        " cascade another name, by which all is asked about again."
    )


def labelled_pool(workspace: Workspace, teacher: str, pool: OpenPool) -> Answered | None:
    """Return what a label set of the job says of the pool itself; None where it says nothing that
    means what the job means now. Raises StorageError."""
    if pool.name not in workspace.tables.labels[teacher].over:
        return None
    labels = _usable(workspace, teacher, pool.name, pool.inventory)
    if labels is None:
        return None
    covered = covered_rows(labels.entries, pool.inventory)
    is_whole = covered == pool.inventory.rows
    return None if covered < 0 else Answered(pool.name, labels, is_whole=is_whole)


def labelled_account(
    workspace: Workspace, labels: LabelSet, account: str, state: Inventory
) -> Answered:
    """Return what is labelled of an account, whose rows are those of a pool in that state."""
    over = f"{SELECT}{account}"
    inventory = workspace.inventory(over)
    assert inventory is not None
    folder = selection_folder(workspace.root, account).uri
    files = _files_by_fragment(workspace, account, state)
    shards = {key: number for key, (number, _) in inventory.known.items()}
    return Answered(over, labels, folder, files, shards)


def sending(
    workspace: Workspace, teacher: str, accounts: Sequence[str], pool: str, by: str
) -> Sending:
    """Return the tables that let a labeler of the job label the rows of accounts."""
    method = Uncertain(kind="uncertain", labels=by, measure="margin")
    select = Select(of=f"pools.{pool}", by=method, rows=1, seed=0)
    over = tuple(f"{SELECT}{account}" for account in accounts)
    table = workspace.tables.labels[teacher].model_copy(update={"over": over})
    return Sending({teacher: table}, dict.fromkeys(accounts, select))


def _usable(workspace: Workspace, teacher: str, over: str, inventory: Inventory) -> LabelSet | None:
    """A label set as far as it is there, if it means what the job means now."""
    try:
        _, contract = prepare_labels(workspace, teacher)
        labels = workspace.label_set(teacher, over)
        labels.require(contract, inventory, workspace.tables.fragment_rows)
        if workspace.tables.labels[teacher].deterministic == "strict":
            labels.require_one_origin()
    except StorageError:
        raise
    except DistillError:  # not labelled, or not yet, or otherwise
        return None
    return labels


def _labelled(workspace: Workspace, teacher: str, account: _Account) -> Answered | None:
    over = f"{SELECT}{account.name}"
    inventory = workspace.inventory(over)
    if inventory is None:  # nothing of it was ever labelled
        return None
    labels = _usable(workspace, teacher, over, inventory)
    if labels is None:
        return None
    return labelled_account(workspace, labels, account.name, account.state)


def _overlap(
    workspace: Workspace, account: _Account, answered: Answered | None, of_pool: Answered
) -> bool:
    """Whether an account still lacks labels of rows of which the pool's own label set has some."""
    done = frozenset() if answered is None else _whole_files(workspace, answered)
    files = _files_by_fragment(workspace, account.name, account.state)
    lacking = [fragment for fragment, keys in files.items() if not done.issuperset(keys)]
    entries = of_pool.labels.entries
    return any(entries.find(fragment) is not None for fragment in lacking)


def _whole_files(workspace: Workspace, answered: Answered) -> frozenset[str]:
    """The files of an account that are labelled to their end."""
    inventory = workspace.inventory(answered.over)
    assert inventory is not None
    entries = answered.labels.entries
    rows = np.bincount(entries.column("shard"), entries.column("rows"), len(inventory.table))
    whole = rows >= inventory.shard_rows
    return frozenset(key for key, number in answered.shards.items() if whole[number])


def _former_states(inventory: Inventory) -> Iterator[Inventory]:
    """The inventory as it was each time before shards were retired."""
    retires = inventory.table["retires"]
    for segment, start in enumerate(inventory.segment_starts):
        stop = (*inventory.segment_starts, len(retires))[segment + 1]
        if retires.slice(start, stop - start).null_count < stop - start:
            starts = inventory.segment_starts[:segment]
            table = inventory.table.slice(0, start)
            yield replace(inventory, table=table, segments=segment, segment_starts=starts)


@dataclass(frozen=True)
class _Names:
    """The names of a cascade's accounts over a pool."""

    workspace: Workspace
    cascade: str
    pool: OpenPool

    def of(self, state: Inventory, generation: int) -> str:
        """Return one name."""
        tables = self.workspace.tables
        identity = [
            self.pool.name,
            state.digest,
            sorted(state.retired),
            state.masks,
            sorted(self.pool.spec.dropped),
            tables.fragment_rows,
            # another teacher was asked about nothing, and owes nothing of what this one was asked
            tables.cascade[self.cascade].label_set,
        ]
        more = [generation] if generation else []
        return f"cascade-{slug(self.cascade)}-{digest([*identity, *more])[:12]}"

    def there(self, state: Inventory) -> list[_Account]:
        """Return the accounts of one state that have rows, generation by generation. Raises
        StorageError where what was sent on is lost."""
        found: list[_Account] = []
        name = self.of(state, 0)
        while self.workspace.rounds(name):
            found.append(_Account(name, state))
            name = self.of(state, len(found))
        root = self.workspace.root
        # labelled once, so what it had is gone: its rows would be bought again
        if root.folder("inventories", f"{SELECT}{name}").list_objects():
            raise lost_account(selection_folder(root, name).uri)
        return found


def files_by_place(rounds: Sequence[ChosenRound]) -> dict[int, list[str]]:
    """Return the files of an account by the place in the pool of the fragment whose rows they name:
    `<round>-<place>-…`."""
    files: dict[int, list[str]] = {}
    for each in rounds:
        for key in each.files:
            place = int(key.split("-")[1])
            files.setdefault(place, []).append(key)
    return files


def _files_by_fragment(
    workspace: Workspace, account: str, state: Inventory
) -> Mapping[str, tuple[str, ...]]:
    """Files of addresses by the fragment whose rows they name, which outlives its place."""
    cut = state.fragment_table(workspace.tables.fragment_rows)
    files: dict[str, tuple[str, ...]] = {}
    for place, keys in files_by_place(workspace.rounds(account)).items():
        shard = int(cut.shard[place])
        files[fragment_id(shard, int(cut.number[place]))] = tuple(keys)
    return files
