"""What only a sweep makes wrong is refused too; so is a pool that would teach nothing."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job


def test_a_wrong_value_that_only_a_sweep_makes_is_refused_too(tmp_path):
    sweep = '[sweep.s]\n    student = "combined"\n    "terms.0.loss.temperature" = [4, 2]\n    [evaluate]'
    refused(tmp_path, "[evaluate]", sweep, "students.combined.terms.0.loss.temperature = 2.0")


CHOSEN = """
    [select.more]
    of = "pools.unlabelled"
    by = { kind = "random" }
    rows = 10
    [students.own]
    model = { kind = "linear" }
    on = ["labelled", "select.more"]
    [[students.own.terms]]
    learns = "pools.labelled"
    loss = { kind = "cross_entropy" }
"""


def test_a_pool_is_named_that_no_term_learns_from(tmp_path):
    said = r"students\.own\.on = .*: no term learns anything of \['select\.more'\]"
    with pytest.raises(JobError, match=said):
        tiny_job(tmp_path, JOB + CHOSEN)


def test_a_selection_has_no_share_of_a_batch(tmp_path):
    share = 'batch_share = { "select.more" = 0.5 }\n    rows = { "select.more" = 5 }'
    own = CHOSEN.replace('on = ["labelled", "select.more"]', share)
    own = own.replace("pools.unlabelled", "pools.labelled")
    second = own[own.index("    [[students") :].replace("pools.labelled", "pools.select.more")
    loaded = tiny_job(tmp_path, JOB + own + second)
    assert loaded.students["own"].taught_on == ("labelled", "select.more")
