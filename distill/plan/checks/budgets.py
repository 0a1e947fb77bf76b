"""Whether all label sets of noisy votes that a job still has to ask for get an answer: what is
declared is spent by all votes about the same private rows together, whoever the teachers are."""

from __future__ import annotations

from collections import defaultdict

from distill.core.errors import JobError, LimitError
from distill.labels.contract import read_contract
from distill.labels.identity import label_set_folder
from distill.labels.vote_entries import LedgerEntry, read_ledger
from distill.labels.vote_ledger import allowance_of
from distill.plan.votes import budget_of
from distill.plan.workspace import Workspace
from distill.storage.open import open_storage


def check_budgets(workspace: Workspace) -> None:
    """Refuse a label set that would be left without an answer by those that were labelled, and by
    those that stand before it in the job. Raises JobError, StorageError."""
    due: dict[str, list[LedgerEntry]] = defaultdict(list)
    for name, labels in workspace.tables.labels.items():
        step = budget_of(workspace, name)
        if step is None:
            continue
        own = read_ledger(open_storage(step.account))
        (pool,) = labels.over
        root = workspace.root_of(f"labels.{name}")
        stored = read_contract(label_set_folder(root, name, labels.version, pool))
        # what was begun has its share, and goes on or is refused by its contract
        if stored is not None:
            continue
        inventory = workspace.inventory(pool)
        # of rows that the job has yet to make, nobody knows how many will be asked about
        if inventory is None:
            continue
        claim = step.claim(name, "", inventory.rows)
        before = [*step.others.read(), *own]
        try:
            allowance = allowance_of(claim, [*before, *due[step.over]])
        except LimitError as error:
            raise JobError(f"{workspace.tables.path}: {error}") from None
        due[step.over].append(LedgerEntry(name, "", allowance))
