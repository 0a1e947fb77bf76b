"""Quotes that stand where none belongs: no row is mangled or swallowed without a word."""

from __future__ import annotations

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from distill.core.errors import PoolError
from distill.pools.formats import csv as ours
from distill.pools.formats.csv import CsvShard


def shard(content: bytes, **dialect) -> CsvShard:
    return CsvShard(pa.BufferReader(content), "here.csv", dialect or None)


def told(content: bytes, **dialect) -> dict[int, str]:
    """The rejected rows, with why."""
    mine = shard(content, **dialect)
    (rows,) = mine.footer().row_groups
    batch = mine.read(range(rows), mine.footer().schema.names)
    for row in batch.rejected:
        assert set(batch.table.slice(row, 1).to_pylist()[0].values()) == {None}
    return {row: message for row, (_, message) in batch.rejected.items()}


def one_cell(text: str, at: int, escape: str | None) -> tuple[str, bool, int]:
    """Letter by letter: the cell that begins at `at`, whether something stands behind its closing
    quote, and where it ends. Raises IndexError for a quote that is never closed."""
    cell, behind = "", False
    if text[at] == '"':
        at += 1
        while text[at] != '"' or text[at + 1] == '"':
            at += text[at] == '"' or text[at] == escape
            cell += text[at]
            at += 1
        at += 1
        behind = text[at] not in ",\n"
    while text[at] not in ",\n":
        at += text[at] == escape
        cell += text[at]
        at += 1
    return cell, behind, at


def plain_rows(text: str, escape: str | None = None) -> list[tuple[list[str], bool]] | None:
    """The cells of each row that is not blank, and whether a quote of its is closed too early. None
    where a quote is never closed."""
    text += "\n"
    rows, at = [], 0
    while at < len(text):
        cells, stray, start = [], False, at
        while not cells or text[at - 1] != "\n":
            try:
                cell, behind, at = one_cell(text, at, escape)
            except IndexError:
                return None
            cells.append(cell)
            stray |= behind
            at += 1
        if at > start + 1:
            rows.append((cells, stray))
    return rows


LETTERS = st.text('a1",\n', max_size=24)


@settings(max_examples=400)
@given(LETTERS, st.booleans())
def test_rows_are_mangled_or_rejected_otherwise_than_letter_by_letter(text, returns):
    rows = plain_rows(text)
    assume(rows)
    content = f"x,y\n{text}".encode()
    if returns:
        content = content.replace(b"\n", b"\r\n")
        rows = [([cell.replace("\n", "\r\n") for cell in cells], stray) for cells, stray in rows]
    mine = shard(content)
    batch = mine.read(range(len(rows) + 1), ["x", "y"])
    assert len(batch.table) == len(rows)
    for row, (cells, stray) in enumerate(rows):
        message = batch.rejected.get(row, ("", ""))[1]
        assert ("closed before" in message) == stray
        if len(cells) != 2:
            assert row in batch.rejected
        elif row not in batch.rejected:
            assert [batch.table[name][row].as_py() or "" for name in "xy"] == cells
        elif not stray:
            assert "look like rows" in message
            assert "\n" in "".join(cells)


@settings(max_examples=200)
@given(st.text('a1"\\,\n', max_size=20))
@example('\\,",""1')  # no cell begins behind an escaped comma
def test_escaped_quotes_are_read_otherwise_than_letter_by_letter(text):
    assume(not text.endswith("\\") and "\\\n" not in text)
    rows = plain_rows(text, "\\")
    assume(rows)
    mine = shard(f"x,y\n{text}".encode(), escape="\\")
    batch = mine.read(range(len(rows) + 1), ["x", "y"])
    assert len(batch.table) == len(rows)
    for row, (cells, stray) in enumerate(rows):
        if stray:
            assert row in batch.rejected
        elif len(cells) == 2 and row not in batch.rejected:
            assert [batch.table[name][row].as_py() or "" for name in "xy"] == cells


CELL = st.text(
    st.characters(codec="utf-8", exclude_characters='\x00\r"', exclude_categories=["Nd"])
)


@given(
    st.lists(st.tuples(CELL, CELL), min_size=1), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
)
def test_text_of_many_lines_is_taken_for_swallowed_rows(cells, quoting):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows([["a", "b"], *cells])
    assert told(text.getvalue().encode()) == {}


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ('1,"5"" disk\n2,6 disk"\n3,plain\n', {0: "look like rows"}),  # a quote too many
        ('1,"5 disk\n2,6 disk"\n3,plain\n', {0: "look like rows"}),  # as its neighbours are
        ('1,"5" disk\n2,plain\n', {0: "closed before its cell ends"}),
        ('1,"5"" disk\n2,plain\n3,"6"" disk"\n', {0: "3 lines long"}),
        ('1,"abc\n2,def\n3,"ghi"\n', {0: "3 lines long"}),
        ('1,"say \\"hi\\" now"\n2,plain\n', {0: r"csv = { escape = '\' }"}),
        ('1,5" disk\n2,6" disk\n', {}),  # no quoted cell: quotes are text
        ('1,"two\nlines, and more"\n2,"a ""b"" c\nd, e"\n', {}),
        ('1,"C:\\dir\\"\n2,plain\n', {}),
    ],
)
def test_a_row_is_lost_or_mangled_without_a_word(rows, wrong):
    found = told(f"a,b\n{rows}".encode())
    assert found.keys() == wrong.keys()
    for row, message in wrong.items():
        assert message in found[row]


