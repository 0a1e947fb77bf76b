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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.core.audit_results import AuditResult
from distill.core.errors import JobError
from distill.core.schema import digest, unseal
from distill.job.job import Job
from distill.plan.audit.derived import CANARIES, TRIED, derived_job, rows_pool
from distill.plan.audit.hold_out import (
    CANARY_ROWS,
    COINS,
    PAIRS,
    TRIED_ROWS,
    audit_of,
    coins,
    seed_of,
)
from distill.plan.audit.subjects import Subject, audited_keys, subjects, why_without_shadows
from distill.plan.workspace import Workspace
from distill.pools.inventory import Shard
from distill.pools.open_pool import OpenPool
from distill.pools.split import RowSet, sample
from distill.spec.pools import Pool
from distill.storage.base import Storage

Mask = npt.NDArray[np.bool_]

RESULTS = "results"


def stored_audit(workspace: Workspace) -> AuditResult | None:
    """Return what the audit of a job found; None where it has none, or it is not done."""
    if workspace.tables.audit is None:
        return None
    plan = AuditPlan(workspace)
    return read_audit(plan.results, plan.result_key())


def read_audit(folder: Storage, key: str) -> AuditResult | None:
    """Read what an audit found, if it did. Raises StorageError where that is damaged."""
    stored = folder.read_or_none(key)
    return None if stored is None else AuditResult.from_plain(unseal(stored, folder.url(key)))


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
        self.without_shadows = {
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
        return self.folder.folder(RESULTS)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are read of a labelled row."""
        return self._plain_spec.read_columns

    @cached_property
    def tried(self) -> tuple[RowSet, RowSet]:
        """The rows that are tried, members first."""
        rows = self.audit.rows
        return (
            sample(self.members, rows, self.seed, TRIED_ROWS),
            sample(self.others, rows, self.seed, TRIED_ROWS),
        )

    @cached_property
    def canaries(self) -> RowSet:
        """The rows whose targets canaries have wrong."""
        return sample(self.others, self.audit.canaries, self.seed, CANARY_ROWS)

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
        return [key for key in self.keys if not self.without_shadows[key]]

    @property
    def with_canaries(self) -> list[str]:
        """Keys of those that a run with canaries is made of."""
        if not self.audit.canaries:
            return []
        return [key for key in self.keys if not self.without_shadows[key]]

    def shadow(self, number: int) -> DerivedRun:
        """Return the job of one shadow, taught half of the rows of both pools."""
        folder = self.folder.folder("shadows", f"{number:03d}")
        return self._run(f"shadow {number}", folder, self.shadowed, self._half(number))

    def canary_run(self) -> DerivedRun:
        """Return the job that is taught all members, and the canaries whose coin says so."""
        pool = self.canary_pool()
        chosen = RowSet(pool, lambda shard: coins(shard, self.seed, COINS))
        everyone = RowSet(self.members, lambda shard: np.ones(shard.rows, np.bool_))
        folder = self.folder.folder("canary_run")
        return self._run("canary run", folder, self.with_canaries, (everyone, chosen))

    def _half(self, number: int) -> tuple[RowSet, RowSet]:
        def choose(shard: Shard) -> Mask:
            return self.is_taught(shard, number)

        return RowSet(self.members, choose), RowSet(self.others, choose)

    def is_taught(self, shard: Shard, number: int) -> Mask:
        """Which rows of a shard a shadow is taught: the two of a pair share all rows."""
        # so each row is taught by half of all shadows, where coins of their own would leave some
        # rows with none on one side
        pair, second = divmod(number, 2)
        tossed = coins(shard, self.seed, PAIRS + pair)
        return ~tossed if second else tossed

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
        # private columns were not written
        return self._plain_spec.model_copy(update={**made, "private": (), "mask": {}})

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

    def result_key(self) -> str:
        """Return the key of the result under the results' folder: the digest of who is asked and how.
        Raises ContractError where a subject is not there."""
        pins = [subject.pin for key in self.keys for subject in self.targets(key)]
        said = self.audit.model_dump(mode="json")
        return f"{digest([said, self.keys, pins])[:32]}.json"

    def targets(self, key: str) -> list[Subject]:
        """Return the audited things of a key. Raises ContractError where one is not there."""
        pools = (self.audit.members, self.audit.others)
        return list(subjects(self.workspace, self.audit, key, pools))
