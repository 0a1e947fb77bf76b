"""JSON lines: the fast way and the slow one agree, row for row; a broken line keeps its slot."""

from __future__ import annotations

import gzip
import io
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.features import decode_features
from distill.pools.formats.base import Copied
from distill.pools.formats.jsonl import JsonlShard
from distill.pools.formats.registry import pool_format, read_footer, read_rows
from distill.spec.pools import VectorFeatures
from distill.storage.open import open_storage
from tests.pools.formats.writing import read

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = {
    "n": st.none() | NUMBERS,
    "i": st.integers(-(2**63), 2**63 - 1),
    "s": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
    "l": st.none() | st.lists(st.none() | NUMBERS, max_size=3),
    "b": st.booleans(),
}
OBJECT = st.fixed_dictionaries({}, optional=VALUES).map(json.dumps)
ODD = st.sampled_from(
    [
        "",
        "  ",
        "\t\r",
        "{",
        "}",
        '{"n": 1}{"n": 2}',
        '{"n": "text"}',
        '{"s": 3}',
        "7",
        "[1]",
        "null",
        '{"n": NaN}',
        '{"n": 01}',
        '{"n": 1, "n": 2}',
        '{"s": "\\ud800"}',
        '{"s": "a\tb"}',
        '{"o": {"n": 1}}',
        '{"n": 1e999}',
        '{"n": true}',
        '{"l": 4}',
        '{"l": ["a"]}',
        '{"n": 1',
        '"n": 2}',
    ]
)


def shard(lines: list[str]) -> JsonlShard:
    return JsonlShard(pa.PythonFile(io.BytesIO("\n".join(lines).encode()), "r"), "here")


@settings(max_examples=150)
@given(st.lists(OBJECT | ODD, max_size=12))
def test_the_fast_way_numbers_or_types_rows_otherwise_than_the_slow_one(lines):
    columns = [name for name in VALUES if any(f'"{name}"' in line for line in lines)]
    fast = shard(lines)._fast(columns)
    if fast is not None:
        slow = shard(lines)._slow(columns)
        assert not slow.rejected
        np.testing.assert_equal(fast.table.to_pydict(), slow.table.to_pydict())
        assert fast.table.schema == slow.table.schema
        assert len(fast.table) == sum(bool(line.strip()) for line in lines)


@settings(max_examples=100)
@given(st.lists(OBJECT | ODD, min_size=1, max_size=12), st.data())
def test_a_broken_line_moves_the_rows_behind_it(lines, data):
    lines.insert(data.draw(st.integers(0, len(lines))), '{"i": 5, "n": 0.5}')
    full = [line for line in lines if line.strip()]
    taken = shard(lines)._slow(["n"])
    assert sum(shard(lines).footer().row_groups) == len(taken.table) == len(full)
    for row, (line, value) in enumerate(zip(full, taken.table["n"].to_pylist(), strict=True)):
        if line == '{"i": 5, "n": 0.5}':
            # most rows may hold text; beside large integers, numbers are their text
            assert value in (0.5, "0.5") or row in taken.rejected
        if row in taken.rejected:
            assert value is None
            assert taken.rejected[row][0] == "undecodable"


def test_plain_rows_are_read_line_by_line():
    fast = shard(['{"a": 1.5, "b": "2020-01-01"}', "", '{"a": 2}'])._fast(["a", "b"])
    assert fast.table.to_pydict() == {"a": [1.5, 2.0], "b": ["2020-01-01", None]}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "the line is no JSON object: b'{broken'"),
        ("[1, 2]", r"the line is no JSON object: \[1, 2\]"),
        ('{"x": "7"}', "column 'x' holds '7', where most rows hold numbers"),
        ('{"x": {"y": 1}}', "where most rows hold numbers"),
    ],
)
def test_a_bad_row_is_dropped_or_not_told(tmp_path, line, said):
    content = "\n".join(['{"x": 1}', line, '{"x": 3}']).encode()
    taken = read(open_storage(str(tmp_path)), content, ["x"], range(1, 3), "jsonl")
    assert taken.table["x"].to_pylist() == [None, 3]
    assert list(taken.rejected) == [0]
    code, message = taken.rejected[0]
    assert code == "undecodable"
    assert re.search(said, message)


def test_a_line_that_is_no_utf8_stops_the_file(tmp_path):
    content = b'{"s": "a"}\n{"s": "\xff"}\n{"s": "c"}'
    taken = read(open_storage(str(tmp_path)), content, ["s"], range(3), "jsonl")
    assert taken.table["s"].to_pylist() == ["a", None, "c"]
    assert set(taken.rejected) == {1}


def test_a_field_that_the_first_rows_lack_is_unknown(tmp_path):
    content = b'{"x": 1}\n' * 1500 + b'{"x": 2, "late": "here"}\n'
    taken = read(open_storage(str(tmp_path)), content, ["late"], range(1499, 1501), "jsonl")
    assert taken.table["late"].to_pylist() == [None, "here"]


