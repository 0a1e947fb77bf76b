"""A student that learns from views sees the pixels that the labeler saw: each batch's answers are held
against the labeler's own word on that batch's images."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distill.labels
from distill.core.errors import ContractError, JobError
from distill.labels.encoding import decode
from distill.loader.loader import Loader
from tests.making import label_by_worker, stored_outputs
from tests.resolved import label_set, plan_student
from tests.tiny import tiny_job

SHARDS = (50, 1, 40)
SIDE, VIEWS = 6, 3
TEACHER = """
class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, images):
        import numpy as np

        weights = np.random.default_rng(0).normal(size=(36, 3)).astype(np.float32)
        rows = images.reshape(len(images), -1) / np.float32(255)
        # row by row, since a product of matrices has other last bits in other batches
        return np.stack([(row[:, None] * weights).sum(axis=0) for row in rows])
"""
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "image", column = "image", shape = [6, 6, 1], encoded = false }
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    batch_rows = 16
    views = { count = 3, seed = 7, augment = { shift = 2, flip = 0.5 } }
    max_rejected_fraction = 0.1
    MORE
    [students.small]
    on = ["rows"]
    training = { epochs = 4, batch_rows = 16, lanes = 4 }
    model = { kind = "linear" }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    [[students.small.terms]]
    learns = "pools.rows"
    loss = { kind = "cross_entropy" }
"""
BAD = (1, 0)
"""Shard and row of an image that cannot be read."""


@pytest.fixture
def labelled(tmp_path):
    """`labelled(more)`: the job, its rows labelled by a labeler that knows images alone."""

    def some(more=""):
        draw = np.random.default_rng(1)
        (tmp_path / "rows").mkdir()
        for shard, rows in enumerate(SHARDS):
            images = draw.integers(1, 256, (rows, SIDE * SIDE), np.uint8)
            content = [each.tobytes() for each in images]
            if shard == BAD[0]:
                content[BAD[1]] = None
            table = pa.table({"image": pa.array(content, pa.binary()), "kind": ["a"] * rows})
            pq.write_table(table, tmp_path / "rows" / f"{shard}.parquet", row_group_size=8)
        (tmp_path / "mine.py").write_text(TEACHER, "utf-8")
        job = tiny_job(tmp_path, JOB.replace("MORE", more))
        for results in label_by_worker(job, "teacher").values():
            assert all(each.failure is None for each in results)
        return job

    return some


def teacher():
    made = {}
    exec(TEACHER, made)
    return made["Labeler"]()


def batches(plan, first_step, steps, workers=1):
    """Batches of all workers, by step."""
    found = {}
    for rank in range(workers):
        loader = Loader(plan.sources[0], plan.order(0), rank=rank, workers=workers)
        for step, batch in enumerate(
            itertools.islice(loader.batches(first_step), steps), first_step
        ):
            copied = {name: values.copy() for name, values in batch.items()}
            found.setdefault(step, []).append(copied)
        loader.close()
    return found


@pytest.mark.parametrize(
    "encoding", ["", 'encoding = { kind = "topk", k = 2, temperatures = [2], values = "float16" }']
)
def test_answers_stand_beside_other_pixels_than_the_labeler_saw(labelled, encoding):
    job = labelled(encoding)
    plan = plan_student(job, job.variants[0])
    steps = plan.order(0).steps_per_epoch
    seen = {}
    for step, parts in batches(plan, 0, 4 * steps).items():
        for batch in parts:
            there = batch["0.weight"] > 0
            images = batch["features"][there]
            due = teacher().label(images)
            if encoding:
                log_probs = due / 2 - np.log(np.exp(due / 2).sum(axis=1, keepdims=True))
                kept = np.take_along_axis(log_probs, batch["0.index"][there], axis=1)
                np.testing.assert_allclose(batch["0.log_probs"][there], kept, atol=2e-3)
            else:
                np.testing.assert_array_equal(batch["0.outputs"][there], due)
            for row, image in zip(batch["row"][there].tolist(), images, strict=True):
                seen[step // steps, row] = image.tobytes()
    rows = {row for _, row in seen}
    assert len(rows) == sum(SHARDS) - 1
    again = [seen[0, row] == seen[VIEWS, row] for row in rows]
    assert all(again), "after as many epochs as there are views the first one comes again"
    same = [seen[0, row] == seen[1, row] for row in rows]
    assert sum(same) < len(rows) / 4, "epochs see the same pixels"


def test_workers_or_a_restart_see_another_view(labelled):
    job = labelled()
    plan = plan_student(job, job.variants[0])
    alone = batches(plan, 0, 14)
    for found in (batches(plan, 0, 14, workers=2), batches(plan, 9, 5, workers=4)):
        for step, parts in found.items():
            by_row = pixels_by_row(alone[step])
            assert pixels_by_row(parts) == by_row


def pixels_by_row(parts):
    return {
        row: (image.tobytes(), outputs.tobytes())
        for batch in parts
        for row, image, outputs in zip(
            batch["row"].tolist(), batch["features"], batch["0.outputs"], strict=True
        )
        if row >= 0
    }


def test_readers_without_views_are_given_those_of_altered_rows(labelled):
    job = labelled()
    stored = label_set(job, "teacher", "rows")
    content = [
        image
        for shard in range(len(SHARDS))
        for image in pq.read_table(job.folder / "rows" / f"{shard}.parquet")["image"].to_pylist()
    ]
    rows = [np.frombuffer(image or bytes(SIDE * SIDE), np.uint8) for image in content]
    due = teacher().label(np.stack(rows))
    known = np.array([image is not None for image in content])
    np.testing.assert_array_equal(stored_outputs(stored)[known], due[known])
    tables = [stored.read(entry) for entry in stored.entries]
    rejected = [name for table in tables for name in table.column_names if table[name].null_count]
    assert rejected == ["logits", "view_1.logits", "view_2.logits", "view_3.logits"]
    opened = distill.labels.open(stored.folder.uri)
    plain = next(iter(opened.decoded()))
    assert plain["logits"].to_pylist() == decode(tables[0], stored.contract).outputs.tolist()
    third = next(iter(opened.decoded(view=3)))
    assert third["logits"].to_pylist() != plain["logits"].to_pylist()
    with pytest.raises(ContractError, match="3 views of each row, not view 4"):
        next(iter(opened.decoded(view=4)))


OTHER = """
    [labels.other]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    views = { count = 2, augment = { flip = 0.5 } }
    [[students.small.terms]]
    learns = "labels.other"
    loss = { kind = "kl" }
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            'kind = "image", column = "image", shape = [6, 6, 1], encoded = false',
            'kind = "vector", columns = ["image"]',
            r"labels\.teacher\.views\.augm",
        ),
        ("lanes = 4 }", "lanes = 4, augment = { flip = 0.5 } }", "all its rows are altered as the"),
        ("MORE", OTHER, "labels.other and labels.teacher have different views"),
    ],
)
def test_views_that_cannot_be_seen_are_found_out_late(tmp_path, before, after, message):
    (tmp_path / "mine.py").write_text(TEACHER, "utf-8")
    text = JOB.replace(before, after).replace("MORE", "")
    with pytest.raises(JobError, match=message):
        tiny_job(tmp_path, text)
