"""The evaluation, resolved: what is judged, on which rows, and where its result lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distill.core.errors import JobError
from distill.core.results import LabelSetResult
from distill.core.schema import digest, without_usual
from distill.plan.candidates import Candidate, find_candidates, powered_candidates
from distill.plan.slicing import Slicing, label_slicing, slicings
from distill.plan.steps import EvaluateStep, GatePlan, PoweredPlan
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.evaluation import Evaluate


def evaluate_step(workspace: Workspace) -> EvaluateStep:
    """Return the evaluation. Raises JobError without `[evaluate]`, ContractError where a
    student or a label set is not there."""
    tables = workspace.tables
    evaluate = tables.evaluate
    if evaluate is None:
        raise JobError(
            f"{tables.path}: no [evaluate] table. Add one: `[evaluate]` and"
            ' `on = "POOL"`, a pool with a target.'
        )
    on = evaluate.on
    pool = workspace.pool(on)
    truth = tables.pool_outputs(on)
    candidates = find_candidates(workspace, pool)
    teachers = [each.method.key for each in candidates if each.role == "teacher"]
    teacher = teachers[0] if teachers else None
    found = slicings(workspace, evaluate, pool)
    powered = _powered_plan(workspace, evaluate, pool, teacher)
    identity = _evaluation_identity(pool, candidates, teacher, _more(tables, found, powered))
    job = tables.job
    folder = workspace.root.folder("reports", job.name, identity[:16])
    return EvaluateStep(
        folder.uri,
        job.name,
        job.text,
        pool,
        truth,
        tuple(candidates),
        teacher,
        _label_set_results(workspace),
        former=f"labels.{evaluate.former}" if evaluate.former else None,
        slicings=found,
        powered=powered,
        gate=_gate_plan(tables, candidates, teacher),
    )


def _gate_plan(
    tables: JobTables, candidates: Sequence[Candidate], teacher: str | None
) -> GatePlan | None:
    gate = tables.gate
    if gate is None:
        return None
    evaluate = tables.evaluate
    former = evaluate.former if evaluate else None
    students = {
        f"students.{variant.name}"
        for variant in tables.job.variants
        if not gate.students or variant.student in gate.students
    }
    keys = [each.method.key for each in candidates if f"students.{each.student}" in students]
    return GatePlan(gate, tuple(keys), teacher, f"labels.{former}" if former else None)


def _powered_plan(
    workspace: Workspace, evaluate: Evaluate, pool: OpenPool, teacher: str | None
) -> PoweredPlan | None:
    spec = evaluate.prediction_powered
    if spec is None or teacher is None:
        return None
    other = workspace.pool(spec.over)
    strata = None
    other_strata = None
    if spec.strata is not None:
        strata = label_slicing(workspace, spec.strata, pool)
        other_strata = label_slicing(workspace, spec.strata, other)
    candidates = powered_candidates(workspace, teacher.removeprefix("labels."), other)
    same_pool = other.name == pool.name
    return PoweredPlan(other, tuple(candidates), strata, other_strata, same_pool)


def _more(
    tables: JobTables, found: Sequence[Slicing], powered: PoweredPlan | None
) -> dict[str, Any]:
    """What a job says of its evaluation beside pool and teacher, with what pins it."""
    # a job that says nothing keeps the digest that it had
    assert tables.evaluate is not None
    more = tables.evaluate.model_dump(mode="json", exclude={"on", "teacher"}, exclude_defaults=True)
    if tables.gate is not None:
        more["gate"] = tables.gate.model_dump(mode="json", exclude_defaults=True)
    pins = [each.labels.pin for each in found if each.labels is not None]
    if powered is not None:
        content = powered.pool.inventory.content
        pins.append(content)
        pins += [each.pin for each in powered.candidates]
        pins += [each.pin for each in (powered.strata, powered.other_strata) if each is not None]
    if pins:
        more["pins"] = pins
    return more


def _label_set_results(workspace: Workspace) -> tuple[LabelSetResult, ...]:
    results = []
    for name, spec in workspace.tables.labels.items():
        for pool in spec.over:
            entries = workspace.label_set(name, pool).entries
            size_bytes = entries.size_bytes
            result = LabelSetResult(
                name, spec.version, pool, entries.rows, entries.rejected, len(entries), size_bytes
            )
            results.append(result)
    return tuple(results)


def _evaluation_identity(
    pool: OpenPool,
    candidates: Sequence[Candidate],
    teacher: str | None,
    more: Mapping[str, Any] | None = None,
) -> str:
    """Digest of what is judged."""
    # a finished evaluation is found again by it
    judged = [
        [candidate.method.key, candidate.pin, asdict(candidate.method.outputs)]
        for candidate in candidates
    ]
    usual: dict[str, Any] = {"corrects": None, "csv": None, "mask": {}}
    spec = without_usual(pool.spec.model_dump(mode="json"), usual)
    identity = [pool.inventory.content, spec, judged, teacher]
    # what came later stands at the end: without it, evaluations of before are found again
    return digest([*identity, more] if more else identity)
