"""The parties of a merge: which label sets they are, whether they mean the same, and where the rows
of a pool lie in each.

A party's root has an inventory of its own, and its shards may have other numbers there; that they
are the same files is known by their ids. The revision of a merge is made of what its parties wrote
(their label hashes), so labels are never merged anew unnoticed: where a party has labelled more
since, the stored contract is another, and the job is told to raise `version`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from distill.core.errors import ContractError, JobError
from distill.core.schema import digest
from distill.labels.contract import read_contract
from distill.labels.identity import label_set_folder
from distill.labels.state import read_label_set
from distill.loader.merged_values import MergedValues, Party
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.inventory import Inventory, read_inventory
from distill.spec.labels import OWN, Merge
from distill.spec.outputs import Outputs
from distill.storage.base import Storage
from distill.storage.open import open_storage

_MOST_COUNTS = 1 << 24  # numbers that a pass of Dawid and Skene adds up: 128 MB

log = logging.getLogger(__name__)

_LABELS_FOLDER = re.compile(r"(?P<root>.+)/labels/(?P<name>[^/]+)/v(?P<version>\d+)/?")


@dataclass(frozen=True)
class _Says:
    """What a party's labels mean."""

    shown: str
    outputs: Outputs
    width: int

    @property
    def in_words(self) -> str:
        return f"{self.outputs.in_words} ({self.width} numbers a row)"


@dataclass(frozen=True)
class _Source:
    """Where one party's label set over one pool lies."""

    shown: str
    root: Storage
    name: str
    version: int
    pool: str
    is_own: bool = False

    @property
    def folder(self) -> Storage:
        return label_set_folder(self.root, self.name, self.version, self.pool)


def merge_outputs(tables: JobTables, merge: Merge, where: str) -> tuple[Outputs, int]:
    """Return what the parties of the labeler under `where` say, in the first one's order, and the
    numbers of a row. Raises JobError where none has labels, or they mean different things."""
    pool = tables.labels[where.split(".")[1]].over[0]
    first: _Says | None = None
    for source in _sources(tables, merge, where, pool):
        says = _says(tables, source)
        if says is None:
            continue
        first = first or says
        key = f"{where}.of"
        _require_like(key, first, says)
    if first is None:
        raise JobError(
            f"{where}.of: none of {', '.join(merge.of)} has labels over pools.{pool}. Label there"
            " first, or correct them."
        )
    if merge.by == "dawid_skene":
        parties = len(merge.of)
        _require_votes(first, parties, where)
    return first.outputs, first.width


def _require_votes(says: _Says, parties: int, where: str) -> None:
    """Refuse what nobody votes on, or what is too much to count. Raises JobError."""
    if says.outputs.kind == "value" or not says.outputs.exclusive:
        raise JobError(
            f"{where}.by = 'dawid_skene': parties say {says.outputs.in_words}, and it counts votes"
            " for one of several classes. Use mean, median or trimmed."
        )
    if parties * says.width**2 > _MOST_COUNTS:
        raise JobError(
            f"{where}.by = 'dawid_skene': {parties} parties and {says.width:,} classes are"
            f" {parties * says.width**2:,} counts a pass, more than {_MOST_COUNTS:,}. Use mean,"
            " median or trimmed."
        )


def merged_values(workspace: Workspace, name: str, merge: Merge, pool: str) -> MergedValues:
    """Return what the parties wrote over one pool. Raises ContractError where one lacks rows and the
    job does not leave it out, or means something else; StorageError for what is damaged."""
    where = f"labels.{name}.labeler"
    outputs, width = merge_outputs(workspace.tables, merge, where)
    opened = workspace.pool(pool)
    inventory = opened.inventory
    parties = []
    for source in _sources(workspace.tables, merge, where, pool):
        party = _party(source, inventory, outputs)
        rows = 0 if party is None else _labelled_rows(party)
        if rows < inventory.rows:
            _miss(name, merge, source, rows, inventory)
        if party is not None:
            parties.append(party)
    values = MergedValues(tuple(parties), width)
    if values.is_encrypted and not workspace.tables.labels[name].key:
        raise ContractError(
            f"{where}: labels of a party are encrypted, and what is made of them would be plain."
            " Give this label set an `encryption` too."
        )
    return values


