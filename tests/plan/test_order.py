"""What a job makes is made after what it needs, else in the order of the job."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError
from distill.plan.order import Batch, working_order
from distill.plan.tables import JobTables
from tests.job.right_job import JOB
from tests.tiny import tiny_job

KMEANS = 'model = { kind = "kmeans", k = 2 }'


def order(folder, more):
    return working_order(JobTables(tiny_job(folder, JOB + more)))


def structure(name, of):
    return f'\n    [structure.{name}]\n    of = "{of}"\n    {KMEANS}'


def labels(name, structure):
    labeler = f'{{ kind = "structure", structure = "{structure}", gives = "distances" }}'
    return f'\n    [labels.{name}]\n    labeler = {labeler}\n    over = ["unlabelled"]'


def test_a_job_of_fits_and_labels_is_worked_on_in_another_order(tmp_path):
    more = """
    [labels.again]
    labeler = { kind = "fitted", fit = "more" }
    over = ["unlabelled"]
    [fit.more]
    model = { kind = "linear" }
    on = "labelled"
    """
    found = order(tmp_path, more)
    assert found == [Batch("fit", ("large", "more")), Batch("labels", ("large", "again"))]


def test_structures_wait_for_the_labels_whose_values_they_see(tmp_path):
    more = (
        structure("top", "structure.low")
        + structure("low", "labels.seen")
        + structure("raw", "pools.unlabelled")
        + labels("told", "top")
        + labels("seen", "raw")
    )
    assert order(tmp_path, more) == [
        Batch("fit", ("large",)),
        Batch("structure", ("raw",)),
        Batch("labels", ("seen",)),
        Batch("structure", ("low", "top")),
        Batch("labels", ("large", "told")),
    ]


def test_a_circle_is_gone_round_for_ever(tmp_path):
    more = structure("a", "labels.b") + labels("b", "c") + structure("c", "structure.a")
    said = "structure.a, which needs labels.b, which needs structure.c, which needs structure.a"
    with pytest.raises(JobError, match=f"{said}: none of them can be the first"):
        order(tmp_path, more)


def test_a_structure_on_itself_is_a_circle(tmp_path):
    with pytest.raises(JobError, match=r"structure\.a, which needs structure\.a: none"):
        order(tmp_path, structure("a", "structure.a"))
