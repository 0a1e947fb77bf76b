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
from distill.job.job import Job
from distill.labels.contract import Contract
from distill.labels.integrity import integrity_problem
from distill.labels.label_set import CONTRACT, LabelSet
from distill.plan.identity import forget_labels, label_set
from distill.plan.pools import known_inventory
from distill.pools.inventory import Inventory

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


def verify_labels(job: Job, name: str) -> list[Verified]:
    """Prove the invariants of `labels.<name>` over each of its pools. Opens no input and starts no
    Ray."""
    forget_labels(job, name)
    return [_verify(job, name, pool) for pool in job.labels[name].over]


def _verify(job: Job, name: str, pool: str) -> Verified:
    inventory = known_inventory(job, pool)
    if inventory is None:
        return Verified(
            name,
            pool,
            0,
            0,
            0,
            0,
            (f"pools.{pool} was never listed. Run `distill label {job.path} {name}`.",),
        )
    try:
        labels = label_set(job, name, pool)
        contract = labels.read_contract()
    except DistillError as error:
        return Verified(name, pool, 0, inventory.rows, 0, 0, (str(error),))
    if contract is None:
        gone = (
            f"{labels.folder.url(CONTRACT)} is gone, so nobody knows what {len(labels.lines)}"
            " commits mean. Restore it."
        )
        said = gone if len(labels.lines) else f"nothing is labelled yet under {labels.folder.uri}."
        return Verified(name, pool, 0, inventory.rows, 0, 0, (said,))
    problems = [
        *_coverage(labels, inventory, job.fragment_rows),
        *_contents(labels, contract, pool),
    ]
    rejected, rows = labels.lines.rejected, labels.lines.rows
    return Verified(
        name, pool, len(labels.lines), inventory.rows, rows - rejected, rejected, tuple(problems)
    )


def _coverage(labels: LabelSet, inventory: Inventory, fragment_rows: int) -> Iterator[str]:
    """Each fragment has one commit, of exactly its rows, and there is no other."""
    left = labels.left(inventory, fragment_rows)
    if len(left):
        shown = ", ".join(claim.fragment for _, claim, _ in itertools.islice(left, 3)) + (
            "…" if len(left) > 3 else ""
        )
        yield (
            f"{len(left)} of {len(left.cut)} fragments are missing under {labels.folder.uri}"
            f" ({shown}). Run the same job again; it labels only what is missing."
        )
    for line in labels.misplaced(inventory, fragment_rows):
        yield (
            f"fragment {line.fragment} was labelled from other rows than the inventory of"
            f" pools.{inventory.pool} lists."
        )
    for segment in labels.damaged_segments:
        yield (
            f"{segment} is damaged; the commits were read instead. Run the same job again; it is"
            " written anew."
        )


def _contents(labels: LabelSet, contract: Contract, pool: str) -> Iterator[str]:
    rows, lines = labels.lines.rows, iter(labels.lines)
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
