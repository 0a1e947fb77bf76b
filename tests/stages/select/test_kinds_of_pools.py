"""Selections of text and images, in files without an index or types, through an embedding, of two
levels of clusters, and on Ray."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distill.labels
from distill.engine.local import LocalEngine
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.plan.selections import _inputs
from distill.run import (
    export_students,
    fit_structures,
    run_job,
    select_pool_rows,
    verify_labels,
)
from distill.stages.predict import predict_files
from distill.stages.select.select_rows import _gather, _parents
from tests.engine.here import without_ray
from tests.stages.select.test_select_rows import METHODS, addresses, first, pairs
from tests.tiny import tiny_job

TEXTS = """
import numpy as np

class Embedding:
    revision = "1"
    kind = "value"
    width = 3

    def label(self, features):
        return np.array([[len(text), text.count("a"), text.count("e")] for text in features], np.float32)

class Teacher:
    revision = "1"
    classes = ("few", "many")

    def label(self, features):
        count = np.array([text.count("a") for text in features], np.float32)
        return np.stack([2 - count, count - 2], axis=1)
"""

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "text", column = "said" }
    keys = ["id"]
    [labels.embedding]
    labeler = { kind = "custom", file = "texts.py", name = "Embedding" }
    over = ["rows"]
    [structure.groups]
    of = "labels.embedding"
    model = { kind = "kmeans", k = 5 }
    [select.first]
    of = "pools.rows"
    by = { kind = "typical", structure = "groups" }
    rows = 70
    without_duplicates = 0.9999999
    [labels.teacher]
    labeler = { kind = "custom", file = "texts.py", name = "Teacher" }
    over = ["select.first"]
"""


def _write_texts(folder) -> dict:
    draw = np.random.default_rng(0)
    folder.mkdir()
    said = {}
    for shard in range(3):
        lines = []
        for row in range(90):
            text = "".join(draw.choice(list("abe "), size=draw.integers(3, 30)))
            key = f"k{row}" if shard else 1_000 + row  # of two types in files without types
            lines.append(json.dumps({"id": key, "said": text}))
            said[f"part-{shard}.jsonl.gz", row] = text, str(key)
        content = gzip.compress("\n".join(lines).encode() + b"\n")
        (folder / f"part-{shard}.jsonl.gz").write_bytes(content)
    return said


def test_a_text_is_chosen_by_its_embedding_and_labelled_as_another(tmp_path):
    said = _write_texts(tmp_path / "rows")
    (tmp_path / "texts.py").write_text(TEXTS, "utf-8")
    job = tiny_job(tmp_path, JOB)
    with without_ray():
        run_job(job, lambda _: None, engine="local")
    labels = distill.labels.open(tmp_path / "root" / "labels" / "teacher" / "v1" / "select.first")
    table = pa.concat_tables([each.combine_chunks() for each in labels.decoded()])
    assert pairs(table) == pairs(addresses(job))
    for address, key, logits in zip(
        pairs(table), table["id"].to_pylist(), table["logits"].to_pylist(), strict=True
    ):
        text, own = said[address]
        assert key == own
        assert logits == [2 - text.count("a"), text.count("a") - 2]
    assert all(proven.problems == () for proven in verify_labels(job, canaries=1))


def test_an_image_of_a_selection_is_decoded_as_another(tmp_path, selecting):
    text = selecting.job(first(METHODS["novel"])).path.read_text("utf-8")
    image = 'kind = "image", column = "pixels", shape = [2, 2, 1]'
    text = text.replace('kind = "vector", columns = ["pixels"]', image)
    table = pa.table({"pixels": [bytes([row % 250, 1, 2, row % 7]) for row in range(400)]})
    table = table.cast(pa.schema([("pixels", pa.binary(4))]))
    for pool in ("rows", "test"):
        for shard in (selecting.folder / pool).iterdir():
            shard.unlink()
        kinds = pa.array(["abc"[row % 3] for row in range(400)])
        path = selecting.folder / pool / "part.parquet"
        pq.write_table(table.append_column("kind", kinds), path)
    teacher = (selecting.folder / "teacher.py").read_text("utf-8")
    shaped = "2 * features.reshape(len(features), -1)[:, :3]"
    (selecting.folder / "teacher.py").write_text(teacher.replace("2 * features[:, :3]", shaped))
    job = tiny_job(selecting.folder, text)
    with without_ray():
        run_job(job, lambda _: None, engine="local")
    folder = selecting.folder / "root" / "labels" / "teacher" / "v1" / "select.first"
    labels = pa.concat_tables(
        [each.combine_chunks() for each in distill.labels.open(folder).decoded()]
    )
    bytes_seen = [table["pixels"][row].as_py()[0] for _, row in pairs(labels)]
    firsts = [logits[0] for logits in labels["logits"].to_pylist()]
    assert len(set(bytes_seen)) > 20
    assert firsts == [2 * byte % 256 for byte in bytes_seen]  # the teacher doubles bytes


def test_clusters_within_clusters_are_taken_for_one_level(selecting):
    text = selecting.job(first(METHODS["balanced"], rows=120)).path.read_text("utf-8")
    job = tiny_job(selecting.folder, text.replace("k = 12", "k = 16, levels = 2"))
    with without_ray():
        run_job(job, lambda _: None, engine="local")
        fresh = load_job(job.path, root=str(selecting.folder / "root"))
        plan = Plan(fresh)
        plan.workspace._rounds["first"] = []  # as before the choice
        inputs = _inputs(plan.workspace, "first", plan.workspace.pool("rows"))
    parents = _parents(_gather(inputs, np.empty(0, np.int64)))
    assert parents is not None
    assert len(parents) == 16
    cluster = [int(each.rpartition(" ")[2]) for each in addresses(job)["reason"].to_pylist()]
    of_parent = np.bincount(parents[cluster])
    assert of_parent[of_parent > 0].min() >= 120 // (parents.max() + 1) - 1


def test_an_export_forgets_how_the_files_of_a_selections_pool_are_written(tmp_path):
    (tmp_path / "rows").mkdir()
    lines = [f"{n};{n / 2};{'abc'[n % 3]}" for n in range(40)]
    (tmp_path / "rows" / "part.csv").write_text("\n".join(["x;y;kind", *lines]))
    job = tiny_job(
        tmp_path,
        """
        root = "root"
        [pools.rows]
        path = "rows"
        csv = { delimiter = ";" }
        features = { kind = "vector", columns = ["x", "y"] }
        target = "kind"
        classes = ["a", "b", "c"]
        [select.first]
        of = "pools.rows"
        by = { kind = "random" }
        rows = 20
        [students.small]
        model = { kind = "linear" }
        on = ["select.first"]
        training = { epochs = 1, workers = 1 }
        [[students.small.terms]]
        learns = "pools.select.first"
        loss = { kind = "cross_entropy" }
        """,
    )
    with without_ray():
        run_job(job, lambda _: None, engine="local")
        (exported,) = export_students(job, engine="local")
    (done,) = predict_files(exported.uri, str(tmp_path / "rows"), str(tmp_path / "out"))
    assert (done.rows, done.rejected) == (40, 0)


@pytest.mark.ray
def test_ray_chooses_other_rows_than_one_process(selecting, ray):
    job = selecting.job(first(METHODS["typical"]))
    run_job(job, lambda _: None, engine=LocalEngine())
    elsewhere = load_job(job.path, root=str(selecting.folder / "other"))
    list(fit_structures(elsewhere, engine="local"))
    (selected,) = select_pool_rows(elsewhere)
    assert selected.now
    assert addresses(elsewhere).equals(addresses(job))
