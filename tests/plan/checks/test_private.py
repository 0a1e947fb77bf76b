from __future__ import annotations

import pytest

from distill.core.errors import JobError
from distill.plan.load import load_job
from tests.tiny import write_job

JOB = """
    root = "root"
    [pools.private]
    path = "private"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [pools.others]
    path = "others"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [fit.large]
    model = { kind = "linear" }
    on = "private"
    [labels.large]
    labeler = { kind = "fitted", fit = "large" }
    over = ["private", "others"]
    [students.small]
    model = { kind = "linear" }
    training = { private = { epsilon = 3.0, delta = 1e-4 } }
    [[students.small.terms]]
    learns = "pools.private"
    loss = { kind = "cross_entropy" }
"""
TRAINING = "training = { "
TERM = 'learns = "pools.private"\n    loss = { kind = "cross_entropy" }'
WRONG = {
    "batch norm": (TRAINING, 'training = { batch_norm = "sync", ', "mixes the rows of a step"),
    "lanes": (TRAINING, 'training = { gradients = "lanes", ', "before rows are clipped"),
    "clip": (TRAINING, "training = { clip_norm = 1.0, ", "each row's"),
    "bfloat16": (TRAINING, 'training = { precision = "bfloat16", ', "rounds what is clipped"),
    "stop": (
        TRAINING,
        'early_stop = { learns = "pools.others" }\n    training = { ',
        "told without noise",
    ),
    "balance": (
        TERM,
        TERM + '\n    row_weight = { kind = "class_balance" }',
        "counts of all others",
    ),
    "two sources": (
        TERM,
        TERM + "\n    [[students.small.terms]]\n    " + TERM.replace("private", "others"),
        "rows of 2 sources",
    ),
    "seen before": (TERM, TERM.replace("pools.private", "labels.large"), "without noise"),
    "both": ("epsilon = 3.0", "epsilon = 3.0, noise = 1.0", "one of `epsilon` and `noise`"),
    "a selection": (
        'on = "private"',
        'on = "select.some"\n    training = { private = { epsilon = 3.0, delta = 1e-4 } }\n'
        '    [select.some]\n    of = "pools.private"\n    by = { kind = "random" }\n    rows = 9',
        "chosen by looking at all rows",
    ),
    "bare features of a fit": (
        'on = "private"',
        'on = "private"\n    training = { private = { epsilon = 3.0, delta = 1e-4 } }\n'
        '    features = { kind = "labels", of = "labels.bare" }\n    [fit.bare]\n'
        '    model = { kind = "linear" }\n    on = "private"\n    [labels.bare]\n'
        '    labeler = { kind = "fitted", fit = "bare" }\n    over = ["private", "others"]\n',
        "without noise",
    ),
    "the same rows twice": (
        TERM,
        'learns = "labels.twice"\n    loss = { kind = "kl" }\n    [pools.mended]\n    path = "mended"\n'
        '    corrects = "pools.others"\n    target = "kind"\n    [labels.twice]\n'
        '    labeler = { kind = "fitted", fit = "large" }\n    over = ["others", "mended"]\n',
        "may have the same rows",
    ),
    "teachers": (
        'on = "private"',
        'on = "private"\n    teachers = { count = 4 }\n'
        "    training = { private = { epsilon = 3.0, delta = 1e-4 } }",
        "noisy votes are the promise",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_private_training_whose_promise_would_not_hold_is_loaded(tmp_path, wrong):
    before, after, message = WRONG[wrong]
    assert before in JOB
    with pytest.raises(JobError) as caught:
        load_job(write_job(tmp_path, JOB.replace(before, after, 1)))
    assert message in str(caught.value)


def test_a_private_training_that_holds_is_refused(tmp_path):
    load_job(write_job(tmp_path, JOB))
