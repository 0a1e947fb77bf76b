"""`distill verify`: the invariants, proven on what is stored, in O(fragments).

Every row of the pool is covered exactly once, labelled or rejected; every commit is whole and says what the manifest says; every data
object has the sha256 that its commit names and the columns that its contract says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from distill.errors import DistillError
from distill.job import Job
from distill.labels import Commit, Contract, LabelSet, Line, columns_sha256, commit_key, read_data, read_rejects
from distill.labels.encoding import label_validity
from distill.models.identity import forget_labels, label_set
from distill.pool import Fragment, Inventory, read_inventory
from distill.progress import track
from distill.storage import ObjectMissingError, open_storage

_THREADS = 16


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
    """Prove the invariants of `labels.<name>` over each of its pools. Opens no input and starts no Ray."""
    forget_labels(job, name)
    return [_verify(job, name, pool) for pool in job.labels[name].over]


def _verify(job: Job, name: str, pool: str) -> Verified:
    inventory = read_inventory(open_storage(job.root_uri), pool, job.pool_uri(pool))
    if inventory is None:
        return Verified(
            name, pool, 0, 0, 0, 0, (f"pools.{pool} was never listed. Run `distill label {job.path} {name}`.",)
        )
    try:
        labels = label_set(job, name, pool)
        contract = labels.read_contract()
    except DistillError as error:
        return Verified(name, pool, 0, inventory.rows, 0, 0, (str(error),))
    if contract is None:
        return Verified(name, pool, 0, inventory.rows, 0, 0, (f"nothing is labelled yet under {labels.folder.uri}.",))
    fragments = {fragment.id: fragment for fragment in inventory.fragments(job.fragment_rows)}
    problems = [*_coverage(labels, fragments, inventory), *_contents(labels, contract, inventory)]
    rejected = sum(line.rejected for line in labels.lines)
    rows = sum(line.rows for line in labels.lines)
    return Verified(name, pool, len(labels.lines), inventory.rows, rows - rejected, rejected, tuple(problems))


def _coverage(labels: LabelSet, fragments: Mapping[str, Fragment], inventory: Inventory) -> Iterator[str]:
    """Each fragment has one commit, of exactly its rows, and there is no other."""
    missing = [name for name in fragments if labels.line(name) is None]
    if missing:
        shown = ", ".join(missing[:3]) + ("…" if len(missing) > 3 else "")
        yield (
            f"{len(missing)} of {len(fragments)} fragments are missing under {labels.folder.uri} ({shown}). "
            f"Run the same job again; it labels only what is missing."
        )
    for line in labels.lines:
        fragment = fragments.get(line.fragment)
        if fragment is None:
            yield f"fragment {line.fragment} is committed, but pools.{inventory.pool} has no such rows."
        elif (line.shard_id, line.start, line.rows) != (fragment.shard.id, fragment.start, fragment.rows):
            yield f"fragment {line.fragment} was labelled from other rows than the inventory lists."


def _contents(labels: LabelSet, contract: Contract, inventory: Inventory) -> Iterator[str]:
    title, rows = f"verify {labels.name} over {inventory.pool}", sum(line.rows for line in labels.lines)
    with track(title, rows) as bar, ThreadPoolExecutor(_THREADS) as threads:
        problems = threads.map(lambda line: _problem(labels, contract, line), labels.lines)
        for line, problem in zip(labels.lines, problems, strict=True):
            bar.advance(line.rows)
            if problem:
                yield f"fragment {line.fragment}: {problem}"


def _problem(labels: LabelSet, contract: Contract, line: Line) -> str | None:
    """What is wrong with one committed fragment, and what mends it."""
    folder = labels.folder
    try:
        key = commit_key(line.fragment, line.generation)
        commit = Commit.from_bytes(folder.read(key), folder.url(key))
        content = folder.read(line.data)
        rejects = len(read_rejects(folder, line.rejects)) if line.rejects else 0
    except ObjectMissingError as error:
        return f"{error.args[0]} is gone. Run the same job again; it labels this fragment anew."
    except DistillError as error:
        return str(error)
    if commit.line != line:
        return f"{folder.url(commit.key)} and the manifest do not say the same. Delete the damaged manifest segment; it is written anew."
    if hashlib.sha256(content).hexdigest() != line.sha256:
        return (
            f"{folder.url(line.data)} is damaged. Delete it and run the same job again; it labels this fragment anew."
        )
    try:
        table = read_data(content, contract, folder.url(line.data))
    except DistillError as error:
        return str(error)
    return _misfit(table, contract, line, rejects, folder.url(line.data))


def _misfit(table: pa.Table, contract: Contract, line: Line, rejects: int, where: str) -> str | None:
    """Where whole bytes still are not what the contract and the commit say."""
    if len(table) != line.rows:
        return f"{where} has {len(table)} rows, where {line.rows} were committed."
    said = (columns_sha256(table), int((~label_validity(table, contract)).sum()), rejects)
    if said != (line.columns_sha256, line.rejected, line.rejected):
        return f"{where}: its labels and rejects are not those that were committed."
    return None
