"""Labels as features: read by row range; a row that the label set rejected is none to learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.loader.dataset import Dataset
from distill.loader.label_values import LabelValues
from distill.loader.sampler import Chunk
from distill.stages.label.row_reader import RowRequest, read_chunks
from tests.loader.conftest import SHARDS
from tests.making import a_contract

FIRSTS = [[0, 50, 57], [121]]


def values_of(laid):
    return LabelValues(a_contract(), laid.sets)


@settings(max_examples=40)
@given(st.data())
def test_values_across_fragment_borders_are_other_rows(laid, data):
    pool = data.draw(st.integers(0, 1))
    shard = data.draw(st.integers(0, len(SHARDS[pool]) - 1))
    start = data.draw(st.integers(0, SHARDS[pool][shard] - 1))
    rows = data.draw(st.integers(1, SHARDS[pool][shard] - start))
    chunk = Chunk(pool, shard, start, rows)
    first = FIRSTS[pool][shard] + start
    labelled = laid.labelled[first : first + rows]
    due = np.where(labelled[:, None], laid.outputs[first : first + rows], 0)
    read = values_of(laid).read(chunk)
    np.testing.assert_array_equal(read.values, due)
    assert list(read.rejected) == np.flatnonzero(~labelled).tolist()
    if pool == 0:
        part = values_of(laid).within(shard, range(start, start + rows))
        assert len(part.sets[0].entries) <= rows // 13 + 2
        np.testing.assert_array_equal(part.read(chunk).values, due)


def test_a_dataset_of_values_teaches_on_rejected_rows(laid):
    """Their targets are there all the same."""
    dataset = replace(laid.dataset, features=values_of(laid), width=3)
    for chunk in dataset.chunks(20):
        loaded = dataset.load(chunk)
        known = laid.labelled[loaded["row"]]
        np.testing.assert_array_equal(loaded["truth.weight"], known)
        np.testing.assert_array_equal(loaded["features"][known], laid.outputs[loaded["row"]][known])
        values, rows = dataset.usable(chunk)
        np.testing.assert_array_equal(rows, loaded["row"][known])
        np.testing.assert_array_equal(values, laid.outputs[rows])


def test_values_that_are_encrypted_are_kept_plainly_on_a_workers_disk(laid, monkeypatch):
    monkeypatch.setattr(Dataset, "remote", True)
    values = values_of(laid)
    dataset = Dataset(laid.dataset.inventories, values, 3)
    assert dataset.is_kept_near
    sets = tuple(
        replace(each, stored=replace(each.stored, contract=replace(each.contract, encrypted=True)))
        for each in values.sets
    )
    assert not replace(dataset, features=replace(values, sets=sets)).is_kept_near


def test_values_alone_open_the_pool(laid, tmp_path):
    inventories = [replace(each, uri=str(tmp_path / "gone")) for each in laid.dataset.inventories]
    dataset = Dataset(tuple(inventories), values_of(laid), 3)
    seen = [dataset.seen(chunk) for chunk in dataset.chunks(50)]
    np.testing.assert_array_equal(
        np.concatenate(seen), np.where(laid.labelled[:, None], laid.outputs, 0)
    )


def test_keys_and_target_stand_beside_other_rows_values(laid):
    inventory = laid.dataset.inventories[0]
    request = RowRequest(
        inventory.uri,
        inventory.shard(2).key,
        inventory.shard(2).id,
        5,
        40,
        features=values_of(laid),
        width=3,
        batch_rows=8,
        format=inventory.format,
        keys=("email",),
        target="kind",
        shard=2,
    )
    (chunk,) = read_chunks(request)
    rows = slice(62, 102)
    labelled = laid.labelled[rows]
    due = np.where(labelled[:, None], laid.outputs[rows], 0)
    np.testing.assert_array_equal(chunk.rows.values, due)
    assert chunk.keys["email"].to_pylist() == laid.table["email"][rows].to_pylist()
    assert chunk.target.to_pylist() == laid.table["kind"][rows].to_pylist()
