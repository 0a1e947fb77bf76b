"""Files whose columns differ in type: brought to one type that loses nothing, or refused by name."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.column_types import require_pinned
from distill.pools.formats.base import check_keys
from distill.pools.formats.options import column_types
from distill.pools.open_pool import OpenPool
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.spec.pools import Pool, TextFeatures, VectorFeatures
from distill.storage.open import open_storage
from tests.pools.formats.writing import table_file

VECTOR = VectorFeatures(kind="vector", columns=("x",))
SPEC = Pool(path="pool", features=VECTOR, keys=("id",))


def listed(tmp_path, *tables, spec=SPEC, ending="parquet"):
    """The inventory of a pool of these files, which grows where it is called again."""
    files = open_storage(str(tmp_path / "pool"))
    start = len(files.list_objects())
    for number, table in enumerate(tables, start):
        files.put(f"{number}.{ending}", table_file(table, ending))
    return take_inventory(open_storage(str(tmp_path / "root")), "mine", files, spec=spec)


def table(ids, x=1.0):
    return pa.table({"id": ids, "x": [x] * len(ids)})


def keys_of(inventory, columns=("id",)):
    parts = [
        read_chunk(inventory, shard.number, range(shard.rows), columns)
        for shard in inventory.shards
    ]
    assert len({part.table.schema for part in parts}) == 1
    return [key for part in parts for key in part.table[columns[0]].to_pylist()]


INTEGERS = [pa.int8(), pa.int32(), pa.int64(), pa.uint8(), pa.uint32(), pa.uint64()]
TEXTS = [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([*INTEGERS, pa.null()]), min_size=1, max_size=4),
    st.sampled_from(["parquet", "arrow"]),
)
def test_a_key_of_several_types_loses_digits_or_cannot_be_put_together(
    tmp_path_factory, kinds, ending
):
    tables, due = [], []
    for kind in kinds:
        ids = [None, None]
        if kind != pa.null():
            limits = np.iinfo(kind.to_pandas_dtype())
            ids = [limits.min, limits.max]
        tables.append(table(pa.array(ids, kind)))
        due += ids
    found = {kind for kind in kinds if kind != pa.null()}
    signed = any(pa.types.is_signed_integer(kind) for kind in found)
    if pa.uint64() in found and signed:
        with pytest.raises(
            PoolError, match=r"pools\.mine\.keys: 'id' is of several types: .*0\.parquet"
        ):
            listed(tmp_path_factory.mktemp("mixed"), *tables)
        return
    inventory = listed(tmp_path_factory.mktemp("ints"), *tables, ending=ending)
    assert keys_of(inventory) == due
    assert bool(column_types(inventory.format)) == (len(set(kinds)) > 1)


@pytest.mark.parametrize("kinds", [TEXTS, TEXTS[::-1], [pa.null(), *TEXTS], [*TEXTS, pa.null()]])
def test_text_of_several_types_cannot_be_put_together(tmp_path, kinds):
    tables = [table(pa.array([None if kind == pa.null() else "a"], kind)) for kind in kinds]
    inventory = listed(tmp_path, *tables)
    assert column_types(inventory.format) == {"id": "string"}
    assert keys_of(inventory) == [None if kind == pa.null() else "a" for kind in kinds]
    pool = OpenPool("mine", SPEC, inventory)
    check_keys(pool.schema, ["id"], "here")


def test_types_that_do_not_differ_are_pinned(tmp_path):
    assert listed(tmp_path, table([1]), table([2])).format == "parquet"
    other = pa.table({"id": [3], "x": pa.array([2], pa.float32()), "more": ["a"]})
    assert listed(tmp_path / "more", table([1]), other).format == "parquet"  # no key could be meant


@pytest.mark.parametrize("other", [["p"], [1.5], [True], [b"x"], [[1]]])
def test_a_key_that_no_type_holds_is_listed(tmp_path, other):
    both = [table([1]), table(other)]
    for name, tables in {"one": both, "other": both[::-1]}.items():
        with pytest.raises(
            PoolError, match=r"'id' is of several types: .* in .*0\.parquet, .*1\.parquet"
        ):
            listed(tmp_path / name, *tables)


def test_a_column_that_becomes_a_key_later_is_mixed_without_a_word(tmp_path):
    inventory = listed(tmp_path, table([1]), table(["p"]), spec=Pool(path="pool", features=VECTOR))
    assert column_types(inventory.format) == {"id": "mixed"}
    with pytest.raises(PoolError, match="here: the key 'id' is of several types"):
        require_pinned(column_types(inventory.format), ["id"], "here")
    require_pinned(column_types(inventory.format), ["x"], "here")


@pytest.mark.parametrize("grown", [pa.nulls(1), pa.array([7], pa.int8()), pa.array([2**40])])
def test_a_pool_that_grows_by_narrower_keys_is_refused_or_mixed(tmp_path, grown):
    before = listed(tmp_path, table(pa.array([5], pa.int64())))
    after = listed(tmp_path, table(grown))
    assert after.digest == before.digest
    assert keys_of(after) == [5, *grown.to_pylist()]
    again = listed(tmp_path, table(grown))
    assert keys_of(again) == [5, *grown.to_pylist() * 2]


@pytest.mark.parametrize("grown", [pa.array([2**40]), pa.array(["p"])])
def test_a_pool_that_grows_by_other_keys_changes_those_that_labels_have(tmp_path, grown):
    before = listed(tmp_path, table(pa.array([5], pa.int32())))
    with pytest.raises(PoolError, match=r"pools\.mine\.keys: 'id' is of "):
        listed(tmp_path, table(grown))
    (tmp_path / "pool" / "1.parquet").unlink()
    assert listed(tmp_path) == before


@pytest.mark.parametrize(
    ("spec", "wrong", "said"),
    [
        (SPEC, pa.table({"id": [1]}), r"1\.parquet: no column 'x'"),
        (SPEC, pa.table({"x": [1.0]}), r"1\.parquet: no column 'id'"),
        (
            SPEC,
            pa.table({"id": [1], "x": pa.array([0], pa.timestamp("s"))}),
            r"1\.parquet: column 'x': .*no numbers",
        ),
        (
            SPEC,
            pa.table({"id": [1], "x": pa.array([[0]], pa.list_(pa.date32()))}),
            r"1\.parquet: column 'x': .*no numbers",
        ),
        (
            Pool(path="pool", features=TextFeatures(kind="text", column="x")),
            pa.table({"x": [b"bytes"]}),
            r"1\.parquet: column 'x': .*holds no text",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_found_while_labelling(tmp_path, spec, wrong, said):
    right = pa.table({"id": [1], "x": ["1.5"]})
    with pytest.raises(PoolError, match=rf"pools\.mine: .*{said}"):
        listed(tmp_path, right, wrong, spec=spec)


def test_a_first_file_of_nulls_alone_tells_the_width(tmp_path):
    lists = pa.array([[1.0, 2.0]], pa.list_(pa.float32()))
    nulls = pa.table({"id": [1], "x": pa.nulls(1)})
    pool = OpenPool("mine", SPEC, listed(tmp_path, nulls, pa.table({"id": [2], "x": lists})))
    assert pool.width == 2
    assert pool.first_shard.key == "0.parquet"
    assert pool.first_seen().tolist() == [[1, 2]]
