"""The stage `audit`: every subject attacked on the same rows, with what its shadows say.

The result is one sealed JSON, `audit/<digest>/results/<digest>.json`.

Shapes: R tried rows, S shadows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from distill.core.audit_results import RATES, Attack, AuditResult, CanaryBound, SubjectResult
from distill.core.errors import ContractError
from distill.core.privacy import PrivacyStatement
from distill.core.schema import seal
from distill.engine.protocol import Engine
from distill.plan.audit.audit_plan import read_audit
from distill.plan.audit.steps import Asked, AuditStep, SubjectStep
from distill.stages.audit import roc
from distill.stages.audit.ask import RowSignals, ask_all
from distill.stages.audit.attacks import attack_scores
from distill.stages.audit.doubles import find_doubles
from distill.stages.audit.one_run import canary_bound
from distill.storage.base import Storage

Mask = npt.NDArray[np.bool_]
Said = Mapping[str, RowSignals]

_LEAST_ROWS = 20
"""Of either kind."""


def find_members(step: AuditStep, engine: Engine, folder: Storage, key: str) -> AuditResult:
    """Attack all subjects, and store what was found. Raises PoolError where the rows that are to
    have taught nothing are among the trained ones, ContractError for too few rows."""
    doubles = find_doubles(step.doubles, engine, step.members)
    said = ask_all(engine, _all_asked(step.subjects), step.truth)
    usable = _usable_rows(step, said)
    left_out = int((~usable).sum())
    is_double = np.concatenate([np.zeros(step.members, np.bool_), doubles])
    rows = usable & ~is_double
    is_member = np.arange(len(rows)) < step.members
    members = int((rows & is_member).sum())
    others = int((rows & ~is_member).sum())
    if min(members, others) < _LEAST_ROWS:
        raise ContractError(
            f"[audit]: {members:,} rows of pools.{step.members_pool} and {others:,} of"
            f" pools.{step.others_pool} can be tried, and {_LEAST_ROWS} of both are the least."
            " Hold out more rows."
        )
    result = AuditResult(
        members_pool=step.members_pool,
        others_pool=step.others_pool,
        members=members,
        others=others,
        left_out=left_out,
        doubles=int((usable & is_double).sum()),
        shadows=len(step.taught),
        subjects=tuple(_attacked(step, each, said, rows) for each in step.subjects),
    )
    folder.put_if_absent(key, seal(result.to_plain()))
    # read back: whoever finds it finished gets the very same
    stored = read_audit(folder, key)
    assert stored is not None
    return stored


def _all_asked(subjects: Sequence[SubjectStep]) -> list[Asked]:
    asked = []
    for each in subjects:
        asked += [each.target, *each.shadows, *each.canary_shadows]
        if each.canaries is not None:
            asked.append(each.canaries)
    return asked


def _usable_rows(step: AuditStep, said: Said) -> Mask:
    """Which tried rows every model has said something of: all are judged on the same ones."""
    about = [each for subject in step.subjects for each in (subject.target, *subject.shadows)]
    usable: Mask = np.logical_and.reduce([said[each.name].usable for each in about])
    return usable


def _attacked(step: AuditStep, subject: SubjectStep, said: Said, rows: Mask) -> SubjectResult:
    target = said[subject.target.name].signals.of(rows)
    of_shadows = [said[each.name].signals.of(rows).confidence for each in subject.shadows]
    shadows_SR = np.array(of_shadows).reshape(len(of_shadows), len(target.loss))
    taught_SR = step.taught[: len(of_shadows), rows]
    is_member = np.flatnonzero(rows) < step.members
    attacks = []
    for kind, scores_R in attack_scores(target, shadows_SR, taught_SR).items():
        attack = _attack(kind, scores_R[is_member], scores_R[~is_member], step.seed)
        attacks.append(attack)
    return SubjectResult(
        at=subject.at,
        name=subject.name,
        key=subject.key,
        loss_of_members=float(target.loss[is_member].mean()),
        loss_of_others=float(target.loss[~is_member].mean()),
        attacks=tuple(attacks),
        bound=_bound(step, subject, said),
        statement=subject.statement,
        without_shadows=subject.without_shadows,
    )


def _attack(kind: str, members: roc.Double, others: roc.Double, seed: int) -> Attack:
    auc, error = roc.auc(members, others)
    return Attack(
        kind=kind,
        auc=auc,
        error=error,
        rates=tuple(roc.rates(members, others, RATES, seed)),
        curve=roc.curve(members, others),
    )


def _bound(step: AuditStep, subject: SubjectStep, said: Said) -> CanaryBound | None:
    """What the canaries of one subject say of ε: each scored by how much better it is known than
    by shadows, none of which was taught it."""
    if subject.canaries is None:
        return None
    own = said[subject.canaries.name]
    scores = own.signals.confidence
    usable = own.usable
    if subject.canary_shadows:
        shadows = [said[each.name] for each in subject.canary_shadows]
        scores = scores - np.mean([each.signals.confidence for each in shadows], axis=0)
        usable = np.logical_and.reduce([usable, *(each.usable for each in shadows)])
    delta = step.delta
    if subject.statement is not None:
        delta = PrivacyStatement.from_json(subject.statement).delta
    return canary_bound(scores[usable], step.taught_canaries[usable], delta, step.confidence)
