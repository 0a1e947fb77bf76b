from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import StorageError
from distill.core.schema import columns_sha256
from distill.labels.columns import label_schema
from distill.labels.files import data_bytes, read_data, with_keys
from tests.making import a_contract, a_topk_contract, a_value_contract, some_labels

FORMATS = ("arrow", "parquet")


def in_format(contract, form, **changes):
    return dataclasses.replace(contract, format=form, **changes)


def keyed(rows, form, rejected=()):
    """Labels beside a column of text with nulls and one of integers, and their contract."""
    contract = in_format(a_topk_contract(300, 4), form, keys=("name", "id"))
    names = [None if row % 5 == 2 else "ä" * (row % 4) for row in range(rows)]
    keys = pa.table(
        {"id": pa.array(range(rows), pa.uint32()), "name": pa.array(names, pa.large_string())}
    )
    return with_keys(some_labels(rows, contract, rejected=rejected), keys, contract), contract


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("rejected", [(), (0, 7), range(20)])
@pytest.mark.parametrize(
    "contract",
    [
        a_contract(),
        a_topk_contract(300, 4),
        a_topk_contract(3, 2, values="float16"),
        a_value_contract(5),
    ],
)
def test_labels_read_back_otherwise(contract, form, rejected):
    contract = in_format(contract, form)
    labels = some_labels(20, contract, rejected=rejected)
    read = read_data(data_bytes(labels, contract), contract)
    assert read.equals(labels)
    assert columns_sha256(read) == columns_sha256(labels)


@pytest.mark.parametrize("form", FORMATS)
def test_keys_are_lost_or_shifted(form):
    labels, contract = keyed(20, form, rejected=[3])
    read = read_data(data_bytes(labels, contract), contract)
    assert read.equals(labels)
    assert read.schema == label_schema(contract, {"name": pa.string(), "id": pa.uint32()})
    assert read["id"].to_pylist() == list(range(20))  # a rejected row keeps its key
    assert columns_sha256(read) == columns_sha256(labels)


@pytest.mark.parametrize(
    "kind", [pa.float32(), pa.binary(), pa.list_(pa.int8()), pa.bool_(), pa.timestamp("s")]
)
def test_a_key_that_is_no_string_or_integer_is_stored(kind):
    contract = dataclasses.replace(a_contract(), keys=("id",))
    with pytest.raises(
        ValueError, match=r"keys: column 'id' holds .*; a key is a string or an integer"
    ):
        with_keys(some_labels(2, contract), pa.table({"id": pa.nulls(2, kind)}), contract)


def test_the_digest_of_the_columns_depends_on_the_format_of_the_file():
    digests = set()
    for form in FORMATS:
        labels, contract = keyed(40, form, rejected=[0, 39])
        digests |= {
            columns_sha256(labels),
            columns_sha256(read_data(data_bytes(labels, contract), contract)),
        }
    assert len(digests) == 1


@given(st.sets(st.integers(1, 19), max_size=4), st.sets(st.integers(0, 19), max_size=4))
def test_the_digest_of_keys_depends_on_how_they_are_chunked(cuts, rejected):
    labels, _ = keyed(20, "arrow", rejected)
    ends = [0, *sorted(cuts), 20]
    parts = pa.concat_tables(
        [labels.slice(start, stop - start) for start, stop in itertools.pairwise(ends)]
    )
    assert columns_sha256(parts) == columns_sha256(labels)
    assert columns_sha256(pa.concat_tables([labels, labels]).slice(20)) == columns_sha256(labels)


def test_other_keys_have_the_same_digest():
    texts = (["ab", "c"], ["a", "bc"], ["ab", None], ["ab", ""], ["", "abc"])
    tables = [pa.table({"k": pa.array(text, pa.string())}) for text in texts]
    tables += [
        pa.table({"k": pa.array(numbers, pa.int64())})
        for numbers in ([1, 2], [2, 1], [1, None], [None, 1])
    ]
    assert len({columns_sha256(table) for table in tables}) == len(tables)


