"""Who is asked what in an audit, when all its shadows are taught."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.plan.audit.audit_plan import AuditPlan
from distill.plan.audit.hold_out import COINS, coins
from distill.plan.audit.steps import Asked, AuditStep, DoublesStep, Source, SubjectStep
from distill.plan.audit.subjects import Subject, subjects
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.pools.split import RowSet

Mask = npt.NDArray[np.bool_]


def audit_step(
    plan: AuditPlan, shadows: Sequence[Workspace], canary_run: Workspace | None
) -> AuditStep:
    """Return who is asked what, when all shadows are taught. Raises ContractError where one is not,
    or a subject is not there."""
    return _Asking(plan, shadows, canary_run).step()


@dataclass(frozen=True)
class _Asking:
    plan: AuditPlan
    shadows: Sequence[Workspace]
    canary_run: Workspace | None

    def step(self) -> AuditStep:
        plan = self.plan
        members, others = plan.tried
        taught_canaries = np.empty(0, np.bool_)
        if self.canary_run is not None:
            shards = plan.canary_pool().inventory.shards
            taught_canaries = np.concatenate([coins(each, plan.seed, COINS) for each in shards])
        return AuditStep(
            members_pool=plan.audit.members,
            others_pool=plan.audit.others,
            truth=plan.truth,
            members=len(members.numbers()),
            subjects=tuple(self._subject_steps()),
            doubles=self._doubles(),
            taught=self._taught(members, others),
            taught_canaries=taught_canaries,
            delta=plan.audit.delta,
            confidence=plan.audit.confidence,
            seed=plan.seed,
        )

    def _taught(self, *sets: RowSet) -> Mask:
        """Which shadow was taught which tried row."""
        rows = sum(len(each.numbers()) for each in sets)
        taught = np.zeros((len(self.shadows), rows), np.bool_)
        for number in range(len(self.shadows)):
            found = [
                self.plan.is_taught(shard, number)[numbers]
                for each in sets
                for shard, numbers in each.by_shard()
            ]
            taught[number] = np.concatenate(found)
        return taught

    def _subject_steps(self) -> Iterator[SubjectStep]:
        for key in self.plan.keys:
            shadows = self.shadows if key in self.plan.shadowed else ()
            of_shadows = [self._of_derived(each, key) for each in shadows]
            of_canaries: list[Subject] = []
            if self.canary_run is not None and key in self.plan.with_canaries:
                of_canaries = self._of_derived(self.canary_run, key)
            for place, target in enumerate(self.plan.targets(key)):
                own = [each[place] for each in of_shadows]
                yield self._subject_step(target, own, of_canaries[place : place + 1])

    def _of_derived(self, workspace: Workspace, key: str) -> list[Subject]:
        return list(subjects(workspace, self.plan.audit, key, self._asked_pools))

    @property
    def _asked_pools(self) -> tuple[str, ...]:
        pools = [self.plan.tried_name]
        if self.plan.audit.canaries:
            pools.append(self.plan.canaries_name)
        return tuple(pools)

    def _subject_step(
        self, target: Subject, shadows: Sequence[Subject], canaries: Sequence[Subject]
    ) -> SubjectStep:
        key = target.method.key
        asked = [
            self._about(self.plan.tried_pool(), each, f"{key} of shadow {number}")
            for number, each in enumerate(shadows)
        ]
        of_canaries = None
        canary_shadows = []
        if canaries:
            pool = self.plan.canary_pool()
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
            self.plan.without_shadows[target.at],
        )

    def _target(self, target: Subject) -> Asked:
        """The audited thing itself: a network about the tried rows, a label set by its own rows."""
        if not target.columns:
            return self._about(self.plan.tried_pool(), target, target.method.key)
        sources = [
            self._source(rows.pool, target, target.columns[rows.pool.name], rows)
            for rows in self.plan.tried
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
            (pool.inventory,), self.plan.members.seen_features, self.plan.members.width, columns
        )
        return Source(dataset, None if rows is None else rows.numbers())

    @cached_property
    def _target_column(self) -> TargetColumn:
        width = self.plan.members.target_width(self.plan.truth)
        return TargetColumn(str(self.plan.members.spec.target), self.plan.truth, width=width)

    def _doubles(self) -> DoublesStep:
        features = self.plan.members.seen_features
        width = self.plan.members.width
        return DoublesStep(
            Dataset((self.plan.tried_pool().inventory,), features, width),
            Dataset((self.plan.members.inventory,), features, width),
            self.plan.audit.members,
            self.plan.audit.others,
            is_share=self.plan.audit.share is not None,
        )
