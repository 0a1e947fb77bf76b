"""Tiny pools and job files, written for real into a test's folder."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.job.job import Job
from distill.plan.load import load_job

DOUBLING = """
class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        return 2 * features[:, :3]
"""
"""A labeler of `write_pool`'s rows, as a file beside the job: twice their first three numbers."""


def write_pool(
    folder: Path,
    shard_rows: Sequence[int],
    *,
    width: int = 4,
    classes: Sequence[str] = ("a", "b", "c"),
    row_group_rows: int = 64,
) -> pa.Table:
    """Shards `part-00000.parquet`, … with `pixels` (width numbers), `kind` (a class), `size` (a
    number) and `email`; returns all rows."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = []
    for number, rows in enumerate(shard_rows):
        draw = np.random.default_rng(number)
        pixels = draw.normal(size=(rows, width)).astype(np.float32)
        kinds = draw.integers(len(classes), size=rows)
        columns = {
            "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), width),
            "kind": pa.array([classes[kind] for kind in kinds], pa.string()),
            "size": pa.array(pixels.sum(axis=1)),
            "email": pa.array([f"{number}-{row}@example.org" for row in range(rows)], pa.string()),
        }
        tables.append(pa.table(columns))
        pq.write_table(
            tables[-1], folder / f"part-{number:05d}.parquet", row_group_size=row_group_rows
        )
    return pa.concat_tables(tables)


def pixels(table: pa.Table) -> np.ndarray:
    """The `pixels` of `write_pool`'s rows."""
    return table["pixels"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def blur_kinds(folder: Path, seed: int) -> None:
    """Let a pool's `kind` follow from its `pixels`, but only often: few rows are soon learned by
    heart, and a measure on others gets worse from then on."""
    draw = np.random.default_rng(seed)
    for shard in sorted(folder.iterdir()):
        table = pq.read_table(shard)
        pixels = draw.normal(size=(len(table), 4)).astype(np.float32)
        blurred = draw.random(len(table)) < 0.4
        drawn = draw.integers(3, size=len(table))
        kinds = np.where(blurred, drawn, pixels[:, :3].argmax(axis=1))
        rows = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 4)
        table = table.set_column(0, "pixels", rows)
        table = table.set_column(1, "kind", pa.array(["abc"[kind] for kind in kinds]))
        pq.write_table(table, shard, row_group_size=64)


def write_job(folder: Path, text: str, name: str = "job.toml") -> Path:
    """The job file, its text without indentation."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(textwrap.dedent(text), "utf-8")
    return file


def tiny_job(folder: Path, text: str, **options: str) -> Job:
    """`write_job`, loaded."""
    return load_job(write_job(folder, text), **options)