def test_backslashes_before_a_quote_that_is_never_closed_have_no_hint():
    with pytest.raises(
        PoolError, match=r"never closed\. .*; if a backslash escapes quotes, say csv"
    ):
        told(b'a,b\n1,"it ends with \\""\n2,plain\n')


def test_an_escape_that_is_declared_is_not_taken_out():
    mine = shard(b'a,b\n1,"say \\"hi\\" now"\n2,"a \\"b, c\\" d"\n', escape="\\")
    batch = mine.read(range(2), ["b"])
    assert batch.table["b"].to_pylist() == ['say "hi" now', 'a "b, c" d']
    assert not batch.rejected


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "rows",
    [
        'ann,"tall,1\nbob,short",2\ncal,ok,3\n',
        'ann,"tall,1\neve,x,y\nbob,short",2\ncal,ok,3\n',
        '2020-01-02,"tall,1\n2020-01-03,short",2\n2020-01-04,ok,3\n',
        '12,"tall,1\nb7,short",2\nc9,ok,3\n',
        '1.5,"tall,1\n2.5,short",2\n3.5,ok,3\n',
        '-1,"tall,1\n-2,short",2\n-3,ok,3\n',
        'x,"tall,1\ny,short",2\nz,ok,3\n',
        'tall,"1,ann\nshort,2",bob\nok,3,cal\n',
    ],
)
def test_rows_without_whole_numbers_are_swallowed_without_a_word(rows, newline):
    content = f"a,b,c\n{rows}".replace("\n", newline).encode()
    found = told(content)
    assert list(found) == [0]
    assert "look like rows" in found[0]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "rows",
    [
        'doc-17,"tall\ndoc-18,short"\ndoc-19,ok\n',
        'b7,"tall\nc9,short"\nd1,ok\n',
        'ann,"tall\nbob,short\ncal,ok"\neve,x\n',
        '"ann","tall\n"bob",short\n"cal",ok"\n"eve",x\n',
    ],
)
def test_rows_of_a_key_and_a_text_are_swallowed_without_a_word(rows, newline):
    assert list(told(f"a,b\n{rows}".replace("\n", newline).encode())) == [0]


@pytest.mark.parametrize(
    "content",
    [
        'a,b\nann 1,"Rome\nParis,France\nBerlin,Germany"\nbob,x\n',
        'a,b\n诗,"床前明月光,疑是地上霜\n举头望明月,低头思故乡"\nbob,x\n',
        'a,b\nd1,"床\n床前明月光,疑是地上霜\n举头望明月,低头思故乡"\nbob,x\n',
        'a,b\nd1,"Dear d2,\nwrite soon, and well\nyours,d1"\nd2,x\n',
        'a,b\nd1,"Rome\nParis,France"\nd2,x\n',
        'a,b\n12,"Ingredients\n1, egg\n2, milk"\n13,x\n',
        'a,b,c\n12,"Ingredients\n1, egg\n2, milk",x\n13,x,y\n',
        'a,b,c\n12,"Ingredients\n1,egg\n2,milk",x\n13,x,y\n',
        'a,b,c\nann,"Dear all\nyes, no, maybe",x\nbob,x,y\n',
        'a,b\nann,"Main street 1\nBerlin,Germany"\nbob,x\n',
    ],
)
def test_a_list_within_a_cell_is_taken_for_swallowed_rows(content):
    assert told(content.encode()) == {}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('x,"note\n1,a"\n2,b\n3,c\n', "2 lines long"),
        ('x,"note,z\n1,a",2\n2,b,3\n', "look like rows"),
        ('\nx,"no"te\n1,a\n', "closed before its cell ends"),
    ],
)
def test_a_misquoted_header_swallows_rows(content, message, newline):
    content = content.replace("\n", newline).encode()
    with pytest.raises(PoolError, match=rf"here\.csv: its header is misquoted: .*{message}"):
        shard(content).footer()


@pytest.mark.parametrize("header", ['x,"weight\n(kg)",z', '"x","no ""te"', "x", '"x\ny"'])
def test_a_header_with_a_line_break_is_taken_for_misquoted(header):
    columns = header.count(",") + 1
    row = ",".join("abc"[:columns])
    assert shard(f"{header}\n{row}\n".encode()).footer().row_groups == (1,)


def test_a_footer_looks_for_damage_that_reading_finds_anyway(monkeypatch):
    content = b'a,b\n1,"5" disk\n2\n\n3,"5 disk\n4,6 disk"\n'
    assert told(content).keys() == {0, 1, 2}
    monkeypatch.setattr(ours, "misquoted_rows", None)
    assert shard(content).footer().row_groups == (3,)
