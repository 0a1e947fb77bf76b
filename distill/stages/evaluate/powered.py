"""Rows that the teacher alone labelled, summed up by stratum, and what they and people's rows say
together (`prediction_powered`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from distill.core.judgement import PoweredResult
from distill.core.results import ROW_MEASURES
from distill.engine.protocol import Engine
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.loader.sampler import Chunk
from distill.plan.candidates import Method
from distill.plan.slicing import LabelSlicing
from distill.plan.steps import EvaluateStep, PoweredPlan
from distill.spec.outputs import Outputs
from distill.stages.evaluate.evaluator import STRATA, TARGET, strata_of
from distill.stages.evaluate.judged_sums import JudgedSums
from distill.stages.evaluate.prediction_powered import aligned, estimate, teacher_table
from distill.stages.evaluate.predictions import predictions_of
from distill.stages.evaluate.row_scores import row_scores, said_by
from distill.stages.evaluate.slice_sums import SliceSums

_CHUNK_ROWS = 8_192
_PEOPLE = 6
_TEACHER = 3  # columns of a method and measure


@dataclass(frozen=True)
class TeacherRows:
    """`rows(chunk)` → sums by stratum over rows that the teacher labelled and people did not."""

    dataset: Dataset
    truth: Outputs
    teacher: Method
    students: tuple[Method, ...]
    strata: LabelSlicing | None

    def __call__(self, chunk: Chunk) -> SliceSums:
        rows = self.dataset.load(chunk)
        usable = np.ones(chunk.rows, np.bool_)
        for name, weight in rows.items():
            if name == f"{TARGET}.weight":
                usable &= weight <= 0  # type: ignore[operator]
            elif name.endswith(".weight"):
                usable &= weight > 0  # type: ignore[operator]
        kind = self.truth.judged_as
        by_teacher = predictions_of(self.teacher, rows, self.truth)[usable]
        said = said_by(kind, by_teacher)
        tables = []
        for student in self.students:
            predicted = predictions_of(student, rows, self.truth)[usable]
            scores = row_scores(kind, predicted, said)
            tables += [teacher_table(column) for column in scores.T]
        values = strata_of(self.strata, chunk)[usable]
        row = rows["row"][usable].astype(np.int64)
        return SliceSums.of(values, np.concatenate(tables, axis=1), row, np.zeros(len(row)))


def judge_by_teacher(
    step: EvaluateStep, judged: JudgedSums, engine: Engine
) -> tuple[PoweredResult, ...]:
    """Return what few labels of people and many of the teacher say of each student; nothing where
    the job does not ask, or there are too few."""
    plan = step.powered
    if plan is None:
        return ()
    teacher, *students = plan.candidates
    if not students:
        return ()
    rows = TeacherRows(
        dataset=_dataset(step, plan),
        truth=step.truth,
        teacher=teacher.method,
        students=tuple(each.method for each in students),
        strata=plan.other_strata,
    )
    chunks = rows.dataset.chunks(_CHUNK_ROWS)
    sums = engine.fold("evaluate by the teacher", rows, chunks, SliceSums.__add__)
    return tuple(_results(plan, judged, sums))


def _dataset(step: EvaluateStep, plan: PoweredPlan) -> Dataset:
    pool = plan.pool
    columns: dict[str, LabelColumn | TargetColumn] = {}
    if plan.same_pool:
        width = pool.target_width(step.truth)
        columns[TARGET] = TargetColumn(str(pool.spec.target), step.truth, width=width)
    for each in plan.candidates:
        if each.column is not None:
            key = each.method.key
            columns[key] = each.column
        if each.seen is not None:
            columns[each.method.features] = each.seen
    return Dataset((pool.inventory,), pool.seen_features, pool.width, columns)


def _results(plan: PoweredPlan, judged: JudgedSums, sums: SliceSums) -> Iterator[PoweredResult]:
    strata = judged.sums[STRATA]
    people: SliceSums = strata["people"]
    mine, its = aligned(people.values, people.sums, sums.values, sums.sums)
    measures = ROW_MEASURES[judged.kind]
    students = [each for each in plan.candidates if each.role == "student"]
    for number, student in enumerate(students):
        for place, measure in enumerate(measures):
            block = number * len(measures) + place
            by_people = mine[:, block * _PEOPLE : (block + 1) * _PEOPLE]
            by_teacher = its[:, block * _TEACHER : (block + 1) * _TEACHER]
            found = estimate(by_people, by_teacher, share=measure == "accuracy")
            if found is not None:
                yield PoweredResult(
                    method=student.method.key,
                    measure=measure,
                    pool=plan.pool.name,
                    value=found.value,
                    low=found.interval[0],
                    high=found.interval[1],
                    people_value=found.people_value,
                    people_low=found.people_interval[0],
                    people_high=found.people_interval[1],
                    people_rows=found.people_rows,
                    teacher_rows=found.teacher_rows,
                    strata=found.strata,
                )
