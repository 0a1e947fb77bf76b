"""CSV: rows are where a person sees them, whatever their cells hold."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.formats import csv as ours
from distill.pools.formats.registry import read_footer
from distill.storage.open import open_storage
from tests.pools.formats.writing import read

CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6)
ROW = st.lists(CELL, min_size=2, max_size=2) | st.lists(CELL, min_size=1, max_size=4)


@settings(max_examples=100)
@given(st.lists(ROW, max_size=8), st.booleans())
def test_python_and_arrow_number_rows_otherwise(tmp_path_factory, rows, ends):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    content = text.getvalue().encode() if ends else text.getvalue().removesuffix("\n").encode()
    store = open_storage(str(tmp_path_factory.mktemp("csv")))
    taken = read(store, content, ["b", "a"], range(len(rows)), "csv")
    assert sum(read_footer(store, "part.csv", "csv").row_groups) == len(rows)
    assert set(taken.rejected) == {row for row, cells in enumerate(rows) if len(cells) != 2}
    for row, cells in enumerate(rows):
        due = {"a": cells[0], "b": cells[1]} if len(cells) == 2 else {"a": None, "b": None}
        assert taken.table.select(["a", "b"]).slice(row, 1).to_pylist() == [due]


def test_rows_are_lost_where_blocks_of_the_reader_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "_LARGEST_ROW_BYTES", 64)
    lines = ["1" if n % 7 == 3 else f'{n},"x\n{n}"' for n in range(200)]
    taken = read(
        open_storage(str(tmp_path)), "\n".join(["a,b", *lines]).encode(), ["a"], range(200), "csv"
    )
    assert taken.table["a"].to_pylist() == [None if n % 7 == 3 else str(n) for n in range(200)]
    assert set(taken.rejected) == {n for n in range(200) if n % 7 == 3}


def test_an_empty_cell_is_null_and_a_quoted_one_is_text(tmp_path):
    taken = read(
        open_storage(str(tmp_path)),
        b'\xef\xbb\xbfa,b\r\n,""\r\n\r\nNA,null\r\n',
        ["a", "b"],
        range(2),
        "csv",
    )
    assert taken.table.to_pydict() == {"a": [None, "NA"], "b": ["", "null"]}


def test_text_that_is_no_utf8_stops_the_file(tmp_path):
    taken = read(open_storage(str(tmp_path)), b"a,b\nx,1\n\xff,2\nz,3\n", ["a"], range(3), "csv")
    assert taken.table["a"].to_pylist() == ["x", None, "z"]
    assert set(taken.rejected) == {1}


@pytest.mark.parametrize("content", [b'a,b\n1,"x\n2,3\n4,5\n', b'a,b\n"1,x\n2,3', b'a,b\n1,2\n"'])
def test_a_quote_that_is_never_closed_swallows_rows(tmp_path, content):
    with pytest.raises(PoolError, match=r"part\.csv: a quote is opened and never closed"):
        read(open_storage(str(tmp_path)), content, ["a"], range(1), "csv")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_a_header_has_rows(tmp_path, content):
    store = open_storage(str(tmp_path))
    store.put("part", content)
    with pytest.raises(PoolError, match="part: has no header row"):
        read_footer(store, "part", "csv")


def test_a_header_alone_is_an_error(tmp_path):
    store = open_storage(str(tmp_path))
    store.put("part", b"a,b")
    footer = read_footer(store, "part", "csv")
    assert (footer.row_groups, footer.schema.names) == ((), ["a", "b"])


def test_a_column_that_stands_twice_is_chosen_by_chance(tmp_path):
    with pytest.raises(PoolError, match="2 columns 'a'"):
        read(open_storage(str(tmp_path)), b"a,a\n1,2\n", ["a"], range(1), "csv")
