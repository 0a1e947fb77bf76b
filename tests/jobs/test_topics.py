"""The text job: a teacher that has not seen two topics, a zero-shot labeler by descriptions, and
students of both."""

from __future__ import annotations

import pytest

from tests.jobs.test_examples import run_job


@pytest.mark.slow
def test_a_student_of_text_knows_topics_that_its_teacher_never_saw(tmp_path):
    output, evaluation = run_job("topics", tmp_path)
    assert "made a model of" in output
    measures = {method.name: method.measures for method in evaluation.methods}
    assert measures["large"]["accuracy_unseen"] == 0
    assert measures["zero_shot"]["accuracy_unseen"] > 0.5
    assert measures["combined"]["accuracy_unseen"] > 0.4
    for other in ("labels_only", "distilled", "zero_shot_only"):
        assert measures["combined"]["accuracy"] > measures[other]["accuracy"] + 0.04
    small = {method.name: method.parameters for method in evaluation.methods}
    assert small["combined"] * 7 < small["large"]
