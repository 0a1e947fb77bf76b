"""Rows of rare classes count more: held against plain numpy, for label sets and targets, and
counted once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.labels import class_counts as of_labels
from distill.labels.commit import Commit, read_commit
from distill.loader.sampler import Chunk
from distill.plan import class_balance
from distill.plan.load import load_job
from distill.pools import target_counts as of_targets
from distill.storage.request_counts import requests
from tests.making import label_by_worker
from tests.resolved import plan_student
from tests.tiny import tiny_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.one]
    path = "one"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.two]
    path = "two"
    [pools.known]
    path = "known"
    target = "kind"
    classes = ["a", "b", "c", "never"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["one", "two"]
    ENCODING
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 1, batch_rows = 32, lanes = 4 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    row_weight = { kind = "class_balance", power = 0.5 }
    [[students.small.terms]]
    learns = "pools.known"
    loss = { kind = "cross_entropy" }
    row_weight = { kind = "class_balance" }
    [sweep.weights]
    student = "small"
    "terms.1.weight" = [0.5, 1.0, 2.0]
"""
MINE = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("c", "a", "b", "never")

    def label(self, features):
        said = np.hstack([features[:, :3] + [2.0, 0.0, -0.5], np.full((len(features), 1), -9.0)])
        said[np.abs(features[:, 3]) > 2] = np.nan
        return said.astype(np.float32)