def annotators_folder(
    workspace: Workspace, name: str, merge: Merge, values: Sequence[MergedValues]
) -> Storage:
    """Return where it is kept how often the parties of `labels.<name>` err."""
    inputs = merge_revision(merge, values)
    identity = digest(inputs)
    return workspace.root_of(f"labels.{name}").folder("annotators", name, identity[:16])


def merge_revision(merge: Merge, values: Sequence[MergedValues]) -> list[object]:
    """Return what decides the outputs of a merge, plain as JSON."""
    how = merge.model_dump(mode="json", exclude={"of", "missing", "kind"}, exclude_defaults=True)
    wrote = [
        [party.labels.contract.digest, party.labels.label_hash]
        for each in values
        for party in each.parties
    ]
    return [how, wrote]


def _sources(tables: JobTables, merge: Merge, where: str, pool: str) -> list[_Source]:
    found = []
    root = open_storage(tables.root_uri)
    for number, each in enumerate(merge.of):
        if each.startswith(OWN):
            own = each.removeprefix(OWN)
            found.append(_Source(each, root, own, tables.labels[own].version, pool, is_own=True))
            continue
        uri = tables.model_uri(each)
        match = _LABELS_FOLDER.fullmatch(uri)
        if match is None:
            raise JobError(
                f"{where}.of.{number} = {each!r}: names no label set. Write labels.NAME, or"
                " ROOT/labels/NAME/vN as another root keeps it."
            )
        theirs = open_storage(match["root"])
        found.append(_Source(each, theirs, match["name"], int(match["version"]), pool))
    return found


def _says(tables: JobTables, source: _Source) -> _Says | None:
    """What a party's labels mean: of the job's own before they are written; None without any."""
    if source.is_own:
        outputs = tables.label_outputs(source.name)
        key, first = next(tables.labels[source.name].members(source.name))
        return _Says(source.shown, outputs, tables.labeler_width(first, key))
    stored = read_contract(source.folder)
    if stored is None:
        return None
    contract = stored.contract
    outputs = Outputs(contract.kind, contract.classes, contract.exclusive)
    return _Says(source.shown, outputs, contract.width)


def _party(source: _Source, inventory: Inventory, outputs: Outputs) -> Party | None:
    """One party; None where it has no labels over the pool."""
    theirs = read_inventory(source.root, source.pool, inventory.uri)
    if theirs is None or read_contract(source.folder) is None:
        return None
    number_of = {id: number for number, id in theirs.known.values()}
    ours = inventory.known.values()
    shards = {number: number_of[id] for number, id in ours if id in number_of}
    labels = read_label_set(source.folder, source.name, source.version, theirs)
    columns = None
    own = labels.contract.classes
    if own != outputs.classes:
        columns = tuple(own.index(each) for each in outputs.classes)
    return Party(source.shown, labels, shards, columns)


def _labelled_rows(party: Party) -> int:
    """Rows of the pool that a party has labelled or rejected."""
    shards = party.shards.values()
    theirs = set(shards)
    shard = party.labels.entries.column("shard").tolist()
    rows = party.labels.entries.column("rows").tolist()
    return sum(count for number, count in zip(shard, rows, strict=True) if number in theirs)


def _miss(name: str, merge: Merge, source: _Source, rows: int, inventory: Inventory) -> None:
    """Refuse, or tell of, a party that has not labelled all rows."""
    lack = (
        f"labels.{name}: {source.shown} has labelled {rows:,} of the {inventory.rows:,} rows of"
        f" pools.{inventory.pool} ({source.folder.uri})"
    )
    if merge.missing == "refuse":
        raise ContractError(
            f"{lack}. Have the rest labelled there over the same files, take the party out of `of`,"
            f' or say labels.{name}.labeler.missing = "leave_out".'
        )
    log.warning("%s: it is left out where it has not", lack)


def _require_like(where: str, first: _Says, other: _Says) -> None:
    """Refuse two parties whose outputs mean different things. Raises JobError."""
    alike = first.outputs.is_like(other.outputs) and first.width == other.width
    # in whatever order: they are aligned by their names
    if alike and set(first.outputs.classes) == set(other.outputs.classes):
        return
    raise JobError(
        f"{where}: {first.shown} says {first.in_words}, {other.shown} says {other.in_words}."
        " Parties say the same classes, in whatever order, or values of one width. Leave one out."
    )
