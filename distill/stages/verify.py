"""`distill verify`: the invariants, proven on what is stored, in O(fragments).

Every row of the pool is covered exactly once, labelled or rejected; every commit is whole and says
what the manifest says; every data object has the sha256 that its commit names and the columns that
its contract says.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distill.core.errors import DistillError
from distill.core.progress import track
from distill.labels.contract import CONTRACT, Contract
from distill.labels.integrity import integrity_problem
from distill.labels.label_set import LabelSet
from distill.labels.pending import find_misplaced
from distill.labels.repair import pending_fragments
from distill.labels.state import LabelSetState, read_state
from distill.plan.steps import StoredLabelsStep
from distill.pools.inventory import Inventory
from distill.storage.open import open_storage

_THREADS = 16
_AT_ONCE = 1_000


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


def verify_labels(step: StoredLabelsStep) -> Verified:
    """Prove the invariants of one label set. Opens no input and starts no Ray."""
    inventory = step.inventory
    if inventory is None:
        command = f"distill label {step.job_file} {step.name}"
        return _unproven(step, 0, f"pools.{step.pool} was never listed. Run `{command}`.")
    try:
        state = read_state(open_storage(step.folder), step.name, step.version, inventory)
    except DistillError as error:
        return _unproven(step, inventory.rows, str(error))
    labels = state.labels
    if labels.stored is None:
        return _unproven(step, inventory.rows, _without_contract(labels))
    coverage = _coverage(state, inventory, step.fragment_rows)
    contents = _contents(labels, labels.contract, step.pool)
    problems = (*coverage, *contents)
    rejected = labels.entries.rejected
    return Verified(
        step.name,
        step.pool,
        len(labels.entries),
        inventory.rows,
        labels.entries.rows - rejected,
        rejected,
        problems,
    )


def _unproven(step: StoredLabelsStep, rows: int, problem: str) -> Verified:
    return Verified(step.name, step.pool, 0, rows, 0, 0, (problem,))


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
        shown = ", ".join(claim.fragment for _, claim, _ in itertools.islice(left, 3)) + (
            "…" if len(left) > 3 else ""
        )
        yield (
            f"{len(left)} of {len(left.cut)} fragments are missing under {labels.folder.uri}"
            f" ({shown}). Run the same job again; it labels only what is missing."
        )
    for line in find_misplaced(labels.entries, inventory, fragment_rows):
        yield (
            f"fragment {line.fragment} was labelled from other rows than the inventory of"
            f" pools.{inventory.pool} lists."
        )
    for segment in state.segments.damaged:
        yield (
            f"{segment} is damaged; the commits were read instead. Run the same job again; it is"
            " written anew."
        )


def _contents(labels: LabelSet, contract: Contract, pool: str) -> Iterator[str]:
    rows, lines = labels.entries.rows, iter(labels.entries)
    with (
        track(f"verify {labels.name} over {pool}", rows) as bar,
        ThreadPoolExecutor(_THREADS) as threads,
    ):
        while part := list(itertools.islice(lines, _AT_ONCE)):
            problems = threads.map(
                lambda line: integrity_problem(labels.folder, contract, line), part
            )
            for line, problem in zip(part, problems, strict=True):
                bar.advance(line.rows)
                if problem:
                    yield (
                        f"fragment {line.fragment}: {problem} `distill label --mend` labels it"
                        " anew."
                    )
