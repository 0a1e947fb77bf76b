"""Rows of CSV whose quotes stand where none belongs, which pyarrow reads without a word: it drops a
quote behind which a cell goes on (`"5" disk`), and takes lines for text that stand between two
quotes which do not belong together.

A cell that does not begin with a quote may hold quotes; they are text. Most files need one pass of
numpy, which sees that every quote begins a cell, ends one or is doubled. Only rows that numpy cannot
clear are gone through cell by cell (some 3 µs a cell).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from distill.pools.formats.base import UNDECODABLE, Rejected

Letters = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_PART_BYTES = 1 << 24
_LINE_FEED = 10
_RETURN = 13
_NEWLINES = b"\r\n"
_WHOLE_NUMBER = re.compile(rb'"?[+-]?\d+"?')


@dataclass(frozen=True)
class CsvMarks:
    """The bytes that mean something in a file; empty where it has no such."""

    delimiter: bytes
    quote: bytes
    escape: bytes = b""

    @cached_property
    def cell(self) -> re.Pattern[bytes]:
        """One cell: what stands within quotes, what stands behind them, or else all of it; and what
        ends it."""
        delimiter, quote, escape = map(re.escape, (self.delimiter, self.quote, self.escape))
        escaped = escape + b"." if escape else rb"(?!)"
        quoted = b"%b((?:[^%b%b]|%b|%b%b)*)%b" % (
            quote,
            quote,
            escape,
            escaped,
            quote,
            quote,
            quote,
        )
        plain = rb"(?:%b|[^%b\r\n])*" % (escaped, delimiter)
        return re.compile(
            rb"(?:%b(%b)|%b)(%b|\r\n|\n|\r|\Z)" % (quoted, plain, plain, delimiter), re.DOTALL
        )


def misquoted_rows(
    content: bytes, marks: CsvMarks, columns: int, *, header_rows: int, rows: int
) -> Rejected:
    """Find rows whose quotes are wrong, by their number behind the header. `rows` are those that
    pyarrow found, the header included: where lines are more, some are within cells."""
    if not marks.quote or marks.quote not in content:
        return {}
    letters = np.frombuffer(content, np.uint8)
    is_strict = _is_strict(letters, marks)
    lines = 1 + content.rstrip(_NEWLINES).count(b"\n")
    if is_strict and lines <= rows:
        return {}
    newlines = _newlines(letters)
    if is_strict:
        starts, ends = _rows_of_many_lines(letters, newlines, marks)
        found = {start: _row(content, start, marks, columns)[1] for start in starts}
    else:
        found, ends = _rows_with_quotes(content, letters, newlines, marks, columns)
    numbers = _row_numbers(letters, ends, list(found)) - header_rows
    return {
        number: (UNDECODABLE, message)
        for number, message in zip(numbers.tolist(), found.values(), strict=True)
        if message and number >= 0
    }


def _is_strict(letters: Letters, marks: CsvMarks) -> bool:
    """Whether every other quote stands at the begin of a cell, and those between at the end of one,
    or beside the next: a doubled quote ends and begins one."""
    is_border = np.zeros(256, np.bool_)
    is_border[list(marks.delimiter + marks.quote + _NEWLINES)] = True
    before = 0
    for start in range(0, len(letters), _PART_BYTES):
        quotes = _quotes(letters, slice(start, start + _PART_BYTES), marks)
        opening = quotes[before % 2 :: 2]
        closing = quotes[1 - before % 2 :: 2]
        before += len(quotes)
        opening = opening[opening > 0]
        closing = closing[closing < len(letters) - 1]
        if not is_border[letters[opening - 1]].all() or not is_border[letters[closing + 1]].all():
            return False
    return True


def _quotes(letters: Letters, part: slice, marks: CsvMarks) -> Numbers:
    """Where quotes are in a part that are not escaped: there is no odd number of escapes before."""
    quotes = np.flatnonzero(letters[part] == ord(marks.quote)) + (part.start or 0)
    if not marks.escape:
        return quotes
    is_escaped = np.zeros(len(quotes), np.bool_)
    left = np.arange(len(quotes))
    back = 1
    while len(left):
        left = left[quotes[left] >= back]
        left = left[letters[quotes[left] - back] == ord(marks.escape)]
        is_escaped[left] ^= True
        back += 1
    return quotes[~is_escaped]


def _newlines(letters: Letters) -> Numbers:
    """Where lines end: at line feeds, and at carriage returns that none follows."""
    is_newline = letters == _LINE_FEED
    is_return = letters == _RETURN
    is_return[:-1] &= ~is_newline[1:]
    return np.flatnonzero(is_newline | is_return)


def _row_numbers(letters: Letters, ends: Numbers, starts: Sequence[int]) -> Numbers:
    """The number of the row that begins at each of `starts`, where rows end at `ends`; blank lines
    are none."""
    lengths = np.diff(ends, prepend=-1) - 1
    is_pair = (letters[ends] == _LINE_FEED) & (letters[ends - 1] == _RETURN) & (lengths > 0)
    lengths -= is_pair
    return np.searchsorted(ends[lengths > 0], np.array(starts, np.int64))


def _rows_of_many_lines(
    letters: Letters, newlines: Numbers, marks: CsvMarks
) -> tuple[list[int], Numbers]:
    """Where rows begin, of which a cell has a line break and either quotes that are no pairs, or a
    line that begins with a digit; and where all rows end. Of a strict file."""
    quotes = _quotes(letters, slice(0, None), marks)
    following = np.searchsorted(quotes, newlines)
    is_inside = following % 2 == 1
    ends = newlines[~is_inside]
    # quotes in pairs; one that begins where the last ended goes on with its cell
    opening = quotes[0::2]
    closing = quotes[1::2]
    goes_on = opening[1:] == closing[: len(opening) - 1] + 1
    cell = np.concatenate([[0], np.cumsum(~goes_on)])
    has_odd = np.bincount(cell) % 2 == 0
    breaks = newlines[is_inside]
    is_odd = has_odd[cell[following[is_inside] // 2]]
    next_letter = letters[np.minimum(breaks + 1, len(letters) - 1)]
    is_digit = (next_letter >= ord("0")) & (next_letter <= ord("9"))
    suspects = breaks[is_odd | is_digit]
    row = np.unique(np.searchsorted(ends, suspects))
    starts = np.concatenate([[0], ends + 1])[row]
    return starts.tolist(), ends


def _rows_with_quotes(
    content: bytes, letters: Letters, newlines: Numbers, marks: CsvMarks, columns: int
) -> tuple[dict[int, str], Numbers]:
    """What is wrong with each row that has a quoted cell, by where it begins; and where all rows
    end. Lines between such rows have no quoted cell, so each is a row."""
    quotes = _quotes(letters, slice(0, None), marks)
    before = letters[np.maximum(quotes - 1, 0)]
    is_border = np.isin(before, list(marks.delimiter + _NEWLINES)) | (quotes == 0)
    line = np.unique(np.searchsorted(newlines, quotes[is_border]))
    found: dict[int, str] = {}
    is_end = np.ones(len(newlines), np.bool_)
    stop = 0
    for start in np.concatenate([[0], newlines + 1])[line].tolist():
        if start < stop:
            continue  # within a cell of the row before
        stop, found[start] = _row(content, start, marks, columns)
        first = np.searchsorted(newlines, start)
        last = np.searchsorted(newlines, stop - 1)
        is_end[first:last] = False
    return found, newlines[is_end]


def _row(content: bytes, start: int, marks: CsvMarks, columns: int) -> tuple[int, str]:
    """Where the row ends that begins at `start`, and what is wrong with it, if anything is."""
    message = ""
    stop = start
    for cell in marks.cell.finditer(content, start):
        within, behind, end = cell.groups()
        if behind:
            message = message or _stray_message(content, cell)
        elif within and _holds_rows(content, cell, start, marks, columns):
            message = message or (
                "a quoted cell holds lines that look like rows of their own, so a quote may be"
                f" missing or too many: {_shown(within)}"
            )
        stop = cell.end()
        if end != marks.delimiter:
            break
    return stop, message


def _stray_message(content: bytes, cell: re.Match[bytes]) -> str:
    advice = "Double quotes within cells"
    if content[cell.end(1) - 1 : cell.end(1)] == b"\\":
        advice = "If a backslash escapes quotes, say csv = { escape = '\\' } for the pool"
    lines = cell.group().rstrip(_NEWLINES).count(b"\n") + 1
    span = f", which is {lines} lines long" if lines > 1 else ""
    return f"a quote is closed before its cell ends{span}: {_shown(cell.group())}. {advice}"


def _holds_rows(
    content: bytes, cell: re.Match[bytes], start: int, marks: CsvMarks, columns: int
) -> bool:
    """Whether a line within a cell is likely to be a row: it has as many cells, and either the
    quotes within are no pairs, or both the line and its row begin with a whole number."""
    if columns < 2:
        return False
    begin, end = cell.span(1)
    doubled = content.count(marks.quote * 2, begin, end)
    begins_with_number = _begins_with_number(content, start, marks)
    at = content.find(b"\n", begin, end)
    while at >= 0:
        stop = content.find(b"\n", at + 1)
        line = content[at + 1 : stop if stop >= 0 else len(content)]
        if line.count(marks.delimiter) == columns - 1:
            is_like = begins_with_number and _begins_with_number(line, 0, marks)
            if doubled % 2 or is_like:
                return True
        at = content.find(b"\n", at + 1, end)
    return False


def _begins_with_number(content: bytes, start: int, marks: CsvMarks) -> bool:
    end = content.find(marks.delimiter, start)
    return end >= 0 and _WHOLE_NUMBER.fullmatch(content[start:end]) is not None


def _shown(text: bytes) -> str:
    shown = repr(text.decode("utf-8", "replace"))
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
