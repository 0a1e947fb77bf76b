"""Structures that can see nothing, and label sets that mistake what they say, are refused."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError, PoolError
from tests.job.right_job import JOB
from tests.resolved import check_inputs
from tests.tiny import tiny_job, write_pool

KMEANS = (
    '\n    [structure.groups]\n    of = "pools.unlabelled"\n    model = { kind = "kmeans", k = 4 }'
)
LABELS = """
    [labels.groups]
    labeler = { kind = "structure", structure = "groups", gives = "soft" }
    over = ["unlabelled"]
"""
STUDENT = """
    [students.more]
    model = { kind = "linear" }
    [[students.more.terms]]
    learns = "labels.groups"
    loss = { kind = "kl" }
    [[students.more.terms]]
    learns = "pools.labelled"
    loss = { kind = "cross_entropy" }
"""
VALUES = """
    [labels.values]
    labeler = { kind = "structure", structure = "groups", gives = "distances" }
    over = ["unlabelled"]
    [structure.top]
    of = "labels.values"
    model = { kind = "kmeans", k = 2 }
    [labels.top]
    labeler = { kind = "structure", structure = "top", gives = "cluster" }
    over = ["unlabelled", "test"]
"""
SOFT = 'gives = "soft" }'
OF = 'of = "pools.unlabelled"'
TEXT = """
    [pools.texts]
    path = "texts/"
    features = { kind = "text", column = "words" }
"""
UNLABELLED = """path = "pool/"
    features = { kind = "vector", columns = ["pixels"] }"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (OF, 'of = "pools.lab"', "structure.groups.of = 'lab': there is no such pool"),
        (OF, 'of = "labels.lab"', "structure.groups.of = 'lab': there is no such label set"),
        (OF, 'of = "structure.lab"', "structure.groups.of = 'lab': there is no such structure"),
        (OF, 'of = "unlabelled"', "is none of 'pools.NAME', 'labels.NAME' and 'structure.NAME'"),
        (OF, 'of = "select.first"', "the rows of a selection are 'pools.select.first'"),
        (', gives = "soft" }', " }", "labels.groups.labeler.gives: missing; it must be given"),
        (OF, 'of = "labels.large"', "it keeps its top 3 alone, where every number is needed"),
        ('structure = "groups"', 'structure = "group"', "there is no such structure"),
        (SOFT, 'gives = "hard" }', "is a kmeans, which gives 'cluster' or 'soft' or 'distances'"),
        ("k = 4", "n_clusters = 4", "unknown key. Did you mean 'k'?"),
        ("k = 4", "k = 1", "must be at least 2"),
        (SOFT, SOFT + '\n    calibrate_on = "labelled"', "has no truth to calibrate by"),
        (SOFT, 'gives = "soft", answers = "logits" }', "is known by `gives`. Leave it out"),
        (SOFT, SOFT + '\n    precision = "bfloat16"', "chooses its own precision"),
        (
            SOFT,
            'gives = "cluster" }\n    encoding = { kind = "value", dtype = "float16" }',
            "not every number of a cluster above 2,048 is one of float16",
        ),
        (
            'kind = "structure", structure = "groups", gives = "soft"',
            'kind = "ensemble", members = [{ kind = "structure", structure = "groups",'
            ' gives = "soft" }, { kind = "structure", structure = "groups", gives = "soft" }]',
            "labels.groups.labeler.members.0.kind = 'structure': what a structure finds",
        ),
    ],
)
def test_a_wrong_structure_is_found_out_after_it_is_paid_for(tmp_path, old, new, said):
    job = JOB + KMEANS + LABELS
    assert old in job
    with pytest.raises(JobError) as told:
        tiny_job(tmp_path, job.replace(old, new))
    assert said in str(told.value)


def test_a_map_is_fitted_without_the_gpu_that_was_asked_for(tmp_path):
    som = KMEANS.replace('"kmeans", k = 4', '"som", rows = 2, columns = 2')
    som += "\n    compute = { gpus = 0.5 }\n"
    with pytest.raises(JobError, match=r"compute\.gpus = 0\.5: passes of a som compute on CPUs"):
        tiny_job(tmp_path, JOB + som)


def test_texts_have_no_clusters(tmp_path):
    features = 'features = { kind = "vector", columns = ["pixels"] }'
    job = JOB.replace('target = "digit"', features + '\n    target = "digit"')
    job = job + TEXT + KMEANS.replace("pools.unlabelled", "pools.texts")
    with pytest.raises(JobError, match=r"texts have no distances.*of = 'labels.NAME'"):
        tiny_job(tmp_path, job)


def test_clusters_are_taken_for_the_classes_of_a_target(tmp_path):
    """They may have the same names: "0", "1", …"""
    job = JOB.replace('"a", "b", "c", "d"', '"0", "1", "2", "3"') + KMEANS + LABELS + STUDENT
    with pytest.raises(JobError, match=r"says clusters by number.*Give it a head of its own"):
        tiny_job(tmp_path, job)
    head = 'loss = { kind = "kl" }\n    head = "groups"'
    tiny_job(tmp_path, job.replace('loss = { kind = "kl" }', head))


def test_clusters_of_the_test_pool_are_judged(tmp_path):
    over = LABELS.replace('["unlabelled"]', '["unlabelled", "test"]')
    tiny_job(tmp_path, JOB + KMEANS + over)


def test_values_are_missing_of_a_pool(tmp_path):
    with pytest.raises(JobError, match=r"which sees labels\.values: it does not cover \['test'\]"):
        tiny_job(tmp_path, JOB + KMEANS + VALUES)


def test_a_structure_over_the_labels_of_the_test_pool_alone(tmp_path):
    values = VALUES.replace('["unlabelled"]', '["test"]')
    with pytest.raises(JobError, match=r"covers pools\.test alone, which students are judged on"):
        tiny_job(tmp_path, JOB + KMEANS + values)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ('{ kind = "kmeans", k = 41 }', "structure.groups.model.k = 41: there are 40 rows"),
        ('{ kind = "pca", components = 5 }', "model.components = 5: a row has 4 numbers"),
    ],
)
def test_rows_are_too_few_or_too_narrow(tmp_path, model, said):
    for name in ("pool", "labelled", "test"):
        write_pool(tmp_path / name, [20, 20], classes=("a", "b", "c", "d"))
    job = JOB.replace('"digit"', '"kind"') + KMEANS.replace('{ kind = "kmeans", k = 4 }', model)
    with pytest.raises(PoolError) as told:
        check_inputs(tiny_job(tmp_path, job))
    assert said in str(told.value)
