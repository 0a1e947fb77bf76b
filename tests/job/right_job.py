"""A right job, and how a test makes it wrong."""

import pytest

from distill.core.errors import JobError
from tests.tiny import tiny_job

JOB = """
    root = "runs"
    fragment_rows = 500
    [pools.unlabelled]
    path = "pool/"
    features = { kind = "vector", columns = ["pixels"] }
    private = ["email"]
    [pools.labelled]
    path = "labelled/"
    target = "digit"
    classes = ["a", "b", "c", "d"]
    [pools.test]
    path = "test/"
    target = "digit"
    classes = ["a", "b", "c", "d"]
    [fit.large]
    model = { kind = "mlp", hidden = [16] }
    on = "labelled"
    [labels.large]
    labeler = { kind = "fitted", fit = "large" }
    over = ["unlabelled", "test"]
    encoding = { kind = "topk", k = 3, temperatures = [1, 4] }
    [students.combined]
    model = { kind = "linear" }
    [[students.combined.terms]]
    learns = "labels.large"
    loss = { kind = "kl", temperature = 4 }
    [[students.combined.terms]]
    learns = "pools.labelled"
    loss = { kind = "cross_entropy" }
    weight = 0.5
    [evaluate]
    on = "test"
"""


def refused(folder, old, new, *said):
    """The job with `old` replaced is refused in words that hold the file and all of `said`."""
    assert JOB.count(old) >= 1, f"{old!r} is not in the job, so this test shows nothing"
    with pytest.raises(JobError) as told:
        tiny_job(folder, JOB.replace(old, new, 1))
    for part in (str(folder / "job.toml"), *said):
        assert part in str(told.value)
    return str(told.value)
