"""An audit, resolved: which rows are tried, what each shadow is taught, and who is asked.

    audit/pools/<pool>/rows/…                   a share that is held out, and the rest (`spec.audit`)
    audit/<digest>/tried_<rows>/…               addresses of the rows that are tried
    audit/<digest>/canaries_<rows>/…            rows with a wrong target
    audit/<digest>/shadows/<number>/rows/…      addresses of what a shadow is taught,
    audit/<digest>/shadows/<number>/fits/…      and, as under every root, what came of them
    audit/<digest>/canary_run/…                 the same of the run with canaries
    audit/<digest>/results/<digest>.json        what was found

The first digest is that of both pools' rows and the seed. So other rows to try, more shadows or
another student leave all shadows in place that are taught already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.core.audit_results import AuditResult
from distill.core.errors import JobError, PoolError
from distill.core.schema import digest, unseal
from distill.job.job import Job
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.audit.derived import CANARIES, TRIED, derived_job, rows_pool
from distill.plan.audit.steps import Asked, AuditStep, DoublesStep, HoldOutStep, Source, SubjectStep
from distill.plan.audit.subjects import Subject, audited_keys, subjects, why_without_shadows
from distill.plan.workspace import Workspace
from distill.pools.formats.options import format_name
from distill.pools.formats.selection import SelectionShard
from distill.pools.hashing import Hashes
from distill.pools.inventory import Shard, read_inventory
from distill.pools.open_pool import OpenPool
from distill.pools.split import RowSet, below, row_hashes, sample
from distill.spec.audit import Audit, split_path
from distill.spec.pools import Pool
from distill.storage.base import Storage

Mask = npt.NDArray[np.bool_]

_HELD_OUT = 0
_TRIED = 1
_CANARIES = 2
_COINS = 3
_SHADOWS = 4
"""Purposes for which rows are drawn (`pools.split`): the last and those after it, a pair each."""


def hold_out_step(workspace: Workspace, whole: OpenPool) -> HoldOutStep:
    """Return how the audited pool is divided into rows to learn from and rows held out. Raises
    PoolError where it was listed whole before."""
    audit = audit_of(workspace)
    listed = read_inventory(workspace.root, audit.members, "")
    if listed is not None and format_name(listed.format) != SelectionShard.name:
        raise PoolError(
            f"{workspace.tables.path}: audit.held_out = {audit.share}: pools.{audit.members} was"
            f" listed whole under {workspace.tables.root_uri}, and what was taught there may have"
            " seen all of its rows. Use another root."
        )
    share = audit.share
    assert share is not None
    seed = seed_of(workspace, audit)

    def is_held_out(shard: Shard) -> Mask:
        return below(row_hashes(shard, seed, _HELD_OUT), share)

    root = workspace.root
    names = (audit.members, audit.others)
    return HoldOutStep(
        folders={name: root.folder(split_path(name)).uri for name in names},
        sets={
            audit.members: RowSet(whole, lambda shard: ~is_held_out(shard)),
            audit.others: RowSet(whole, is_held_out),
        },
        columns=whole.spec.read_columns,
        how=digest([seed, share]),
        content=whole.inventory.content,
    )


def audit_of(workspace: Workspace) -> Audit:
    """Return what the job says of an audit. Raises JobError where it says nothing."""
    tables = workspace.tables
    if tables.audit is None:
        raise JobError(
            f'{tables.path}: no [audit] table. Add one: `[audit]`, `members = "POOL"`, a labelled'
            ' pool, and `held_out = "POOL"` or a share of it, such as 0.5.'
        )
    return tables.audit


def seed_of(workspace: Workspace, audit: Audit) -> int:
    """Return the seed of an audit: its own, or the job's."""
    return workspace.tables.job.seed if audit.seed is None else audit.seed


