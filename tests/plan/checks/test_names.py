"""Names that nothing has are refused when the job is read, with those that exist."""

import pytest

from tests.job.right_job import refused


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'on = "labelled"',
            'on = "labeled"',
            ["fit.large.on = 'labeled': there is no such pool", "labelled, test"],
        ),
        (
            'fit = "large"',
            'fit = "larg"',
            ["labels.large.labeler.fit = 'larg': there is no such fit. There is: large"],
        ),
        (
            '["unlabelled", "test"]',
            '["unlabeled"]',
            ["labels.large.over = 'unlabeled': there is no such pool"],
        ),
        (
            '"labels.large"',
            '"labels.lage"',
            [
                "students.combined.terms.0.learns = 'lage': there is no such label set. There is: large"
            ],
        ),
        (
            '"pools.labelled"',
            '"pools.lab"',
            ["students.combined.terms.1.learns = 'lab': there is no such pool"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    on = ["x"]',
            ["students.combined.on = 'x': there is no such pool"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    heads = { aux = {} }',
            ["students.combined.heads = 'aux'", "main"],
        ),
        (
            "[evaluate]",
            '[sweep.s]\n    student = "x"\n    seed = [1]\n    [evaluate]',
            ["sweep.s.student = 'x'", "combined"],
        ),
        (
            '[evaluate]\n    on = "test"',
            '[evaluate]\n    on = "tset"',
            ["evaluate.on = 'tset': there is no such pool"],
        ),
        (
            "[evaluate]\n",
            '[evaluate]\n    teacher = "x"\n',
            ["evaluate.teacher = 'x': there is no such label set. There is: large"],
        ),
    ],
)
def test_an_unknown_name_is_told_with_those_that_exist(tmp_path, old, new, said):
    refused(tmp_path, old, new, *said)


def test_a_name_that_only_a_sweep_makes_wrong_is_told_and_not_a_traceback(tmp_path):
    sweep = '[sweep.wrong]\n    student = "combined"\n    "terms.0.learns" = ["labels.nosuch"]\n    [evaluate]'
    refused(tmp_path, "[evaluate]", sweep, "students.combined.terms.0.learns = 'nosuch'")
