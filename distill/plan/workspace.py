"""A job over its root, for one command: each pool is listed once and each label set read once, so
that all steps of the command see the same files.

Nothing else of the plan keeps what it has read. What was found out about inputs by opening them is
kept under the root (`remember`), so that a finished job opens no input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from distill.core.errors import ContractError
from distill.core.schema import digest, seal, unseal
from distill.job.job import Job
from distill.labels.contract import Contract
from distill.labels.identity import label_set_folder
from distill.labels.label_set import LabelSet
from distill.labels.state import LabelSetState, read_state
from distill.plan.tables import JobTables
from distill.pools.chosen import (
    ChosenRound,
    RoundMeasure,
    read_measures,
    read_rounds,
    selection_folder,
)
from distill.pools.corrections import Corrections
from distill.pools.file_stats import ReadFileStats, read_file_stats
from distill.pools.formats.selection import of_pool_at
from distill.pools.inventory import Inventory, read_inventory
from distill.pools.open_pool import OpenPool
from distill.pools.scan import take_inventory
from distill.spec.labels import Labels
from distill.spec.selections import SELECT, Select, selection_name
from distill.storage.base import Storage
from distill.storage.open import open_storage


class Workspace:
    """The tables of a job, and what lies under its root."""

    def __init__(self, job: Job) -> None:
        self.tables = JobTables(job)
        self._pools: dict[str, OpenPool] = {}
        self._rounds: dict[str, list[ChosenRound]] = {}
        self._inventories: dict[str, Inventory | None] = {}
        self._label_sets: dict[tuple[str, str], LabelSet] = {}
        self._remembered: dict[tuple[str, str], Any] = {}

    def with_tables(self, labels: Mapping[str, Labels], select: Mapping[str, Select]) -> Workspace:
        """Return the workspace of the job with these tables too; pools that are listed stay so."""
        other = Workspace(self.tables.job.with_tables(labels, select))
        other.see_as(self)
        return other

    def see_as(self, other: Workspace) -> None:
        """Take the pools, and what was found out about them, as another workspace has them."""
        self._pools = other._pools
        self._inventories = other._inventories
        self._remembered = other._remembered

    @property
    def root(self) -> Storage:
        """The folder that keeps everything."""
        return open_storage(self.tables.root_uri)

    def root_of(self, key: str) -> Storage:
        """The folder in which the thing of a key such as `fit.NAME` lies; of a job that is derived
        from another that one's, where both have it in common."""
        return open_storage(self.tables.job.root_of(key))

    def pool(self, name: str, *, read: ReadFileStats = read_file_stats) -> OpenPool:
        """List a pool, once, and hold the list against its inventory; `read` reads new files.

        Raises PoolError."""
        if name not in self._pools:
            tables = self.tables
            spec = tables.pools[name]
            chosen = self._chosen_files(name)
            files = open_storage(self.tables.pool_uri(name))
            key = f"pools.{name}"
            root = self.root_of(key)
            inventory = take_inventory(root, name, files, spec=spec, read=read, only=chosen)
            inventory = inventory.masked(spec.rules)
            if chosen is not None:
                base = self.pool(self.tables.base_pool(name)).inventory
                format = of_pool_at(base.uri, inventory.format)
                inventory = replace(inventory, format=format)
            self._pools[name] = OpenPool(name, spec, inventory)
        return self._pools[name]

    @property
    def listed_pools(self) -> list[str]:
        """Names of the pools that can be listed now: not of selections that are not chosen yet."""
        found = []
        for name in self.tables.pools:
            selection = selection_name(name)
            if selection is None or self.rounds(selection):
                found.append(name)
        return found

    def pool_like(self, name: str) -> OpenPool:
        """Return a pool, for what its columns alone decide: in place of a selection that is not
        chosen yet the pool that it will be of, which has the same. Raises PoolError."""
        selection = selection_name(name)
        if selection is None or self.rounds(selection):
            return self.pool(name)
        base = self.pool(self.tables.base_pool(name))
        return OpenPool(base.name, base.spec, base.inventory)

    def pool_rows(self, name: str) -> int:
        """Return how many rows a pool has, or a selection will have. Raises PoolError."""
        selection = selection_name(name)
        if selection is None or self.rounds(selection):
            pool = self.pool(name)
            return pool.inventory.rows
        tables = self.tables
        return tables.select[selection].most_rows

    def rounds(self, selection: str) -> list[ChosenRound]:
        """Read what was chosen in `select.<selection>`, if anything. Raises StorageError."""
        if selection not in self._rounds:
            folder = selection_folder(self.root_of(f"{SELECT}{selection}"), selection)
            self._rounds[selection] = read_rounds(folder)
        return self._rounds[selection]

    def measures(self, selection: str) -> list[RoundMeasure]:
        """Read what the rounds of `select.<selection>` were measured at. Raises StorageError."""
        return read_measures(selection_folder(self.root, selection))

    def forget_selection(self, name: str) -> None:
        """Read `select.<name>` anew when it is next asked for."""
        self._rounds.pop(name, None)
        self._pools.pop(f"{SELECT}{name}", None)

    def _chosen_files(self, pool: str) -> frozenset[str] | None:
        """Keys of the files of a selection's rounds, or of corrections; None of another pool. Raises ContractError
        where nothing is chosen yet."""
        if self.tables.pools[pool].corrects is not None:
            return self._corrected_files(pool)
        name = selection_name(pool)
        if name is None:
            return None
        self.pool(self.tables.base_pool(pool))  # which refuses what changed of it
        rounds = self.rounds(name)
        if not rounds:
            raise ContractError(
                f"select.{name} is not chosen yet under {self.tables.root_uri}."
                f" Run `distill select {self.tables.path} {name}`."
            )
        return frozenset(key for each in rounds for key in each.files)

    def _corrected_files(self, pool: str) -> frozenset[str]:
        """Keys of the files that hold what people said, as it is handed in now. Raises PoolError."""
        base = self.pool(self.tables.base_pool(pool))
        handed_in = open_storage(self.tables.job.handed_in_uri(pool))
        corrections = Corrections(pool, self.tables.pools[pool], handed_in, base)
        return corrections.store(open_storage(self.tables.pool_uri(pool)))

    def inventory(self, name: str) -> Inventory | None:
        """Return the inventory as it was opened, or else as it is stored; None before the first
        listing. Lists no pool."""
        if name in self._pools:
            return self._pools[name].inventory
        if name not in self._inventories:
            uri = self.tables.pool_uri(name)
            inventory = read_inventory(self.root_of(f"pools.{name}"), name, uri)
            pools = self.tables.pools
            rules = pools[name].rules
            self._inventories[name] = inventory and inventory.masked(rules)
        return self._inventories[name]

    def take_as_stored(self) -> None:
        """Take all pools that were listed before as their inventories have them: files that came
        or changed since are not seen, and none is opened. Raises PoolError."""
        for name in self.listed_pools:
            inventory = self.inventory(name)
            if inventory is None:
                self.pool(name)
            else:
                self._pools[name] = OpenPool(name, self.tables.pools[name], inventory)

    def label_set(self, name: str, pool: str) -> LabelSet:
        """Read one label set, of live shards alone, once. Raises ContractError, StorageError."""
        if (name, pool) not in self._label_sets:
            self.label_set_state(name, pool)
        return self._label_sets[name, pool]

    def label_set_state(self, name: str, pool: str, *, mending: bool = False) -> LabelSetState:
        """Read anew what is stored of one label set, and know it from now on. Raises ContractError,
        StorageError."""
        label_tables = self.tables.labels
        version = label_tables[name].version
        folder = label_set_folder(self.root_of(f"labels.{name}"), name, version, pool)
        inventory = self.inventory(pool)
        state = read_state(folder, name, version, inventory, mending=mending)
        self.know_labels(pool, state.labels)
        return state

    def whole_labels(self, name: str, pool: OpenPool, contract: Contract) -> LabelSet:
        """Return one label set to learn from: it means what the job means, and covers every row of
        its pool. Raises ContractError."""
        labels = self.label_set(name, pool.name)
        labels.require(contract, pool.inventory, self.tables.fragment_rows)
        labels.require_complete(pool.inventory)
        if self.tables.labels[name].deterministic == "strict":
            labels.require_one_origin()
        return labels

    def know_labels(self, pool: str, labels: LabelSet) -> None:
        """Take a label set over a pool for what is stored."""
        key = labels.name, pool
        self._label_sets[key] = labels

    def forget_labels(self, name: str) -> None:
        """Read the label sets of `labels.<name>` anew when they are next asked for."""
        for pool in self.tables.labels[name].over:
            self._label_sets.pop((name, pool), None)

    def remember(self, folder: str, of: Sequence[object], find: Callable[[], Any]) -> Any:
        """Return what `find` says, plain as JSON, asked once for one `of` and kept under the root;
        who asks at the same time writes the same. Raises what `find` raises, StorageError."""
        root = self.root
        kept = root.folder(folder)
        key = digest(list(of))[:32]
        if (folder, key) not in self._remembered:
            stored = kept.read_or_none(key)
            if stored is None:
                body = {folder: find()}
                stored = seal(body)
                kept.put(key, stored)
            self._remembered[folder, key] = unseal(stored, kept.url(key)).get(folder)
        return self._remembered[folder, key]