def test_objects_are_taken_for_features(tmp_path):
    with pytest.raises(PoolError, match="column 'o' holds objects"):
        read(open_storage(str(tmp_path)), b'{"o": {"a": 1}}\n', ["o"], range(1), "jsonl")


def test_deep_nesting_that_is_only_copied_stops_the_file():
    """What Python 3.11 can parse it cannot always write again: it comes to its limit a few levels
    earlier."""
    lines = [f'{{"x": {"[" * depth}{"]" * depth}}}' for depth in range(500, 1_000)]
    taken = shard(lines)._slow([Copied("x")])
    for row, said in enumerate(taken.table["x"].to_pylist()):
        assert (said is None) == (row in taken.rejected)
        assert said is None or json.loads(lines[row])["x"] == json.loads(said)


IDS = st.integers(-(2**70), 2**70)
FRACTIONS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=150)
@given(st.lists(st.none() | IDS | FRACTIONS, min_size=1, max_size=8), st.integers(0, 1100))
def test_an_integer_loses_digits_beside_others(values, small):
    lines = ['{"x": 1}'] * small + [json.dumps({"x": value}) for value in values]
    mine = shard(lines)
    for taken in (mine.read(range(len(lines)), ["x"]), mine.read(range(len(lines)), [Copied("x")])):
        assert not taken.rejected
        for value, found in zip(values, taken.table["x"].to_pylist()[small:], strict=True):
            if isinstance(value, int):
                assert str(found) == str(value) or (abs(value) < 10**15 and found == value)
            elif value is not None:
                assert float(found) == value


@given(st.lists(st.lists(IDS | FRACTIONS, min_size=2, max_size=2), min_size=1, max_size=4))
def test_integers_in_a_list_that_is_only_copied_lose_digits(rows):
    lines = [json.dumps({"x": row}) for row in rows]
    for found, row in zip(
        shard(lines).read(range(len(rows)), [Copied("x")]).table["x"].to_pylist(), rows, strict=True
    ):
        back = json.loads(found) if isinstance(found, str) else found
        assert back == row
    numbers = shard(lines).read(range(len(rows)), ["x"]).table["x"].to_pylist()
    np.testing.assert_array_equal(np.array(numbers, np.float64), np.array(rows, np.float64))


def test_large_integers_of_features_are_no_numbers():
    lines = ['{"x": 9007199254740993}', '{"x": 0.5}', '{"x": 1e3}']
    table = shard(lines).read(range(3), ["x"]).table
    rows = decode_features(table, VectorFeatures(kind="vector", columns=("x",)), 1)
    assert rows.values.tolist() == [[float(2**53)], [0.5], [1000.0]]
    assert not rows.rejected


@given(
    st.lists(
        st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_lists_of_lists_are_objects(rows):
    lines = [json.dumps({"x": row}) for row in rows]
    mine = shard(lines)
    for taken in (mine._fast(["x"]), mine._slow(["x"])):
        assert taken.table["x"].to_pylist() == rows


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ending", ["json", "jsonl", "json.gz"])
def test_a_json_array_is_no_rows(tmp_path, indent, ending):
    rows = [{"x": 1, "id": 2**60 + 1, "s": "a\nb"}, {"x": 0.5, "id": 7}]
    content = json.dumps(rows, indent=indent).encode()
    store = open_storage(str(tmp_path))
    key = f"part.{ending}"
    store.put(key, gzip.compress(content) if ending.endswith("gz") else content)
    assert pool_format([key], "here") == "jsonl"
    assert read_footer(store, key, "jsonl").row_groups == (2,)
    taken = read_rows(store, key, range(2), ["x", "id", "s"], format="jsonl")
    assert taken.table.to_pylist() == [{"s": None} | row for row in rows]


def test_an_empty_array_is_an_error(tmp_path):
    store = open_storage(str(tmp_path))
    store.put("a.json", b"[]\n")
    assert read_footer(store, "a.json", "jsonl").row_groups == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"x": 1},\n{"x": 2},\n', "begins as a JSON array, and is no whole one"),
        (b"[1, 2]", "begins as a JSON array"),
        (b'{\n  "x": 1\n}\n', r"`jq -c \. FILE`"),
        (b"x,y\n1,2\n", "of its first 2 lines none is a JSON object"),
        (b"\xff\xfe{\x00", "is UTF-16 text"),
        (b"\x04\x22\x4d\x18\x00\x00", "is no text, but binary or packed"),
    ],
)
def test_a_file_that_holds_no_lines_is_told_row_by_row(tmp_path, content, said):
    store = open_storage(str(tmp_path))
    store.put("a.jsonl", content)
    with pytest.raises(PoolError, match=rf"a\.jsonl: .*{said}"):
        read_footer(store, "a.jsonl", "jsonl")
