"""The dialect of a CSV file as its head shows it, for a job that is to be written: a person reads
what was recognised, and corrects it.

    encoding    a mark or zero bytes of UTF-16; else UTF-8 where all of the file is, else cp1252
                or latin-1, which are guesses
    delimiter   what cuts most lines into as many cells as the first; of two that do, what leaves
                more numbers (1,5;2,5), and else the usual one
    escape      a backslash, where a quote behind one ends no cell, or rows are whole by it alone
    header      no names stand in a first line that has a number where all below have one, or
                a cell that stands in its column again, or twice in it and above no numbers

Labelling never guesses: it reads files as the pool says.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence

from distill.pools.formats.csv import usual_delimiter
from distill.pools.formats.open import native_file
from distill.pools.formats.whole_file import read_unpacked
from distill.spec.pools import CsvDialect
from distill.storage.base import Storage

_DELIMITERS = ",;\t|"
_LOOKED_AT_BYTES = 1 << 18
_LOOKED_AT_ROWS = 100
_ENCODINGS = ("utf-8", "cp1252")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8"}
# a quote that a backslash escapes; one that ends its cell may stand behind a path's last
_ESCAPED = re.compile(r'\\"(?![,;\t|\r\n]|$)')
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)*|[.,]\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)
_COUNTED = 3  # numbers in a row of names that count up, as years and the columns of a matrix do

Row = Sequence[str]


def recognise_dialect(files: Storage, key: str) -> CsvDialect:
    """Return how a CSV file is written, by its head. Raises PoolError if it is not unpacked."""
    where = files.url(key)
    with files.open(key) as source:
        file = native_file(source)
        content = read_unpacked(file, where)
    encoding = _encoding(content)
    head = content[:_LOOKED_AT_BYTES]
    text = head.decode(encoding, errors="ignore").removeprefix("\ufeff")
    if len(content) > len(head):
        text = text[: text.rfind("\n") + 1]
    usual = usual_delimiter(where)
    delimiter, escape = _marks(text, usual)
    rows = list(_rows(text, delimiter, escape))
    names = [f"column_{number}" for number in range(1, len(rows[0]) + 1)] if rows else []
    return CsvDialect(
        delimiter=None if delimiter == usual else delimiter,
        escape=escape,
        encoding=encoding,
        header=None if not rows or _is_header(rows) else tuple(names),
    )


def _encoding(content: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return encoding
    head = content[:_LOOKED_AT_BYTES]
    even = head[0::2].count(0)
    odd = head[1::2].count(0)
    if max(even, odd) > len(head) // 4:  # Latin letters have a zero byte each
        is_big = even > odd
        return "utf-16-be" if is_big else "utf-16-le"
    if even or odd:
        return "utf-8"  # it is no text, which its reader tells
    for encoding in _ENCODINGS:
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _marks(text: str, usual: str) -> tuple[str, str | None]:
    """The delimiter and the escape, see the module's table."""

    def fitting(marks: tuple[str, str | None]) -> tuple[float, float]:
        """Shares of rows and of cells."""
        rows = list(_rows(text, *marks))
        if not rows or len(rows[0]) == 1:
            return 0.0, 0.0
        cells = [cell for row in rows for cell in row]
        whole = sum(len(row) == len(rows[0]) for row in rows)
        numbers = sum(map(_is_number, cells))
        return whole / len(rows), numbers / len(cells)

    delimiters = [usual, *_DELIMITERS.replace(usual, "")]
    escapes: list[str | None] = [None, "\\"] if '\\"' in text else [None]
    if _ESCAPED.search(text):
        escapes.reverse()
    # of marks that fit alike, the first
    return max(itertools.product(delimiters, escapes), key=fitting)


def _rows(text: str, delimiter: str, escape: str | None) -> Iterator[Row]:
    """The first rows, as many as can be parsed; blank lines are none."""
    lines = text.splitlines(keepends=True)
    reader = csv.reader(lines, delimiter=delimiter, escapechar=escape, doublequote=escape is None)
    try:
        yield from itertools.islice(filter(None, reader), _LOOKED_AT_ROWS)
    except csv.Error:  # a cell without an end, or with a zero byte
        return


def _is_header(rows: Sequence[Row]) -> bool:
    """Whether the first row names the columns."""
    first, *others = rows
    if not first[0]:
        return True  # pandas writes its index so
    below = [row for row in others if len(row) == len(first)]
    if len(set(first)) < len(first):
        # a name that stands there twice is refused when the file is listed, by name
        return any(_names_numbers(*column) for column in zip(first, *below, strict=True))
    numbers = [float(cell) for cell in first if cell.strip().isdecimal()]
    steps = {later - earlier for earlier, later in itertools.pairwise(numbers)}
    if len(numbers) >= _COUNTED and steps == {1.0}:
        return True
    for cell, *column in zip(first, *below, strict=True):
        filled = [each for each in column if each.strip()]
        if cell.strip() and cell in filled:
            return False
        if filled and _is_number(cell) and all(map(_is_number, filled)):
            return False
    return True


def _names_numbers(cell: str, *column: str) -> bool:
    """Whether a cell is no number and all filled ones below are."""
    filled = [each for each in column if each.strip()]
    return bool(filled) and not _is_number(cell) and all(map(_is_number, filled))


def _is_number(cell: str) -> bool:
    match = _NUMBER.fullmatch(cell)
    return match is not None
