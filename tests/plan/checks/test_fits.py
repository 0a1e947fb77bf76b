"""A fit that would learn what students are judged on is refused."""

from tests.job.right_job import refused


def test_a_teacher_fitted_on_the_judged_rows_is_refused(tmp_path):
    refused(
        tmp_path,
        'on = "labelled"',
        'on = "test"',
        "fit.large.on = 'test': students are judged on that pool",
    )
