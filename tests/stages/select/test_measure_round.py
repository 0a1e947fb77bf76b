"""What a round was worth, and of whose rounds the learning curve is made."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from distill.plan.selection_steps import MeasureStep
from distill.stages.select.measure_round import measure_round


def evaluation(student: str, score: float, pool: str = "test"):
    """An evaluation in which one student learned from the rounds."""
    group = SimpleNamespace(first=SimpleNamespace(student=student), mean=lambda _: score)
    return SimpleNamespace(students=[group], rows=1_000, pool=pool)


@pytest.mark.parametrize("later", [("other", "test"), ("small", "elsewhere")])
def test_a_curve_goes_through_what_another_student_was_worth_or_elsewhere(tmp_path, later):
    def measured(number: int, student: str, pool: str):
        step = MeasureStep(
            name="first",
            folder=str(tmp_path),
            number=number,
            rounds=9,
            rows=100 * (number + 1),
            next_rows=100,
            students=("small", "other"),
            stop_below=None,
            seed=0,
        )
        return measure_round(step, evaluation(student, 0.5 + 0.05 * number, pool))

    assert [measured(number, "small", "test").points for number in range(2)] == [None, None]
    assert measured(2, *later).points is None
    assert measured(3, "small", "test").points is not None