def stored_audit(workspace: Workspace) -> AuditResult | None:
    """Return what the audit of a job found; None where it has none, or it is not done."""
    if workspace.tables.audit is None:
        return None
    plan = AuditPlan(workspace)
    return read_audit(plan.results, plan.result_key())


@dataclass(frozen=True)
class DerivedRun:
    """A job beside the audited one, and the rows that it is taught."""

    title: str
    job: Job
    rows_folder: str
    sets: tuple[RowSet, ...]
    columns: tuple[str, ...]


class AuditPlan:
    """The audit of one job."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.tables = workspace.tables
        self.audit = audit_of(workspace)
        self.seed = seed_of(workspace, self.audit)
        self.members = workspace.pool(self.audit.members)
        self.others = workspace.pool(self.audit.others)
        self.truth = self.tables.pool_outputs(self.audit.members)
        self.keys = audited_keys(self.tables, self.audit)
        self._without_shadows = {
            key: why_without_shadows(self.tables, self.audit, key) for key in self.keys
        }
        if not self.keys:
            raise JobError(
                f"{self.tables.path}: [audit]: nothing that pools.{self.audit.members} taught can"
                " be audited. Name it in audit.of to be told why."
            )

    @cached_property
    def folder(self) -> Storage:
        """Where shadows and results lie."""
        contents = [self.members.inventory.content, self.others.inventory.content]
        return self.workspace.root.folder("audit", digest([*contents, self.seed])[:16])

    @property
    def results(self) -> Storage:
        """Where what was found lies."""
        return self.folder.folder("results")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read of a labelled row."""
        return self._plain_spec.read_columns

    @cached_property
    def tried(self) -> tuple[RowSet, RowSet]:
        """The rows that are tried, members first."""
        rows = self.audit.rows
        return (
            sample(self.members, rows, self.seed, _TRIED),
            sample(self.others, rows, self.seed, _TRIED),
        )

    @cached_property
    def canaries(self) -> RowSet:
        """The rows whose targets canaries have wrong."""
        return sample(self.others, self.audit.canaries, self.seed, _CANARIES)

    @property
    def tried_name(self) -> str:
        """The pool of tried rows."""
        return f"{TRIED}_{self.audit.rows}"

    @property
    def canaries_name(self) -> str:
        """The pool of canaries."""
        return f"{CANARIES}_{self.audit.canaries}"

    @property
    def shadowed(self) -> list[str]:
        """Keys of those for which shadows are taught."""
        if not self.audit.shadows:
            return []
        return [key for key in self.keys if not self._without_shadows[key]]

    @property
    def with_canaries(self) -> list[str]:
        """Keys of those that a run with canaries is made of."""
        if not self.audit.canaries:
            return []
        return [key for key in self.keys if not self._without_shadows[key]]

    def shadow(self, number: int) -> DerivedRun:
        """Return the job of one shadow, taught half of the rows of both pools."""
        folder = self.folder.folder("shadows", f"{number:03d}")
        return self._run(f"shadow {number}", folder, self.shadowed, self._half(number))

    def canary_run(self) -> DerivedRun:
        """Return the job that is taught all members, and the canaries whose coin says so."""
        pool = self.canary_pool()
        coins = RowSet(pool, lambda shard: _coins(shard, self.seed, _COINS))
        everyone = RowSet(self.members, lambda shard: np.ones(shard.rows, np.bool_))
        folder = self.folder.folder("canary_run")
        return self._run("canary run", folder, self.with_canaries, (everyone, coins))

    def _half(self, number: int) -> tuple[RowSet, RowSet]:
        def choose(shard: Shard) -> Mask:
            return self._is_taught(shard, number)

        return RowSet(self.members, choose), RowSet(self.others, choose)

    def _is_taught(self, shard: Shard, number: int) -> Mask:
        """Which rows of a shard a shadow is taught: the two of a pair share all rows."""
        pair, second = divmod(number, 2)
        coins = _coins(shard, self.seed, _SHADOWS + pair)
        return ~coins if second else coins

    def _run(
        self, title: str, folder: Storage, keys: Sequence[str], sets: tuple[RowSet, ...]
    ) -> DerivedRun:
        rows = folder.folder("rows").uri
        asked = {self.tried_name: self._tried_spec}
        if self.audit.canaries:
            asked[self.canaries_name] = self._canary_spec
        job = derived_job(self.tables, self.audit, keys, folder.uri, rows, asked=asked)
        return DerivedRun(title, job, rows, sets, self.columns)

    @property
    def tried_folder(self) -> Storage:
        """Where the addresses of tried rows lie."""
        return self.folder.folder(f"tried_{self.audit.rows}")

    @property
    def canary_folder(self) -> Storage:
        """Where canaries lie."""
        return self.folder.folder(f"canaries_{self.audit.canaries}")

    @property
    def _tried_spec(self) -> Pool:
        return rows_pool(self._plain_spec, self.tried_folder.uri)

    @property
    def _plain_spec(self) -> Pool:
        """The members' pool, with the keys that both have."""
        keys = self.members.spec.keys
        if keys != self.others.spec.keys:
            keys = ()
        return self.members.spec.model_copy(update={"keys": keys})

    @property
    def _canary_spec(self) -> Pool:
        made = {"path": self.canary_folder.uri, "format": "parquet", "csv": None, "made_by": None}
        return self._plain_spec.model_copy(update=made)

    @cached_property
    def asking(self) -> Workspace:
        """The job with the pools that are tried, for networks to be asked about them."""
        pools = {**self.tables.pools, self.tried_name: self._tried_spec}
        if self.audit.canaries:
            pools[self.canaries_name] = self._canary_spec
        own = frozenset(f"pools.{name}" for name in (self.tried_name, self.canaries_name))
        job = self.tables.job.derived(self.folder.uri, own, {"pools": pools})
        return Workspace(job)

    def tried_pool(self) -> OpenPool:
        """Return the tried rows, which are written."""
        return self.asking.pool(self.tried_name)

    def canary_pool(self) -> OpenPool:
        """Return the canaries, which are written."""
        return self.asking.pool(self.canaries_name)

    def step(self, shadows: Sequence[Workspace], canary_run: Workspace | None) -> AuditStep:
        """Return who is asked what, when all shadows are taught. Raises ContractError where one is
        not, or a subject is not there."""
        found = tuple(self._subject_steps(shadows, canary_run))
        members, others = self.tried
        taught = [self._taught(members, number) for number in range(len(shadows))]
        also = [self._taught(others, number) for number in range(len(shadows))]
        halves = [np.concatenate(both) for both in zip(taught, also, strict=True)]
        rows = len(members.numbers()) + len(others.numbers())
        coins = np.empty(0, np.bool_)
        if canary_run is not None:
            shards = self.canary_pool().inventory.shards
            coins = np.concatenate([_coins(shard, self.seed, _COINS) for shard in shards])
        return AuditStep(
            members_pool=self.audit.members,
            others_pool=self.audit.others,
            truth=self.truth,
            members=len(members.numbers()),
            subjects=found,
            doubles=self._doubles(),
            taught=np.array(halves, np.bool_).reshape(len(shadows), rows),
            taught_canaries=coins,
            delta=self.audit.delta,
            confidence=self.audit.confidence,
            seed=self.seed,
        )

    def result_key(self) -> str:
        """Return the key of the result under the results' folder: the digest of who is asked and how.
        Raises ContractError where a subject is not there."""
        pins = [subject.pin for key in self.keys for subject in self._targets(key)]
        said = self.audit.model_dump(mode="json")
        return f"{digest([said, self.keys, pins])[:32]}.json"

    def _taught(self, rows: RowSet, number: int) -> Mask:
        found = [self._is_taught(shard, number)[numbers] for shard, numbers in rows.by_shard()]
        return np.concatenate([np.empty(0, np.bool_), *found])

    def _targets(self, key: str) -> list[Subject]:
        pools = (self.audit.members, self.audit.others)
        return list(subjects(self.workspace, self.audit, key, pools))

    def _subject_steps(
        self, shadows: Sequence[Workspace], canary_run: Workspace | None
    ) -> Iterator[SubjectStep]:
        for key in self.keys:
            is_shadowed = key in self.shadowed
            of_shadows = [
                list(subjects(each, self.audit, key, self._asked_pools)) if is_shadowed else []
                for each in shadows
            ]
            of_canaries: list[Subject] = []
            if canary_run is not None and key in self.with_canaries:
                of_canaries = list(subjects(canary_run, self.audit, key, self._asked_pools))
            for place, target in enumerate(self._targets(key)):
                own = [each[place] for each in of_shadows if each]
                yield self._subject_step(target, own, of_canaries[place : place + 1])

    @property
    def _asked_pools(self) -> tuple[str, ...]:
        pools = [self.tried_name]
        if self.audit.canaries:
            pools.append(self.canaries_name)
        return tuple(pools)

    def _subject_step(
        self, target: Subject, shadows: Sequence[Subject], canaries: Sequence[Subject]
    ) -> SubjectStep:
        key = target.method.key
        asked = [
            self._about(self.tried_pool(), each, f"{key} of shadow {number}")
            for number, each in enumerate(shadows)
        ]
        of_canaries = None
        canary_shadows = []
        if canaries:
            pool = self.canary_pool()
            of_canaries = self._about(pool, canaries[0], f"{key} of the canary run")
            canary_shadows = [
                self._about(pool, each, f"{key} of shadow {number} on canaries")
                for number, each in enumerate(shadows)
            ]
        return SubjectStep(
            target.at,
            target.name,
            key,
            self._target(target),
            asked,
            of_canaries,
            canary_shadows,
            target.statement,
            self._without_shadows[target.at],
        )

    def _target(self, target: Subject) -> Asked:
        """The audited thing itself: a network about the tried rows, a label set by its own rows."""
        if not target.columns:
            return self._about(self.tried_pool(), target, target.method.key)
        sources = [
            self._source(rows.pool, target, target.columns[rows.pool.name], rows)
            for rows in self.tried
        ]
        return Asked(target.method.key, target.method, tuple(sources))

    def _about(self, pool: OpenPool, subject: Subject, name: str) -> Asked:
        column = subject.columns.get(pool.name)
        return Asked(name, subject.method, (self._source(pool, subject, column),))

    def _source(
        self,
        pool: OpenPool,
        subject: Subject,
        column: LabelColumn | None,
        rows: RowSet | None = None,
    ) -> Source:
        columns: dict[str, LabelColumn | TargetColumn] = {"target": self._target_column}
        if column is not None:
            columns[subject.method.key] = column
        dataset = Dataset(
            (pool.inventory,), self.members.seen_features, self.members.width, columns
        )
        return Source(dataset, None if rows is None else rows.numbers())

    @cached_property
    def _target_column(self) -> TargetColumn:
        width = self.members.target_width(self.truth)
        return TargetColumn(str(self.members.spec.target), self.truth, width=width)

    def _doubles(self) -> DoublesStep:
        features = self.members.seen_features
        width = self.members.width
        return DoublesStep(
            Dataset((self.tried_pool().inventory,), features, width),
            Dataset((self.members.inventory,), features, width),
            self.audit.members,
            self.audit.others,
            is_share=self.audit.share is not None,
        )


def read_audit(folder: Storage, key: str) -> AuditResult | None:
    """Read what an audit found, if it did. Raises StorageError where that is damaged."""
    stored = folder.read_or_none(key)
    return None if stored is None else AuditResult.from_plain(unseal(stored, folder.url(key)))


def _coins(shard: Shard, seed: int, purpose: int) -> Mask:
    hashes: Hashes = row_hashes(shard, seed, purpose)
    return below(hashes, 0.5)
