"""Rows of small groups count more, where another label set says the groups: held against plain
numpy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import JobError
from distill.loader.sampler import Chunk
from distill.plan import group_balance
from distill.plan.load import load_job
from distill.run import fit_structures, label_pools
from tests.resolved import plan_student
from tests.tiny import tiny_job

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.one]
    path = "one"
    features = { kind = "vector", columns = ["x", "y"] }
    [pools.known]
    path = "known"
    target = "kind"
    classes = ["a", "b"]
    [structure.groups]
    of = "pools.one"
    model = { kind = "kmeans", k = 3 }
    [labels.groups]
    labeler = { kind = "structure", structure = "groups", gives = "cluster" }
    over = ["one", "known"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["one", "known"]
    max_rejected_fraction = 0.5
    [students.small]
    model = { kind = "linear" }
    on = ["one"]
    training = { epochs = 1, batch_rows = 32, lanes = 4 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    row_weight = { kind = "cluster_balance", labels = "groups", power = 0.5 }
    [[students.small.terms]]
    learns = "pools.known"
    loss = { kind = "cross_entropy" }
    row_weight = { kind = "cluster_balance", labels = "teacher" }
"""
MINE = """
import numpy as np

class Labeler:
    revision, classes = "1", ("low", "high", "never")

    def label(self, features):
        total = features.sum(axis=1)
        said = np.stack([5 - total, total - 5, total * 0 - 99], axis=1)
        said[total < -1.5] = np.nan
        return said.astype(np.float32)
"""
CORNERS = np.array([[0, 0], [0, 10], [10, 0]], np.float32)


def write_corners(folder, rows, shares, seed):
    """Rows around three corners, in two shards; returns their values."""
    draw = np.random.default_rng(seed)
    corner = draw.choice(3, rows, p=shares)
    values = CORNERS[corner] + draw.normal(0, 0.5, (rows, 2)).astype(np.float32)
    folder.mkdir()
    kind = pa.array(["ab"[each % 2] for each in corner])
    table = pa.table({"x": values[:, 0], "y": values[:, 1], "kind": kind})
    for number, start in enumerate((0, rows // 3)):
        stop = rows // 3 if number == 0 else rows
        pq.write_table(table.slice(start, stop - start), folder / f"part-{number}.parquet")
    return values


@pytest.fixture
def job(tmp_path):
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    write_corners(tmp_path / "one", 300, [0.7, 0.2, 0.1], 0)
    write_corners(tmp_path / "known", 120, [0.5, 0.4, 0.1], 1)
    return tiny_job(tmp_path, JOB)


def made(job):
    """The job's labels are there, its student is not trained."""
    fit_structures(job, engine="local")
    list(label_pools(job, engine="local"))
    (variant,) = job.variants
    return plan_student(job, variant)


def weights_of(plan, term):
    """What each row counts in a term, and the features of all rows."""
    source = plan.sources[plan.terms[term].source]
    loaded = [source.load(chunk) for chunk in source.chunks(50)]
    weight = np.concatenate([each[f"{term}.weight"] for each in loaded])
    features = np.concatenate([each["features"] for each in loaded])
    return weight, features


def test_rows_of_small_groups_count_as_those_of_large_ones(job):
    plan = made(job)
    weight, x = weights_of(plan, 0)
    labelled = x.sum(axis=1) >= -1.5
    corner = ((x[:, None] - CORNERS) ** 2).sum(axis=2).argmin(axis=1)
    sizes = np.bincount(corner)
    due = (len(x) / (3 * sizes)) ** 0.5
    np.testing.assert_allclose(weight[labelled], due[corner][labelled], rtol=1e-5)
    assert not weight[~labelled].any()
    # of a target, by the classes that a teacher finds likeliest; none has the third
    weight, x = weights_of(plan, 1)
    total = x.sum(axis=1)
    labelled = total >= -1.5
    high = (total > 5).astype(int)
    sizes = np.bincount(high[labelled])
    due = labelled.sum() / (2 * sizes)
    np.testing.assert_allclose(weight[labelled], due[high[labelled]], rtol=1e-5)
    assert not weight[~labelled].any()
    assert weight[high == 0].sum() == pytest.approx(weight[high == 1].sum(), rel=1e-5)


def test_few_rows_count_by_the_groups_of_others(job):
    text = job.path.read_text("utf-8")
    limits = "rows = { one = 40, known = 30 }\ntraining ="
    job.path.write_text(text.replace("training =", limits, 1), "utf-8")
    source = made(load_job(job.path)).sources[0]
    rows = source.load(Chunk(0, 0, 0, source.rows))
    x = rows["features"]
    corner = ((x[:, None] - CORNERS) ** 2).sum(axis=2).argmin(axis=1)
    sizes = np.bincount(corner, minlength=3)
    due = (40 / ((sizes > 0).sum() * np.maximum(sizes, 1))) ** 0.5
    labelled = x.sum(axis=1) >= -1.5
    np.testing.assert_allclose(rows["0.weight"][labelled], due[corner][labelled], rtol=1e-5)


def test_groups_are_counted_again_or_other_groups_make_the_same_student(job, monkeypatch):
    folder = made(job).folder
    monkeypatch.setattr(group_balance, "_count", None)
    assert made(job).folder == folder
    monkeypatch.undo()
    # other clusters, the same labels of the teacher
    root = Path(job.root_uri)
    for made_of_clusters in ("labels/groups", "structures/groups"):
        shutil.rmtree(root / made_of_clusters)
    text = job.path.read_text("utf-8").replace("k = 3", "k = 2")
    job.path.write_text(text, "utf-8")
    other = made(load_job(job.path)).folder
    assert Path(other).name != Path(folder).name


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('labels = "groups"', 'labels = "group"', "there is no such label set. There is: groups"),
        ('gives = "cluster"', 'gives = "distances"', "which are no groups"),
        ('over = ["one", "known"]', 'over = ["known"]', "rows of ['one'] are seen too"),
        ('labels = "groups"', "labels = 3", "row_weight"),
        ('kind = "cluster_balance", labels = "groups"', 'kind = "cluster"', "cluster_balance"),
    ],
)
def test_groups_that_nobody_says_are_found_out_late(tmp_path, job, old, new, said):
    text = job.path.read_text("utf-8").replace(old, new, 1)
    job.path.write_text(text, "utf-8")
    with pytest.raises(JobError) as told:
        load_job(job.path)
    assert said in str(told.value)
