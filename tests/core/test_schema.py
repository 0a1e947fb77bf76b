"""Control objects: damage is an error and never another value."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import StorageError
from distill.core.schema import (
    INVENTORY,
    VERSION,
    bytes_table,
    canonical,
    digest,
    seal,
    table_bytes,
    table_note,
    unseal,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
BODIES = st.dictionaries(st.text(max_size=6), PLAIN, max_size=4)
BODY = {
    "fragment": "000001-000002",
    "rows": 50_000,
    "loss": 1e300,
    "names": ["ä", "\u0001", None, True],
    "digest": "ab" * 32,
}
TABLE = pa.Table.from_pylist(
    [
        {
            "number": n,
            "key": f"part-{n}.parquet",
            "id": "0" * 32 if n else None,
            "bytes": 10**n,
            "rows": n * 100,
            "row_groups": [n, 100],
            "format": "parquet",
            "retires": 1 if n == 3 else None,
        }
        for n in range(5)
    ],
    INVENTORY,
)


@given(BODIES)
def test_what_is_sealed_comes_back(body):
    assert unseal(seal(body), "here") == body


@settings(max_examples=100)
@given(BODIES, st.data())
def test_a_flipped_byte_in_json_is_an_error_or_reads_equal(body, data):
    content = bytearray(seal(body))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    assert opened(lambda: unseal(bytes(content), "s3://b/commit.json")) in (None, body)


def test_every_single_flipped_bit_in_json_is_an_error_or_reads_equal():
    sealed = seal(BODY)
    for content in flipped(sealed):
        assert opened(lambda content=content: unseal(content, "s3://b/commit.json")) in (None, BODY)


def test_a_truncated_json_object_is_an_error_at_every_length():
    sealed = seal(BODY)
    for length in range(len(sealed)):
        with pytest.raises(StorageError, match="damaged"):
            unseal(sealed[:length], "s3://b/commit.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"3",
        b'{"body": {}}',
        b"\xff\xfe",
        b'{"format": 1, "digest": "", "body": 1e999}',
    ],
)
def test_what_is_no_control_object_is_told_as_damaged(content):
    with pytest.raises(StorageError, match=r"s3://b/commit\.json is damaged"):
        unseal(content, "s3://b/commit.json")


def test_another_version_is_named_and_not_called_damaged():
    sealed = json.loads(seal({"a": 1})) | {"version": 7}
    with pytest.raises(StorageError, match=f"has version 7; this distill reads {VERSION}"):
        unseal(json.dumps(sealed).encode(), "s3://b/contract.json")
    del sealed["version"]
    with pytest.raises(StorageError, match="has version 1"):
        unseal(json.dumps(sealed).encode(), "s3://b/contract.json")


def test_a_flipped_bit_in_a_note_is_another_note():
    sealed = table_bytes(TABLE, "0-24")
    assert table_note(bytes_table(sealed, INVENTORY, "s3://b/0.arrow")) == "0-24"
    with pytest.raises(StorageError, match="damaged"):
        bytes_table(sealed.replace(b"0-24", b"0-94"), INVENTORY, "s3://b/0.arrow")


def test_another_version_of_arrow_is_named_and_not_called_damaged():
    table = pa.ipc.open_file(table_bytes(TABLE)).read_all()
    old = table.replace_schema_metadata(
        {b"distill.digest": table.schema.metadata[b"distill.digest"]}
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, old.schema) as writer:
        writer.write_table(old)
    with pytest.raises(StorageError, match=f"has version '1'; this distill reads {VERSION}"):
        bytes_table(sink.getvalue().to_pybytes(), INVENTORY, "s3://b/0.arrow")


def test_every_single_flipped_bit_in_arrow_is_an_error_or_reads_equal():
    sealed = table_bytes(TABLE)
    plain = TABLE.to_pydict()
    errors = 0
    for content in flipped(sealed):
        table = opened(lambda content=content: bytes_table(content, INVENTORY, "s3://b/0.arrow"))
        errors += table is None
        assert table is None or table.to_pydict() == plain
    assert errors > len(sealed), "hardly any flip was noticed, so the flips missed the content"


@settings(max_examples=100)
@given(st.data())
def test_damaged_runs_of_bytes_in_arrow_are_an_error_or_read_equal(data):
    content = bytearray(table_bytes(TABLE))
    start = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(min_size=1, max_size=64))
    content[start : start + len(new)] = new
    table = opened(lambda: bytes_table(bytes(content), INVENTORY, "s3://b/0.arrow"))
    assert table is None or table.to_pydict() == TABLE.to_pydict()


def test_a_truncated_arrow_object_is_an_error_at_every_length():
    sealed = table_bytes(TABLE)
    for length in range(len(sealed)):
        with pytest.raises(StorageError, match="damaged"):
            bytes_table(sealed[:length], INVENTORY, "s3://b/0.arrow")


def test_a_wrong_schema_prints_both():
    other = pa.table({"key": ["a"], "size": pa.array([1], pa.int32())})
    with pytest.raises(StorageError, match=r"s3://b/0\.arrow has the schema") as told:
        bytes_table(table_bytes(other), INVENTORY, "s3://b/0.arrow")
    assert "size: int32" in str(told.value)
    assert "row_groups: list" in str(told.value)


def test_a_table_without_a_digest_is_not_believed():
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, INVENTORY) as writer:
        writer.write_table(TABLE)
    with pytest.raises(StorageError, match="does not match its own digest"):
        bytes_table(bytes(sink.getvalue()), INVENTORY, "s3://b/0.arrow")


def test_the_digest_is_the_one_that_is_in_the_stores():
    """A change of this value makes every stored object unreadable."""
    assert canonical({"b": [1, 2.5, None], "a": "ä"}) == '{"a":"ä","b":[1,2.5,null]}'.encode()
    assert (
        digest({"b": [1, 2.5, None], "a": "ä"})
        == "324d0f98e8e7b390bd24bc556eff388b74bd640e9df12c341becba7b8658c628"
    )


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=2, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_change_a_digest(content, shuffle):
    items = list(content.items())
    shuffle.shuffle(items)
    assert digest(dict(items)) == digest(content)


def flipped(content):
    for position in range(len(content)):
        for bit in (0x01, 0x20, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= bit
            yield bytes(damaged)


def opened(read):
    """What is read, or None for the one error that may be raised."""
    try:
        return read()
    except StorageError:
        return None
