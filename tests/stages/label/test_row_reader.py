"""Rows as a labeler sees them, and the keys that are copied beside their labels."""

from __future__ import annotations

import json

import pytest

from distill.core.errors import PoolError
from distill.spec.pools import VectorFeatures
from distill.stages.label.row_reader import RowRequest, read_chunks
from distill.storage.open import open_storage


def keys_of(folder, keys):
    """The keys of a shard of JSON lines, as they are copied."""
    files = open_storage(str(folder))
    lines = [json.dumps({"x": 0.5, "id": key}) for key in keys]
    files.put("c.jsonl", "\n".join(lines).encode())
    features = VectorFeatures(kind="vector", columns=("x",))
    request = RowRequest(
        files.uri, "c.jsonl", "", 0, len(keys), features, 1, 4, "jsonl", keys=("id",)
    )
    chunks = list(read_chunks(request))
    return [key for chunk in chunks for key in chunk.keys["id"].to_pylist()]


@pytest.mark.parametrize("keys", [[1.2345678901234568e17, 2.5], [1, 2.5], [True, False]])
def test_a_key_of_a_later_shard_is_another_text_than_the_file_has(tmp_path, keys):
    with pytest.raises(PoolError, match=r"c\.jsonl: the key 'id' is of type (double|bool)"):
        keys_of(tmp_path, keys)


@pytest.mark.parametrize("keys", [[2**60 + 1, 7], ["007", None], [None, None]])
def test_a_key_that_keeps_its_digits_is_refused(tmp_path, keys):
    assert keys_of(tmp_path, keys) == [None if key is None else str(key) for key in keys]


@pytest.mark.parametrize(
    ("rows", "due"),
    [(50_000, 25_600), (32_768, 32_768), (100, 1_024), (98_304, 32_768), (0, 1_024)],
)
def test_a_short_chunk_follows_a_long_one_whose_memory_does_not_serve_it(rows, due):
    features = VectorFeatures(kind="vector", columns=("x",))
    request = RowRequest("", "a.parquet", "", 0, rows, features, 64, 1_024, "parquet")
    assert request.chunk_rows == due
