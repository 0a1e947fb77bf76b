"""Rows of CSV whose quotes stand where none belongs, which pyarrow reads without a word: it drops a
quote behind which a cell goes on (`"5" disk`), and takes lines for text that stand between two
quotes which do not belong together.

A cell that does not begin with a quote may hold quotes; they are text. Most files need one pass of
numpy, which sees that every quote begins a cell, ends one or is doubled. Only rows that numpy
cannot clear are gone through cell by cell (some 3 µs a cell).
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
_SPACE = 32
_NEWLINES = b"\r\n"
# from which on lines of text do not have a row's number of delimiters by chance
_TELLING_COLUMNS = 3
_NUMBER_OR_DATE = re.compile(rb"[+-]?\d[\d.:/eTZ+ -]*")
_WORD = re.compile(rb"[!-~]+")
_WITH_DIGIT = re.compile(rb"[A-Za-z]*\d[A-Za-z0-9]*")
_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class CsvMarks:
    """The bytes that mean something in a file; empty where it has no such."""

    delimiter: bytes
    quote: bytes
    escape: bytes = b""

    @cached_property
    def cell(self) -> re.Pattern[bytes]:
        """One cell: what is within quotes, what is behind them, or else all of it; its end."""
        delimiter, quote, escape = map(re.escape, (self.delimiter, self.quote, self.escape))
        escaped = escape + b"." if escape else rb"(?!)"
        parts = (quote, quote, escape, escaped, quote, quote, quote)
        quoted = b"%b((?:[^%b%b]|%b|%b%b)*)%b" % parts
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
    text = content.rstrip(_NEWLINES)
    lines = 1 + text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
    if is_strict and lines <= rows:
        return {}
    newlines = _newlines(letters)
    if is_strict:
        starts, ends = _rows_of_many_lines(letters, newlines, marks, columns)
        found = {start: _row(content, start, marks, columns)[1] for start in starts}
    else:
        found, ends = _rows_with_quotes(content, letters, newlines, marks, columns)
    numbers = _row_numbers(letters, ends, list(found)) - header_rows
    pairs = zip(numbers.tolist(), found.values(), strict=True)
    return {number: (UNDECODABLE, message) for number, message in pairs if message and number >= 0}


def header_damage(content: bytes, marks: CsvMarks, columns: int) -> str:
    """Return what is wrong with the quotes of the header, "" if nothing is: a line break within a
    name is suspect where each of its lines has as many cells as the header."""
    start = len(content) - len(content.lstrip(_NEWLINES))
    stop, message = _row(content, start, marks, columns)
    lines = _LINE_BREAK.split(content[start:stop].rstrip(_NEWLINES))
    are_rows = all(line.count(marks.delimiter) == columns - 1 for line in lines)
    if not message and columns > 1 and len(lines) > 1 and are_rows:
        shown = _shown(content[start:stop])
        message = f"it is {len(lines)} lines long, which look like rows of their own: {shown}"
    return message


def _is_strict(letters: Letters, marks: CsvMarks) -> bool:
    """Whether every other quote stands at the begin of a cell, and those between at the end of one,
    or beside the next."""
    # a doubled quote ends and begins one
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
        # a delimiter that is escaped is text, behind which no cell begins
        if marks.escape and (letters[opening[opening > 1] - 2] == ord(marks.escape)).any():
            return False
    return True


def _quotes(letters: Letters, part: slice, marks: CsvMarks) -> Numbers:
    """Where quotes are in a part that are not escaped."""
    # there is no odd number of escapes before
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
    is_end = is_newline | is_return
    return np.flatnonzero(is_end)


def _row_numbers(letters: Letters, ends: Numbers, starts: Sequence[int]) -> Numbers:
    """The number of the row that begins at each of `starts`; blank lines are none."""
    lengths = np.diff(ends, prepend=-1) - 1
    is_pair = (letters[ends] == _LINE_FEED) & (letters[ends - 1] == _RETURN) & (lengths > 0)
    lengths -= is_pair
    return np.searchsorted(ends[lengths > 0], np.array(starts, np.int64))


def _rows_of_many_lines(
    letters: Letters, newlines: Numbers, marks: CsvMarks, columns: int
) -> tuple[list[int], Numbers]:
    """Where rows begin, of which a cell has a line break and either quotes that are no pairs, a
    line that begins with a number, or one with as many delimiters as a row; and where all rows end.
    Of a strict file."""
    quotes = _quotes(letters, slice(0, None), marks)
    following = np.searchsorted(quotes, newlines)
    parity = following % 2
    is_inside = parity == 1
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
    is_number = np.isin(next_letter, list(b"+-0123456789"))
    is_suspect = is_odd | is_number
    if columns > 1:
        delimiters = np.flatnonzero(letters == ord(marks.delimiter))
        ends_of_lines = np.append(newlines[1:], len(letters))[is_inside]
        first = np.searchsorted(delimiters, breaks)
        is_full = np.searchsorted(delimiters, ends_of_lines) - first == columns - 1
        if columns < _TELLING_COLUMNS:
            # almost every comma of text has a space behind it
            behind = np.minimum(delimiters[first[is_full]] + 1, len(letters) - 1)
            is_full[is_full] = letters[behind] != _SPACE
        is_suspect |= is_full
    suspects = breaks[is_suspect]
    row = np.unique(np.searchsorted(ends, suspects))
    starts = np.concatenate([[0], ends + 1])[row]
    return starts.tolist(), ends


def _rows_with_quotes(
    content: bytes, letters: Letters, newlines: Numbers, marks: CsvMarks, columns: int
) -> tuple[dict[int, str], Numbers]:
    """What is wrong with each row that has a quoted cell, by where it begins; and where all rows
    end."""
    # lines between such rows have no quoted cell, so each is a row
    quotes = _quotes(letters, slice(0, None), marks)
    before = letters[np.maximum(quotes - 1, 0)]
    is_border = np.isin(before, list(marks.delimiter + _NEWLINES)) | (quotes == 0)
    line = np.unique(np.searchsorted(newlines, quotes[is_border]))
    found = {}
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
    lines = len(_LINE_BREAK.split(cell.group().rstrip(_NEWLINES)))
    span = f", which is {lines} lines long" if lines > 1 else ""
    return f"a quote is closed before its cell ends{span}: {_shown(cell.group())}. {advice}"


def _holds_rows(
    content: bytes, cell: re.Match[bytes], start: int, marks: CsvMarks, columns: int
) -> bool:
    """Whether lines within a cell are likely to be rows."""
    # one has as many cells and the quotes within are no pairs; or the first and the last have as
    # many cells, and both the row and a line begin with a number or a date; or all lines have as
    # many cells. Of two columns the last tells little, since a line of text has one comma often:
    # all must begin with a word of ASCII too, as a key is, and be two lines or have keys that
    # look alike (`doc-17`). A delimiter with a space behind it is taken for a comma of text,
    # unless the first line has one.
    if columns < 2:
        return False
    line, *inner = _lines_around(content, cell, start)
    full = [line for line in inner if line.count(marks.delimiter) == columns - 1]
    doubled = content.count(marks.quote * 2, *cell.span(1))
    if full and doubled % 2:
        return True
    if not full or line.count(marks.delimiter) != columns - 1 or full[-1] is not inner[-1]:
        return False
    spaced = marks.delimiter + b" "
    if spaced not in line and any(spaced in each for each in full):
        return False
    keys = [_first_cell(content, start, marks), *(_first_cell(line, 0, marks) for line in full)]
    first_is_number, *are_numbers = map(_NUMBER_OR_DATE.fullmatch, keys)
    if first_is_number and any(are_numbers):
        return True
    return len(full) == len(inner) and (columns >= _TELLING_COLUMNS or _are_keys(keys))


def _are_keys(cells: Sequence[bytes]) -> bool:
    shapes = {_WITH_DIGIT.sub(b"0", cell) for cell in cells}
    are_alike = len(shapes) == 1 and b"0" in shapes.pop()
    return all(map(_WORD.fullmatch, cells)) and (are_alike or len(cells) > 2)


def _lines_around(content: bytes, cell: re.Match[bytes], start: int) -> list[bytes]:
    """The lines that a cell of the row from `start` has a part in, whole."""
    begin, end = cell.span(1)
    before = max(content.rfind(b"\n", start, begin), content.rfind(b"\r", start, begin))
    line_break = _LINE_BREAK.search(content, end)
    stop = line_break.start() if line_break else len(content)
    lines = _LINE_BREAK.split(content[max(before + 1, start) : stop])
    return [line for line in lines if line]


def _first_cell(content: bytes, start: int, marks: CsvMarks) -> bytes:
    """What stands before the first delimiter of a row, without quotes; empty where there is none."""
    end = content.find(marks.delimiter, start)
    return content[start : max(end, start)].strip(marks.quote)


def _shown(text: bytes) -> str:
    shown = repr(text.decode("utf-8", "replace"))
    return shown if len(shown) <= 80 else f"{shown[:77]}…"
