"""A job whose teacher learns its few rows by heart, written for real into a test's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WIDTH = 24

JOB = """
    root = "root"
    seed = {seed}
    [pools.labelled]
    path = "labelled"
    features = {{ kind = "vector", columns = ["x"] }}
    target = "kind"
    classes = ["no", "yes"]
    private = ["email"]
    [pools.unlabelled]
    path = "unlabelled"
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["no", "yes"]
    [fit.large]
    model = {{ kind = "mlp", hidden = [{hidden}] }}
    on = "labelled"
    training = {{ epochs = {epochs}, batch_rows = 64, learning_rate = 0.01 }}
    [labels.large]
    labeler = {{ kind = "fitted", fit = "large" }}
    over = ["unlabelled", "test", "labelled"{also}]
    [students.small]
    model = {{ kind = "mlp", hidden = [32] }}
    on = ["labelled"]
    training = {{ epochs = {epochs}, batch_rows = 64, learning_rate = 0.01 }}
    [[students.small.terms]]
    learns = "labels.large"
    loss = {{ kind = "kl", temperature = 1 }}
    [evaluate]
    on = "test"
    [audit]
    members = "labelled"
    held_out = {held_out}
    shadows = {shadows}
    {audit}
"""


def write_rows(folder: Path, rows: int, seed: int, *, noise: float = 0.3) -> None:
    """Rows whose `kind` follows from `x`, but for a share of noise that can only be learned by
    heart."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, WIDTH)).astype(np.float32)
    kind = x[:, 0] + x[:, 1] > 0
    kind = np.where(draw.random(rows) < noise, draw.random(rows) < 0.5, kind)
    columns = {
        "x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), WIDTH),
        "kind": pa.array(np.where(kind, "yes", "no")),
        "email": pa.array([f"{seed}-{row}@example.org" for row in range(rows)]),
    }
    pq.write_table(pa.table(columns), folder / "part-00000.parquet")


def leaking_job(folder: Path, **changes: object) -> str:
    """Write the pools; return the text of the job."""
    write_rows(folder / "labelled", int(str(changes.get("rows", 600))), 1)
    write_rows(folder / "unlabelled", 300, 2)
    write_rows(folder / "test", 300, 3)
    usual = {
        "seed": 7,
        "hidden": 64,
        "epochs": 40,
        "held_out": "0.5",
        "shadows": 8,
        "audit": "",
        "also": ', "labelled.held_out"',
    }
    return JOB.format(**{**usual, **changes})