"""
DENSE, TOPK = "", 'encoding = { kind = "topk", k = 2 }'


@pytest.fixture(params=[DENSE, TOPK])
def job(request, tmp_path):
    for name, shards in {"one": [100, 30], "two": [50], "known": [90, 40]}.items():
        write_pool(tmp_path / name, shards)
    file = tmp_path / "known" / "part-00001.parquet"
    table = pq.read_table(file)
    kinds = table["kind"].to_pylist()
    kinds[5], kinds[6], kinds[10:30] = None, "other", ["a"] * 20
    pq.write_table(table.set_column(1, "kind", pa.array(kinds)), file)
    (tmp_path / "mine.py").write_text(MINE, "utf-8")
    made = tiny_job(tmp_path, JOB.replace("ENCODING", request.param))
    label_by_worker(made, "teacher")
    return load_job(made.path)


def rows_of(source, column):
    parts = [source.load(chunk) for chunk in source.chunks(64)]
    return {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if name.startswith(column)
    }


def plain(classes, number, power):
    """`classes` has −1 where a row has none."""
    counts = np.array([(classes == each).sum() for each in range(number)])
    n = counts.sum()
    return np.array(
        [(n / (number * counts[each])) ** power if each >= 0 else 0.0 for each in classes],
        np.float32,
    )


def test_rows_count_otherwise_than_by_their_class(job):
    lesson = plan_student(job, job.variants[0])
    labels, targets = rows_of(lesson.sources[0], "0."), rows_of(lesson.sources[1], "1.")
    pixels = np.concatenate(
        [pq.read_table(job.path.parent / name)["pixels"].to_pylist() for name in ("one", "two")]
    )
    said = np.where(np.abs(pixels[:, 3]) > 2, -1, (pixels[:, :3] + [2.0, 0.0, -0.5]).argmax(axis=1))
    assert {-1, 0, 1, 2} == set(said.tolist()), "the test needs rejected rows and all classes"
    np.testing.assert_allclose(labels["0.weight"], plain(said, 4, 0.5), rtol=1e-6)
    kinds = pq.read_table(job.path.parent / "known")["kind"].to_pylist()
    known = np.array(
        [("a", "b", "c").index(kind) if kind in ("a", "b", "c") else -1 for kind in kinds]
    )
    np.testing.assert_allclose(targets["1.weight"], plain(known, 4, 1.0), rtol=1e-6)
    sums = [targets["1.weight"][known == each].sum() for each in range(3)]
    np.testing.assert_allclose(sums, (known >= 0).sum() / 4, rtol=1e-5)
    assert "rows weighted by class balance" in lesson.terms[1].text


def test_the_mean_over_a_batch_is_another_than_the_weighted_one(job):
    """Through the lanes and the sums of training, all rows in one step."""
    import torch
    from torch.nn import functional

    from distill.engine.protocol import WorkerContext
    from distill.loader.loader import Loader
    from distill.models.network import build_network
    from distill.stages.train.combined_loss import CombinedLoss
    from distill.stages.train.gradients import LaneGradients, WorkerGradients

    lesson = plan_student(job, job.variants[0])
    orders = [lesson.order(0), lesson.order(1)]
    feeds = [
        Loader(source, order, rank=0, workers=1)
        for source, order in zip(lesson.sources, orders, strict=True)
    ]
    batches = [next(feed.batches()) for feed in feeds]
    for feed in feeds:
        feed.close()
    network, loss = build_network(lesson.plan), CombinedLoss(lesson.terms, "cpu")
    known = batches[1]["1.weight"] > 0
    x, y, w = (
        torch.from_numpy(batches[1][name][known]) for name in ("features", "1.target", "1.weight")
    )
    columns = [lesson.heads["main"].positions[name] for name in ("a", "b", "c", "never")]
    mine = network(x)["main"][:, columns]
    due = (functional.cross_entropy(mine, y, reduction="none") * w).sum() / w.sum()
    for gradients in (
        WorkerGradients(network, loss, WorkerContext(0, 1, "cpu"), lambda model: model),
        LaneGradients(network, loss, WorkerContext(0, 1, "cpu"), lambda model: model, 4),
    ):
        summed = gradients.backward(0, 0, [dict(batch) for batch in batches])
        assert (summed[1, 0] / summed[1, 1]).item() == pytest.approx(due.item(), rel=1e-5)


def test_trials_of_a_sweep_or_the_next_run_count_again(job, monkeypatch):
    counted = []
    for module, name in ((of_labels, "class_counts"), (of_targets, "target_counts")):
        count = getattr(module, name)
        monkeypatch.setattr(
            class_balance,
            name,
            lambda *told, count=count, name=name: counted.append(name) or count(*told),
        )
    assert len(job.variants) == 3
    for again in (job, load_job(job.path)):
        for variant in again.variants:
            plan_student(again, variant)
    assert sorted(counted) == [
        "class_counts",
        "class_counts",
        "target_counts",
    ]  # two pools, one target


def test_commits_without_a_histogram_count_nothing(job, monkeypatch):
    labels = list(plan_student(job, job.variants[0]).sources[0].columns["0"].sets)
    contract = labels[0].contract
    due = [of_labels.class_counts(each, contract) for each in labels]
    before = requests()
    of_labels.class_counts(labels[0], contract)
    assert (requests() - before).get == len(labels[0].entries)

    def without(*asked):
        return Commit(**{**vars(read_commit(*asked)), "histogram": {}})

    monkeypatch.setattr("distill.labels.class_counts.read_commit", without)
    for each, counts in zip(labels, due, strict=True):
        assert counts.sum() == each.entries.rows - each.entries.rejected
        np.testing.assert_array_equal(of_labels.class_counts(each, contract), counts)


@pytest.mark.parametrize("fragment_rows", [64, 1000])
def test_a_target_is_counted_otherwise_than_plainly(job, fragment_rows):
    from tests.resolved import open_pool, pool_outputs

    pool = open_pool(job, "known")
    kinds = pq.read_table(job.path.parent / "known")["kind"].to_pylist()
    counts = of_targets.target_counts(
        pool.inventory, "kind", pool_outputs(job, "known"), fragment_rows
    )
    assert counts.tolist() == [kinds.count("a"), kinds.count("b"), kinds.count("c"), 0]


def test_few_rows_count_by_what_others_have(job):
    """A learning curve's point knows no label of a row that it does not learn from."""
    text = job.path.read_text("utf-8")
    limits = "rows = { one = 12, two = 9, known = 15 }\ntraining ="
    job.path.write_text(text.replace("training =", limits, 1), "utf-8")
    lesson = plan_student(load_job(job.path), load_job(job.path).variants[0])
    for number, source, power in ((0, lesson.sources[0], 0.5), (1, lesson.sources[1], 1.0)):
        arrays = source.load(Chunk(0, 0, 0, source.rows))
        weights = arrays[f"{number}.weight"]
        if number:
            classes = np.where(weights > 0, arrays["1.target"], -1)
        elif "0.index" in arrays:
            classes = np.where(weights > 0, arrays["0.index"][:, 0], -1)
        else:
            classes = np.where(weights > 0, arrays["0.outputs"].argmax(axis=1), -1)
        assert len(weights) == (21, 15)[number]
        np.testing.assert_allclose(weights, plain(classes, 4, power), rtol=1e-6)
