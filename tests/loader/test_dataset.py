from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import ContractError
from distill.labelers.network import NetworkLabeler
from distill.labels.encoding import decode
from distill.loader.dataset import Dataset, LabelColumn, TargetColumn
from distill.loader.sampler import Chunk
from distill.models.network import as_tensor
from distill.models.networks.ngram_bag import NgramBag
from distill.pools.features import as_matrix
from distill.pools.ngrams import ngram_places
from distill.spec.outputs import Outputs
from distill.spec.pools import ImageFeatures, TextFeatures, VectorFeatures
from tests.loader.conftest import FEATURES, KIND, SHARDS
from tests.making import (
    a_contract,
    a_topk_contract,
    keep_network,
    list_pool,
    some_committed,
    write_label_set,
)
from tests.tiny import write_pool

FIRSTS = [[0, 50, 57], [121]]


def plain(laid, first, rows):
    """What rows of the whole dataset say, without chunks or fragments."""
    taken = slice(first, first + rows)
    table, labelled = laid.table.slice(first, rows), laid.labelled[taken]
    z = laid.outputs[taken].astype(np.float64)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return {
        "features": np.array(table["pixels"].to_pylist(), np.float32),
        "row": np.arange(first, first + rows),
        "dense.outputs": np.where(labelled[:, None], laid.outputs[taken], 0),
        "dense.weight": labelled.astype(np.float32),
        "topk.weight": labelled.astype(np.float32),
        "topk.index": np.argsort(-z, axis=1)[:, :2],
        "topk.log_probs": -np.sort(-log_p, axis=1)[:, :2],
        "truth.target": np.array([KIND.classes.index(kind) for kind in table["kind"].to_pylist()]),
        "truth.weight": np.ones(rows, np.float32),
    }


@settings(max_examples=40)
@given(st.data())
def test_a_chunk_across_fragment_borders_is_joined_to_other_rows_labels(laid, data):
    pool = data.draw(st.integers(0, 1))
    shard = data.draw(st.integers(0, len(SHARDS[pool]) - 1))
    start = data.draw(st.integers(0, SHARDS[pool][shard] - 1))
    rows = data.draw(st.integers(1, SHARDS[pool][shard] - start))
    loaded = laid.dataset.load(Chunk(pool, shard, start, rows))
    due = plain(laid, FIRSTS[pool][shard] + start, rows)
    assert loaded.keys() == due.keys()
    known = due["dense.weight"] > 0
    for name, values in due.items():
        if name in ("topk.index", "topk.log_probs"):
            np.testing.assert_allclose(loaded[name][known], values[known], atol=3e-3)
        else:
            np.testing.assert_array_equal(loaded[name], values)
    assert all(np.isfinite(values).all() for values in loaded.values())


@pytest.mark.parametrize("fragment_rows", [1, 7, 64])
def test_the_cut_of_a_label_set_changes_what_is_joined(tmp_path, laid, fragment_rows):
    inventory = laid.dataset.inventories[0]
    outputs = laid.outputs[: inventory.rows]
    labels = write_label_set(
        tmp_path,
        a_contract(),
        inventory,
        fragment_rows=fragment_rows,
        outputs=outputs,
        rejected=(3, 60),
    )
    other = Dataset(
        (inventory,), FEATURES, 4, {"dense": LabelColumn(a_contract(), (labels,), None)}
    )
    for chunk in (Chunk(0, 0, 5, 40), Chunk(0, 1, 0, 7), Chunk(0, 2, 60, 4)):
        mine, theirs = other.load(chunk), laid.dataset.load(chunk)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_a_text_is_seen_by_its_students_as_other_ngrams_or_beside_another_row(tmp_path):
    texts = ["some words", None, "", "words that are more", "x"]
    (tmp_path / "pool").mkdir()
    table = pa.table({"said": pa.array(texts, pa.string()), "kind": ["a", "b", "c", "a", "b"]})
    pq.write_table(table, tmp_path / "pool" / "part.parquet")
    features, bag = TextFeatures(kind="text", column="said"), NgramBag(kind="ngram_bag", most=6)
    columns = {"truth": TargetColumn("kind", KIND)}
    dataset = Dataset((list_pool(tmp_path / "root", tmp_path / "pool"),), features, 1, columns, bag)
    rows = dataset.load(Chunk(0, 0, 1, 4))
    due = np.empty(4, object)
    due[:] = ["", "", "words that are more", "x"]
    np.testing.assert_array_equal(rows["features"], ngram_places(due, bag))
    assert rows["truth.weight"].tolist() == [0, 1, 1, 1]
    assert (
        replace(dataset, ngrams=None).load(Chunk(0, 0, 1, 4))["features"].tolist() == due.tolist()
    )


