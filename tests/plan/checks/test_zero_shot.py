"""Descriptions that a zero-shot fit cannot learn from are refused when the job is read."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job

ESZSL = 'kind = "eszsl", descriptions = "described.csv" }'
NETWORK = 'kind = "mlp", hidden = [16] }'
DESCRIBED = "class,loops,lines\na,1,0\nb,0,1\nc,1,1\nd,0,0.5\nunseen,2,2\n"


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (None, ["fit.large.model.descriptions = ", "No such file"]),
        ("", ["fit.large.model.descriptions: the header must be `class,ATTRIBUTE…`"]),
        (DESCRIBED.replace("d,0,0.5\n", ""), ["no row for the classes ['d'] of pools.labelled"]),
        (DESCRIBED.replace("d,0,0.5", "d,0"), ["the same number of numbers"]),
        (DESCRIBED.replace("0.5", "half"), ["the same number of numbers"]),
        (DESCRIBED.replace("0.5", "nan"), ["the same number of numbers"]),
        ("class\na\nb\nc\nd\n", ["the same number of numbers"]),
        (DESCRIBED + "a,1,1\n", ["['a'] stand there more than once"]),
    ],
)
def test_descriptions_that_cannot_be_learned_from_are_refused(tmp_path, described, said):
    if described is not None:
        (tmp_path / "described.csv").write_text(described)
    refused(tmp_path, NETWORK, ESZSL, *said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("feature_ridges = [0.1, 0]", ["feature_ridges.1 = 0", "greater than 0"]),
        ("attribute_ridges = [-1.0]", ["attribute_ridges.0 = -1.0", "greater than 0"]),
        ("scales = [0.0]", ["scales.0 = 0.0", "greater than 0"]),
        ("calibrations = []", ["calibrations = ", "at least 1"]),
    ],
)
def test_candidates_that_make_a_singular_matrix_or_no_choice_are_found_out_by_a_task(
    tmp_path, more, said
):
    (tmp_path / "described.csv").write_text(DESCRIBED)
    refused(tmp_path, NETWORK, ESZSL.replace(" }", f", {more} }}"), *said)


def test_descriptions_that_are_right_add_the_unseen_classes(tmp_path):
    from tests.resolved import label_outputs

    (tmp_path / "described.csv").write_text("# made by hand\n" + DESCRIBED)
    job = tiny_job(tmp_path, JOB.replace(NETWORK, ESZSL))
    assert label_outputs(job, "large").classes == ("a", "b", "c", "d", "unseen")


def test_zero_shot_from_too_few_classes_is_refused(tmp_path):
    (tmp_path / "described.csv").write_text(DESCRIBED)
    with pytest.raises(JobError, match="3 labelled classes are too few"):
        tiny_job(tmp_path, JOB.replace(NETWORK, ESZSL).replace('"c", "d"', '"c"'))