def test_what_lies_under_a_null_changes_the_digest():
    """Parquet keeps nothing there; a builder may leave anything."""
    kind, validity = pa.binary(2), pa.py_buffer(b"\x05")
    tables = [
        pa.table(
            [pa.Array.from_buffers(kind, 3, [validity, pa.py_buffer(content)])], names=["logits"]
        )
        for content in (b"aabbcc", b"aaxxcc")
    ]
    assert columns_sha256(tables[0]) == columns_sha256(tables[1])


@pytest.mark.parametrize("form", FORMATS)
def test_columns_of_another_contract_are_decoded(form):
    mine = in_format(a_topk_contract(300, 4), form)
    others = [
        in_format(a_topk_contract(300, 5), form),
        in_format(a_topk_contract(300, 4, values="float16"), form),
        in_format(a_topk_contract(200, 4), form),
        in_format(a_contract(), form),
    ]
    for other in others:
        with pytest.raises(
            StorageError, match=r"s3://b/x has the columns[\s\S]*are due by its contract"
        ):
            read_data(data_bytes(some_labels(5, other), other), mine, "s3://b/x")
    labels, contract = keyed(5, form)
    missing = data_bytes(labels.drop_columns(["id"]), contract)
    real = data_bytes(labels.set_column(1, "id", pa.array([0.5] * 5)), contract)
    turned = data_bytes(labels.select(["id", "name", *labels.column_names[2:]]), contract)
    for content in (missing, real, turned):
        with pytest.raises(StorageError, match="are due by its contract"):
            read_data(content, contract)


class Opened(pa.ExtensionType):
    """An extension type whose deserialiser is noticed."""

    ran = 0

    def __init__(self):
        super().__init__(pa.binary(12), "tests.opened")

    def __arrow_ext_serialize__(self):
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        cls.ran += 1
        return cls()


@pytest.mark.parametrize("form", FORMATS)
def test_opening_a_file_runs_the_code_of_an_extension_type(form):
    contract = in_format(a_contract(), form)
    labels = some_labels(5, contract)
    foreign = pa.table(
        {"logits": pa.ExtensionArray.from_storage(Opened(), labels["logits"].combine_chunks())}
    )
    sink = pa.BufferOutputStream()
    pa.register_extension_type(Opened())
    try:
        if form == "parquet":
            pq.write_table(foreign, sink)
        else:
            with pa.ipc.new_file(sink, foreign.schema) as writer:
                writer.write_table(foreign)
        Opened.ran = 0
        with pytest.raises(StorageError, match="Arrow types beyond the plain ones"):
            read_data(bytes(sink.getvalue()), contract)
        assert Opened.ran == 0
    finally:
        pa.unregister_extension_type("tests.opened")


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_a_file_that_is_cut_or_no_file_at_all_ends_in_a_bare_error(form, data):
    contract = in_format(a_topk_contract(300, 4), form)
    content = data_bytes(some_labels(50, contract), contract)
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    for broken in (cut, data.draw(st.binary(max_size=40))):
        with pytest.raises(
            StorageError, match=f"is damaged, or no {form} file|types beyond the plain ones"
        ):
            read_data(broken, contract)


def test_a_flipped_bit_in_a_parquet_page_goes_unnoticed():
    """Not all bytes of a file lie in pages; the fast digest covers the rest, and is checked before."""
    contract = in_format(a_topk_contract(300, 16), "parquet")
    labels = some_labels(500, contract)
    content = data_bytes(labels, contract)
    pages = range(200, len(content) // 2)
    for place in np.random.default_rng(0).choice(pages, 20):
        flipped = bytearray(content)
        flipped[place] ^= 1
        with pytest.raises(StorageError, match="is damaged"):
            read_data(bytes(flipped), contract)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_labels_give_other_bytes(form):
    contract = in_format(a_topk_contract(300, 4), form)
    labels = some_labels(50, contract)
    chunked = pa.concat_tables([labels.slice(0, 7), labels.slice(7)])
    assert data_bytes(chunked, contract) == data_bytes(labels, contract)
