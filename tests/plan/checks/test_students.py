"""What only a sweep makes wrong is refused too."""

from tests.job.right_job import refused


def test_a_wrong_value_that_only_a_sweep_makes_is_refused_too(tmp_path):
    sweep = '[sweep.s]\n    student = "combined"\n    "terms.0.loss.temperature" = [4, 2]\n    [evaluate]'
    refused(tmp_path, "[evaluate]", sweep, "students.combined.terms.0.loss.temperature = 2.0")
