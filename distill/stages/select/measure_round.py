"""What a round of a selection was worth: its students' accuracy on the held-out pool, kept beside the
round, and what the learning curve through all rounds promises of the next one."""

from __future__ import annotations

import math

from distill.core.results import Evaluation, Group
from distill.plan.selection_steps import MeasureStep
from distill.pools.chosen import RoundMeasure, read_measures, write_measure
from distill.stages.select.learning_curve import Gain, fit_curve
from distill.storage.open import open_storage

_MEASURE = "accuracy"


def measure_round(step: MeasureStep, evaluation: Evaluation) -> RoundMeasure:
    """Store what the last round was worth, by the first student that learned from it: the mean over
    its seeds. Raises StorageError."""
    folder = open_storage(step.folder)
    group = _learner(step, evaluation)
    score = group.mean(_MEASURE)
    assert score is not None
    # of a share over so many rows
    variance = score * (1 - score) / max(1, evaluation.rows)
    error = math.sqrt(variance)
    student = group.first.student
    # a curve through what others were worth, or elsewhere, says nothing of this one
    measures = read_measures(folder)
    before = [each for each in measures if (each.student, each.pool) == (student, evaluation.pool)]
    rows = [*(each.rows for each in before), step.rows]
    scores = [*(each.score for each in before), score]
    errors = [*(each.error for each in before), error]
    curve = fit_curve(rows, scores, errors, step.seed)
    gain = None if curve is None else curve.gain(step.next_rows)
    measure = RoundMeasure(
        number=step.number,
        rows=step.rows,
        student=student,
        pool=evaluation.pool,
        score=score,
        error=error,
        next_rows=step.next_rows,
        points=gain.points if gain else None,
        margin=gain.margin if gain else None,
    )
    return write_measure(folder, measure)


def measure_line(step: MeasureStep, measure: RoundMeasure) -> str:
    """Say a measured round in a line."""
    line = (
        f"select.{step.name}: round {measure.number + 1} of {step.rounds}, {measure.rows:,} rows:"
        f" students.{measure.student} {100 * measure.score:.1f}% of {measure.pool}"
    )
    if measure.points is None or measure.margin is None:
        return line
    line += f"; {Gain(measure.next_rows, measure.points, measure.margin).in_words}"
    done = measure.number + 1
    is_last = done == step.rounds
    if not is_last and measure.promises_less(step.stop_below):
        line += f", less than {step.stop_below:g}: no round more"
    return line


def _learner(step: MeasureStep, evaluation: Evaluation) -> Group:
    for group in evaluation.students:
        if group.first.student in step.students and group.mean(_MEASURE) is not None:
            return group
    raise AssertionError("checks refuse rounds that nobody learns from")
