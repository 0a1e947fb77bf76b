from __future__ import annotations

import numpy as np
import pytest

from distill.loader.sampler import Chunk
from distill.run import fit_structures
from distill.stages.structure import seen_rows
from distill.stages.structure.seen_rows import SeenRows


def rows_of(chunk):
    return np.full((chunk.rows, 4), chunk.start, np.float32), np.arange(chunk.rows)


CHUNKS = [Chunk(0, 0, start, 10) for start in range(0, 50, 10)]


def test_another_fit_is_given_the_rows_of_the_one_before():
    seen = SeenRows()
    first, _ = seen.get("a", CHUNKS[1], lambda: rows_of(CHUNKS[1]))
    again, _ = seen.get("a", CHUNKS[1], pytest.fail)
    assert again is first
    other, _ = seen.get("b", CHUNKS[1], lambda: rows_of(CHUNKS[2]))
    assert other[0, 0] == 20


def test_more_is_kept_than_may_be_or_the_oldest_is_dropped_in_each_pass(monkeypatch):
    monkeypatch.setattr(seen_rows, "MOST_BYTES", 500)
    seen = SeenRows()
    read = []

    def reading(chunk):
        read.append(chunk.start)
        return rows_of(chunk)

    for _ in range(3):
        for chunk in CHUNKS:
            values, _ = seen.get("a", chunk, lambda chunk=chunk: reading(chunk))
            assert values[0, 0] == chunk.start
    # two of 240 bytes fit
    assert read == [0, 10, 20, 30, 40] + 2 * [20, 30, 40]


@pytest.mark.parametrize(
    "model", ['{ kind = "pca", components = 2 }', '{ kind = "kmeans", k = 3 }']
)
def test_a_fit_changes_what_its_next_pass_sees(structure_job, monkeypatch, model):
    table = f'[structure.more]\n    of = "pools.rows"\n    model = {model}'
    job, values = structure_job(table)
    kept = []
    get = SeenRows.get

    def recorded(this, fit, chunk, read):
        rows, row = get(this, fit, chunk, read)
        kept.append((rows, row))
        return rows, row

    monkeypatch.setattr(SeenRows, "get", recorded)
    fit_structures(job, "more", engine="local")
    assert kept
    for rows, row in kept:
        np.testing.assert_array_equal(rows, values[row])
