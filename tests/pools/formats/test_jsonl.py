"""JSON lines: the fast way and the slow one agree, row for row; a broken line keeps its slot."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.formats.base import Copied
from distill.pools.formats.jsonl import JsonlShard
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
            assert value == 0.5 or row in taken.rejected  # most rows may hold text
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
