"""Votes that rows of a cluster share: four clusters of two classes, and a labeler that errs on rows."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distill.labels
from distill.core.errors import JobError
from distill.plan.load import load_job
from distill.run import label_pool, run_job, verify_labels

CENTRES = np.array([[0, 0], [8, 0], [0, 8], [8, 8]])
CLASS_OF = np.array([0, 1, 1, 0])
LABELER = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("even", "odd")

    def label(self, features):
        x = np.asarray(features, np.float64)
        right = (np.round(x[:, 0] / 8) + np.round(x[:, 1] / 8)) % 2
        # wrong on a third of all rows, by their last digits, and less sure of these
        wrong = (np.abs(x[:, 0] * 1000) % 3).astype(int) == 0
        says = np.where(wrong, 1 - right, right)
        sure = np.where(wrong, 1.0, 3.0)
        logits = np.zeros((len(x), 2), np.float32)
        logits[np.arange(len(x)), says.astype(int)] = sure
        return logits
"""
JOB = """
root = "root"
fragment_rows = 64
[pools.rows]
path = "rows/"
features = {{ kind = "vector", columns = ["x", "y"] }}
[pools.test]
path = "test/"
target = "kind"
classes = ["even", "odd"]
features = {{ kind = "vector", columns = ["x", "y"] }}
[structure.clusters]
of = "pools.rows"
model = {{ kind = "kmeans", k = 4 }}
[labels.cluster]
labeler = {{ kind = "structure", structure = "clusters", gives = "cluster" }}
over = ["rows", "test"]
[labels.votes]
labeler = {{ kind = "custom", file = "labeler.py" }}
over = ["rows", "test"]
[labels.pooled]
labeler = {{ kind = "pooled", votes = "labels.votes", groups = "labels.cluster", own_share = {share} }}
over = ["rows", "test"]
max_rejected_fraction = 1
{more}
"""


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(4)
    for name, rows in (("rows", 600), ("test", 200)):
        cluster = draw.integers(0, 4, rows)
        place = CENTRES[cluster] + draw.normal(0, 0.5, (rows, 2))
        kind = np.array(["even", "odd"])[CLASS_OF[cluster]]
        (tmp_path / name).mkdir()
        table = pa.table({"x": place[:, 0], "y": place[:, 1], "kind": kind})
        pq.write_table(table, tmp_path / name / "0.parquet")
    (tmp_path / "labeler.py").write_text(LABELER)
    return tmp_path


def job_of(folder, share=0.2, more=""):
    (folder / "job.toml").write_text(JOB.format(share=share, more=more))
    return load_job(folder / "job.toml")


def read(folder, name, pool="rows"):
    stored = distill.labels.open(folder / f"root/labels/{name}/v1/{pool}")
    key = "logits" if stored.contract.kind == "logits" else "value"
    rows = [row for table in stored.decoded() for row in table[key].to_pylist()]
    return np.array([row if row is not None else [np.nan] * stored.contract.width for row in rows])


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_a_cluster_does_not_bring_its_rows_nearer_to_its_mean(folder):
    job = job_of(folder)
    run_job(job, engine="local")
    votes = {pool: softmax(read(folder, "votes", pool)) for pool in ("rows", "test")}
    cluster = {pool: read(folder, "cluster", pool)[:, 0].astype(int) for pool in ("rows", "test")}
    every = np.concatenate([votes["rows"], votes["test"]])
    group = np.concatenate([cluster["rows"], cluster["test"]])
    means = np.stack([every[group == each].mean(0) for each in range(4)])
    for pool in ("rows", "test"):
        want = 0.2 * votes[pool] + 0.8 * means[cluster[pool]]
        np.testing.assert_allclose(softmax(read(folder, "pooled", pool)), want, atol=2e-6)
        for found in verify_labels(job, "pooled"):
            assert not found.problems
    truth = pq.read_table(folder / "test/0.parquet")["kind"].to_pylist()
    is_odd = np.array(truth) == "odd"
    alone = (votes["test"].argmax(1) == is_odd).mean()
    pooled = (read(folder, "pooled", "test").argmax(1) == is_odd).mean()
    assert pooled > alone + 0.2
    assert pooled > 0.98
    (again, _) = label_pool(job, "pooled", engine="local")
    assert again.labelled_now == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('groups = "labels.cluster"', 'groups = "labels.clusters"', "clusters"),
        ('groups = "labels.cluster"', 'groups = "cluster"', "groups"),
        ('votes = "labels.votes"', 'votes = "labels.cluster"', "votes are for one of several"),
        ('over = ["rows", "test"]\n[labels.votes]', 'over = ["rows"]\n[labels.votes]', "test"),
        ("own_share = 0.2", "own_share = 1.5", "own_share"),
        ('votes = "labels.votes"', 'votes = "labels.pooled"', "needs"),
    ],
)
def test_votes_or_groups_that_are_none_end_in_a_traceback(folder, old, new, message):
    job_of(folder)
    text = (folder / "job.toml").read_text()
    assert old in text
    (folder / "job.toml").write_text(text.replace(old, new))
    with pytest.raises(JobError, match=re.escape(message)):
        run_job(load_job(folder / "job.toml"), engine="local")
