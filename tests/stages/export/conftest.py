"""A job whose students were taught, in this process, by one rank: of numbers, or of texts."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.plan.load import load_job
from tests.making import label_by_worker, train_here
from tests.tiny import tiny_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = FEATURES
    private = ["email"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [labels.many]
    labeler = { kind = "custom", file = "mine.py", name = "Many" }
    over = ["rows"]
    [labels.size]
    labeler = { kind = "custom", file = "mine.py", name = "Size" }
    over = ["rows"]
    [students.small]
    model = MODEL
    heads = { size = { model = OWN } }
    training = { epochs = 2, batch_rows = 32 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    [[students.small.terms]]
    learns = "labels.many"
    head = "many"
    loss = { kind = "binary_cross_entropy" }
    [[students.small.terms]]
    learns = "labels.size"
    head = "size"
    loss = { kind = "mse" }
"""
MINE = """
import numpy as np

def numbers(features):
    if features.dtype != object: return features
    return np.array([[text.count(letter) for letter in "aeio"] for text in features], np.float32)

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")
    def label(self, features): return 2 * numbers(features)[:, :3]

class Many:
    revision = "1"
    classes = ("odd", "large")
    exclusive = False
    def label(self, features): return 3 * numbers(features)[:, :2]

class Size:
    revision = "1"
    kind = "value"
    def label(self, features): return numbers(features).sum(axis=1)
"""


VECTOR = '{ kind = "vector", columns = ["pixels"], scale = 0.5 }'
TEXT = '{ kind = "text", column = "text" }'
BAG = '{ kind = "ngram_bag", buckets = 50, hidden = 5, most = 7, dropout = 0.1 }'
MODELS = {
    "linear": '{ kind = "linear" }',
    "mlp": '{ kind = "mlp", hidden = [8, 6], dropout = 0.1 }',
    "cnn": '{ kind = "cnn", shape = [1, 2, 2], channels = [3], hidden = 5 }',
    "rnn": '{ kind = "rnn", shape = [2, 2], hidden = 5, layers = 2 }',
}


def job_text(model: str) -> str:
    """The job whose student is of this model."""
    features, own = (TEXT, BAG) if model == BAG else (VECTOR, MODELS["linear"])
    return JOB.replace("FEATURES", features).replace("MODEL", model).replace("OWN", own)


def some_texts(rows: int) -> list[str]:
    """Texts of no word to nine; the first has none."""
    draw = np.random.default_rng(rows)
    return [
        " ".join(draw.choice(["tea", "oil", "ice", "sea", "ion"], row % 10)) for row in range(rows)
    ]


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    """`trained_once(text, is_text)`: a folder with a job of this text, its students trained; each
    job is trained once."""
    folders = {}

    def made(text, is_text):
        if text not in folders:
            folders[text] = tmp_path_factory.mktemp("taught")
            _train(folders[text], text, is_text)
        return folders[text]

    return made


@pytest.fixture
def taught(trained_once, tmp_path):
    """`taught(model)`: the job with `more` text, its only student trained; on texts where the model
    is `BAG`."""

    def made(model, more=""):
        text = job_text(model) + more
        shutil.copytree(trained_once(text, model == BAG), tmp_path, dirs_exist_ok=True)
        return load_job(tmp_path / "job.toml")

    return made


def _train(folder, text, is_text):
    write_pool(folder / "rows", [100, 30])
    write_pool(folder / "held", [40])
    if is_text:
        for file in (folder / "rows").iterdir():
            texts = some_texts(pq.read_metadata(file).num_rows)
            pq.write_table(pa.table({"text": texts}), file)
    (folder / "mine.py").write_text(MINE, "utf-8")
    job = tiny_job(folder, text)
    for name in job.labels:
        label_by_worker(job, name)
    train_here(job)