def test_a_row_that_cannot_be_used_has_a_weight(tmp_path):
    write_pool(tmp_path / "pool", [20])
    file = tmp_path / "pool" / "part-00000.parquet"
    table = pq.read_table(file)
    pixels = table["pixels"].to_pylist()
    pixels[2], pixels[5] = None, [1.0, float("nan"), 0.0, 0.0]
    kinds = table["kind"].to_pylist()
    kinds[7], kinds[8] = "other", None
    table = table.set_column(0, "pixels", pa.array(pixels, pa.list_(pa.float32(), 4)))
    pq.write_table(table.set_column(1, "kind", pa.array(kinds)), file)
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    outputs = np.ones((20, 3), np.float32)
    labels = write_label_set(
        tmp_path / "labels",
        a_contract(),
        inventory,
        fragment_rows=6,
        outputs=outputs,
        rejected=[11],
    )
    columns = {
        "labels": LabelColumn(a_contract(), (labels,), None),
        "truth": TargetColumn("kind", KIND),
    }
    rows = Dataset((inventory,), FEATURES, 4, columns).load(Chunk(0, 0, 0, 20))
    assert np.flatnonzero(rows["labels.weight"] == 0).tolist() == [2, 5, 11]
    assert np.flatnonzero(rows["truth.weight"] == 0).tolist() == [2, 5, 7, 8]
    assert set(np.concatenate([rows["labels.weight"], rows["truth.weight"]])) == {0.0, 1.0}
    assert all(np.isfinite(values).all() for values in rows.values())
    assert len(rows["features"]) == 20


def test_topk_labels_are_decoded_at_another_temperature(tmp_path, laid):
    contract, inventory = a_topk_contract(3, 2, (1.0, 4.0)), laid.dataset.inventories[1]
    labels = write_label_set(
        tmp_path, contract, inventory, fragment_rows=10, outputs=laid.outputs[121:]
    )
    first = Chunk(0, 0, 0, labels.entries[0].rows)
    rows = Dataset((inventory,), FEATURES, 4, {"t": LabelColumn(contract, (labels,), 4.0)}).load(
        first
    )
    due = decode(labels.read(labels.entries[0]), contract, 4.0)
    np.testing.assert_array_equal(rows["t.log_probs"], due.log_probs)
    with pytest.raises(ContractError):
        Dataset((inventory,), FEATURES, 4, {"t": LabelColumn(contract, (labels,), 2.0)}).load(first)


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_rows_without_labels_are_learned_from(laid, kept):
    whole = laid.sets[0]
    some = some_committed(whole, whole.entries[:kept])
    dataset = replace(
        laid.dataset, columns={"t": LabelColumn(a_contract(), (some, laid.sets[1]), None)}
    )
    with pytest.raises(
        ContractError, match=r"rows 0–49 of shard 0 are not all labelled\. Run `distill label`"
    ):
        dataset.load(Chunk(0, 0, 0, 50))


def test_the_numbers_of_rows_overlap_between_pools(laid):
    loaded = [
        laid.dataset.load(Chunk(p, s, 0, rows))["row"]
        for p, shards in enumerate(SHARDS)
        for s, rows in enumerate(shards)
    ]
    np.testing.assert_array_equal(np.concatenate(loaded), np.arange(laid.dataset.rows))
    assert laid.dataset.rows == 154


def test_chunks_laid_end_to_end_change_their_order(laid):
    parts = [laid.dataset.load(Chunk(0, 0, start, 25)) for start in (0, 25)]
    whole = laid.dataset.load(Chunk(0, 0, 0, 50))
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


def test_an_image_is_folded_otherwise_in_training_than_in_labelling(tmp_path):
    """A cnn of [C, H, W] is given the same numbers by the loader as a labeler of its own makes of the
    bytes."""
    images = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 3), np.uint8)
    raw = pa.array([image.tobytes() for image in images[:5]] + [None], pa.binary(18))
    (tmp_path / "pool").mkdir()
    pq.write_table(pa.table({"image": raw}), tmp_path / "pool" / "a.parquet")
    spec = ImageFeatures(kind="image", column="image", shape=(2, 3, 3))
    dataset = Dataset((list_pool(tmp_path / "root", tmp_path / "pool"),), spec, 18)
    loaded = dataset.load(Chunk(0, 0, 0, 6))["features"]
    assert loaded.dtype == np.uint8
    images[5] = 0
    np.testing.assert_array_equal(dataset.seen(Chunk(0, 0, 0, 6)), images)
    np.testing.assert_array_equal(loaded, images)
    numbers = as_tensor(loaded, "cpu").numpy()
    np.testing.assert_array_equal(numbers, as_matrix(images))
    np.testing.assert_array_equal(
        numbers.reshape(6, 3, 2, 3), images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    )
    network = keep_network(tmp_path / "net", {"main": KIND}, 18)[1]
    labeler = NetworkLabeler(network, head="main", device="cpu")
    np.testing.assert_array_equal(labeler.label(loaded), labeler.label(numbers))


