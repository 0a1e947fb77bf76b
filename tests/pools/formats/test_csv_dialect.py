"""How a CSV file is written, by its head: what is recognised reads the file as it was written."""

from __future__ import annotations

import codecs
import csv
import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.pools.formats.csv_dialect import recognise_dialect
from distill.pools.formats.options import with_options
from distill.pools.formats.registry import read_footer, read_rows
from distill.storage.open import open_storage

WORDS = st.text("abcdeé ,;|\t\"'0\n", min_size=1, max_size=8).map(lambda text: f"w{text}w")
NUMBERS = st.integers(0, 99).map(str)
ROWS = st.lists(st.tuples(NUMBERS, WORDS, NUMBERS), min_size=2, max_size=9)


def recognised(folder, content: bytes, name: str = "a.csv"):
    store = open_storage(str(folder))
    store.put(name, content)
    return store, recognise_dialect(store, name).model_dump(mode="json", exclude_defaults=True)


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.booleans(),
    st.booleans(),
)
def test_a_file_is_read_otherwise_than_it_was_written(
    tmp_path_factory, rows, delimiter, encoding, names, escaped
):
    text = io.StringIO()
    header = [("number", "word", "count")] if names else []
    escape = {"escapechar": "\\", "doublequote": False} if escaped else {}
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, **escape)
    writer.writerows([*header, *rows])
    content = text.getvalue().encode(encoding)
    store, dialect = recognised(tmp_path_factory.mktemp("dialect"), content)
    format = with_options("csv", {"csv": dialect} if dialect else {})
    columns = read_footer(store, "a.csv", format).schema.names
    taken = read_rows(store, "a.csv", range(len(rows)), columns, format=format)
    read = list(zip(*taken.table.to_pydict().values(), strict=True))
    for number, row in enumerate(rows):
        assert number in taken.rejected or read[number] == row


@pytest.mark.parametrize(
    ("content", "due"),
    [
        ("", {}),
        ("\n\n", {}),
        ("one\n1\n2\n", {}),
        ("a,b\n1,2\n", {}),
        ("name,note\nx,a; b\ny,c; d\n", {}),
        ("name;note\nx;a, b\ny;c, d\n", {"delimiter": ";"}),
        ("x;y\n1,5;2,5\n", {"delimiter": ";"}),
        (
            "1,5;2,5;a\n2,5;3,5;a\n",
            {"delimiter": ";", "header": ["column_1", "column_2", "column_3"]},
        ),
        ("yes,2\nno,3\nyes,4\n", {"header": ["column_1", "column_2"]}),
        ("good,good\nbad,x\n", {"header": ["column_1", "column_2"]}),
        ("text,x,x\na,1,2\nb,3,4\n", {}),  # a header with a name twice, which listing refuses
        ("0,1,2\n5,6,7\n", {}),
        (",0,1\n0,5,6\n", {}),
        ("land,2019,2020,2021\na,1,2,3\n", {}),
        ('a,b\n1,"x \\" y"\n', {"escape": "\\"}),
        ('a,b\n1,"C:\\x\\"\n', {}),
    ],
)
def test_a_dialect_is_taken_for_another(tmp_path, content, due):
    assert recognised(tmp_path, content.encode())[1] == due


@pytest.mark.parametrize(
    ("content", "name", "due"),
    [
        ("é;b\n1;2\n".encode("latin-1"), "a.csv", {"delimiter": ";", "encoding": "cp1252"}),
        (b"a,b\n\x81,2\n", "a.csv", {"encoding": "latin-1"}),
        (codecs.BOM_UTF16_BE + "a,b\n1,2\n".encode("utf-16-be"), "a.csv", {"encoding": "utf-16"}),
        ("a,b\n1,2\n".encode("utf-16-le"), "a.csv", {"encoding": "utf-16-le"}),
        (b"a\tb\n1\t2\n", "a.tsv", {}),
        (b"a,b\n1,2\n", "a.tsv", {"delimiter": ","}),
        (gzip.compress(b"a|b\n1|2\n", mtime=0), "a.csv.gz", {"delimiter": "|"}),
        (b"a,b\n\x00,2\n", "a.csv", {}),
    ],
)
def test_an_encoding_or_a_name_is_not_looked_at(tmp_path, content, name, due):
    assert recognised(tmp_path, content, name)[1] == due
