"""CSV: rows are where a person sees them, whatever their cells hold."""

from __future__ import annotations

import csv
import gzip
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.formats import csv as ours
from distill.pools.formats.options import with_options
from distill.pools.formats.registry import pool_format, read_footer, read_rows
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


ROWS = [["ä", "1,5", ""], ["b;\nc", "NA", "x"]]
DIALECTS = [
    ({"delimiter": ";"}, {}),
    ({"delimiter": "\t", "encoding": "utf-16"}, {"encoding": "utf-16"}),
    ({"delimiter": "|", "quote": "'"}, {}),
    ({"encoding": "cp1252"}, {"encoding": "cp1252"}),
    ({"delimiter": "\x01", "encoding": "utf-8-sig"}, {"encoding": "utf-8-sig"}),
]


def written(rows, dialect, encoding="utf-8"):
    text = io.StringIO()
    marks = {"delimiter": dialect.get("delimiter", ","), "quotechar": dialect.get("quote", '"')}
    csv.writer(text, lineterminator="\n", **marks).writerows(rows)
    return text.getvalue().encode(encoding)


@pytest.mark.parametrize(("dialect", "store_as"), DIALECTS)
def test_a_dialect_is_read_as_other_cells(tmp_path, dialect, store_as):
    content = written([["a", "b", "c"], *ROWS], dialect, **store_as)
    format = with_options("csv", {"csv": dialect})
    store = open_storage(str(tmp_path))
    store.put("part.csv", content)
    assert read_footer(store, "part.csv", format).row_groups == (2,)
    taken = read_rows(store, "part.csv", range(2), ["a", "b", "c"], format=format)
    assert taken.table.to_pydict() == {"a": ["ä", "b;\nc"], "b": ["1,5", "NA"], "c": [None, "x"]}
    assert not taken.rejected


def test_nulls_and_names_that_the_pool_says_are_text_and_a_row(tmp_path):
    format = with_options("csv", {"csv": {"nulls": ["NA", "-"], "header": ["a", "b"]}})
    store = open_storage(str(tmp_path))
    store.put("part.csv", b'1,NA\n2\n"-",-\n4,\n')
    taken = read_rows(store, "part.csv", range(4), ["a", "b"], format=format)
    assert taken.table.to_pydict() == {"a": ["1", None, "-", "4"], "b": [None, None, None, ""]}
    assert set(taken.rejected) == {1}


@pytest.mark.parametrize("name", ["a.tsv", "a.TSV", "a.tsv.gz", "b/a.csv.tsv"])
def test_tabs_are_told_by_an_ending(tmp_path, name):
    store = open_storage(str(tmp_path))
    content = b'a\tb\n1,5\t"x\ty"\n'
    store.put(name, gzip.compress(content) if name.endswith("gz") else content)
    assert pool_format([name], "here") == "csv"
    taken = read_rows(store, name, range(1), ["a", "b"], format="csv")
    assert taken.table.to_pylist() == [{"a": "1,5", "b": "x\ty"}]


@pytest.mark.parametrize("other", [";", "\t", "|"])
def test_a_header_with_another_delimiter_is_one_column_without_a_hint(tmp_path, other):
    store = open_storage(str(tmp_path))
    store.put("part.csv", f"a{other}b\n1{other}2\n".encode())
    shown = "\\t" if other == "\t" else other
    with pytest.raises(PoolError, match=re.escape(f'csv = {{ delimiter = "{shown}" }}')):
        read_footer(store, "part.csv", "csv")
    one = with_options("csv", {"csv": {"delimiter": ","}})
    assert read_footer(store, "part.csv", one).schema.names == [f"a{other}b"]


@pytest.mark.parametrize(
    ("content", "dialect", "said"),
    [
        ("a,b\n1,ä\n".encode("utf-16"), {}, r'UTF-16 text\. .* csv = \{ encoding = "utf-16" \}'),
        ("ä,b\n1,2\n".encode("cp1252"), {}, r'.*its header is no UTF-8.* encoding = "cp1252"'),
        ("a,b\n1,ä\n".encode("cp1252"), {"encoding": "ascii"}, r"no text in ascii.*csv\.encoding"),
    ],
)
def test_another_encoding_is_no_text_without_a_hint(tmp_path, content, dialect, said):
    store = open_storage(str(tmp_path))
    store.put("part.csv", content)
    with pytest.raises(PoolError, match=rf"part\.csv: (is )?{said}"):
        read_footer(store, "part.csv", with_options("csv", {"csv": dialect} if dialect else {}))


def test_a_header_that_is_longer_than_its_share_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "_HEADER_BYTES", 8)
    names = [f"column {n}" for n in range(9)]
    content = ",".join(names) + "\n" + ",".join("123456789") + "\n"
    taken = read(open_storage(str(tmp_path)), content.encode(), names, range(1), "csv")
    assert taken.table.to_pylist() == [dict(zip(names, "123456789", strict=True))]
