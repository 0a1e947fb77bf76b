"""`distill verify`: the invariants, proven on what is stored, in O(fragments).

Every row of the pool is covered exactly once, labelled or rejected; every commit is whole and says
what the manifest says; every data object has the sha256 that its commit names and the columns that
its contract says. Of a label set over a selection, also that each address of it is whole and stands
there once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from distill.core.errors import DistillError, StorageError
from distill.core.progress import track
from distill.labels.contract import CONTRACT
from distill.labels.label_set import LabelSet
from distill.labels.pending import find_misplaced
from distill.labels.repair import find_problems, pending_fragments
from distill.labels.state import LabelSetState, read_state
from distill.plan.steps import StoredLabelsStep, VerifyStep
from distill.pools.chosen import chosen_addresses, read_rounds
from distill.pools.formats.selection import SELECTED_ROW, SELECTED_SHARD
from distill.pools.inventory import Inventory
from distill.storage.open import open_storage


@dataclass(frozen=True)
class Verified:
    """What one label set turned out to be."""

    name: str
    pool: str
    fragments: int
    rows: int
    labelled: int
    rejected: int
    problems: tuple[str, ...]


def verify_labels(step: VerifyStep) -> Verified:
    """Prove the invariants of one label set. Opens no input and starts no Ray."""
    stored, inventory = step.stored, step.inventory
    if inventory is None:
        command = f"distill label {step.job_file} {stored.name}"
        return _unproven(stored, 0, f"pools.{stored.pool} was never listed. Run `{command}`.")
    try:
        state = read_state(open_storage(stored.folder), stored.name, stored.version, inventory)
    except DistillError as error:
        return _unproven(stored, inventory.rows, str(error))
    labels = state.labels
    if labels.stored is None:
        return _unproven(stored, inventory.rows, _without_contract(labels))
    coverage = _coverage(state, inventory, step.fragment_rows)
    chosen = _selection(step.selection, inventory) if step.selection else ()
    problems = (*coverage, *_contents(labels, stored.pool), *chosen)
    rejected = labels.entries.rejected
    labelled = labels.entries.rows - rejected
    return Verified(
        stored.name, stored.pool, len(labels.entries), inventory.rows, labelled, rejected, problems
    )


def _unproven(stored: StoredLabelsStep, rows: int, problem: str) -> Verified:
    return Verified(stored.name, stored.pool, 0, rows, 0, 0, (problem,))


def _without_contract(labels: LabelSet) -> str:
    commits = len(labels.entries)
    if not commits:
        return f"nothing is labelled yet under {labels.folder.uri}."
    where = labels.folder.url(CONTRACT)
    return f"{where} is gone, so nobody knows what {commits} commits mean. Restore it."


def _coverage(state: LabelSetState, inventory: Inventory, fragment_rows: int) -> Iterator[str]:
    """Each fragment has one commit, of exactly its rows, and there is no other."""
    labels = state.labels
    left = pending_fragments(state, inventory, fragment_rows)
    if len(left):
        first = [intent.fragment for _, intent, _ in itertools.islice(left, 3)]
        shown = ", ".join(first) + ("…" if len(left) > 3 else "")
        yield (
            f"{len(left)} of {len(left.cut)} fragments are missing under {labels.folder.uri}"
            f" ({shown}). Run the same job again; it labels only what is missing."
        )
    for entry in find_misplaced(labels.entries, inventory, fragment_rows):
        yield (
            f"fragment {entry.fragment} was labelled from other rows than the inventory of"
            f" pools.{inventory.pool} lists."
        )
    for segment in state.segments.damaged:
        yield (
            f"{segment} is damaged; the commits were read instead. Run the same job again; it is"
            " written anew."
        )


def _selection(uri: str, inventory: Inventory) -> Iterator[str]:
    """Each row of a selection is one address, whole, and no address is twice there."""
    folder = open_storage(uri)
    try:
        addresses = chosen_addresses(folder, read_rounds(folder))
    except StorageError as error:
        yield str(error)
        return
    if len(addresses) != inventory.rows:
        yield (
            f"{folder.uri} has {len(addresses):,} addresses, and {inventory.rows:,} rows of"
            f" pools.{inventory.pool} are listed. Restore it from a copy."
        )
    once = addresses.group_by([SELECTED_SHARD, SELECTED_ROW], use_threads=False).aggregate([])
    if len(once) != len(addresses):
        named = len(addresses)
        yield (f"{folder.uri} names {named - len(once):,} rows twice. Restore it from a copy.")


def _contents(labels: LabelSet, pool: str) -> Iterator[str]:
    """Each data object and each of rejects is the one that its commit names."""
    with track(f"verify {labels.name} over {pool}", labels.entries.rows) as bar:
        for entry, problem in find_problems(labels):
            bar.advance(entry.rows)
            if problem:
                yield (
                    f"fragment {entry.fragment}: {problem} `distill label --mend` labels it anew."
                )