def test_a_line_that_cannot_be_read_has_a_weight(tmp_path):
    (tmp_path / "pool").mkdir()
    lines = ['{"x": [1, 2], "kind": "a"}', "{broken", '{"x": [3, 4.5], "kind": "c"}']
    (tmp_path / "pool" / "a.jsonl").write_text("\n".join(lines))
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    dataset = Dataset(
        (inventory,),
        VectorFeatures(kind="vector", columns=("x",)),
        2,
        {"truth": TargetColumn("kind", KIND)},
    )
    rows = dataset.load(Chunk(0, 0, 0, 3))
    assert rows["features"].tolist() == [[1, 2], [0, 0], [3, 4.5]]
    assert rows["truth.weight"].tolist() == [1, 0, 1]
    assert rows["truth.target"].tolist() == [0, 0, 2]


def test_a_chunk_of_wide_rows_takes_gigabytes(laid):
    wide = replace(laid.dataset, width=3 * 512 * 512)
    assert wide.fitting(50_000) == 10
    assert {chunk.rows for chunk in wide.chunks(50_000)} <= set(range(1, 11))
    images = replace(
        wide, features=ImageFeatures(kind="image", column="image", shape=(512, 512, 3))
    )
    assert images.fitting(50_000) == 42
    assert laid.dataset.fitting(50_000) == 50_000


@pytest.mark.parametrize("lanes", [1, 8, 64])
def test_the_chunks_of_many_lanes_take_more_than_memory_is_meant_to_hold(laid, lanes):
    wide = replace(laid.dataset, width=3 * 256 * 256)
    assert lanes * 12 * wide.fitting(50_000, lanes) * wide.row_bytes <= 2 << 30


def test_a_row_is_thought_smaller_or_larger_than_it_is(laid):
    """What is planned by `row_bytes` against what rows take."""
    rows = laid.dataset.load(Chunk(0, 0, 0, 50))
    assert laid.dataset.row_bytes == pytest.approx(
        sum(values.nbytes for values in rows.values()) / 50, rel=0.1
    )
    for columns in laid.dataset.columns:
        one = replace(laid.dataset, columns={columns: laid.dataset.columns[columns]})
        due = sum(values.nbytes for values in one.load(Chunk(0, 0, 0, 50)).values()) / 50
        assert one.row_bytes == pytest.approx(due, rel=0.2)
    value = replace(laid.dataset, columns={"0": TargetColumn("pixels", Outputs("value"), width=4)})
    due = sum(values.nbytes for values in value.load(Chunk(0, 0, 0, 50)).values()) / 50
    assert value.row_bytes == pytest.approx(due, rel=0.1)
    texts = replace(laid.dataset, ngrams=NgramBag(kind="ngram_bag", most=100))
    assert texts.row_bytes - laid.dataset.row_bytes == 4 * (100 - 4)


def test_rows_that_many_use_can_be_written_to(laid):
    for values in laid.dataset.load(Chunk(0, 0, 0, 50)).values():
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


def test_a_file_without_an_index_is_parsed_for_each_chunk_or_gives_other_rows(tmp_path):
    import pyarrow as pa
    from pyarrow import csv

    from distill.spec.pools import VectorFeatures
    from distill.storage.request_counts import requests
    from tests.making import list_pool

    x = np.arange(200, dtype=np.float32)
    (tmp_path / "pool").mkdir()
    csv.write_csv(pa.table({"x": x}), tmp_path / "pool" / "rows.csv")
    inventory = list_pool(tmp_path / "root", tmp_path / "pool")
    dataset = Dataset((inventory,), VectorFeatures(kind="vector", columns=("x",)), 1, {})
    size, before = (tmp_path / "pool" / "rows.csv").stat().st_size, requests()
    chunks = [Chunk(0, 0, start, 10) for start in range(0, 200, 10)]
    read = np.concatenate([dataset.load(chunk)["features"][:, 0] for chunk in chunks])
    np.testing.assert_array_equal(read, x)
    assert (requests() - before).bytes_read == size
