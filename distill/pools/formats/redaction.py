"""Texts without what is found in them: addresses, telephone and card numbers, and whatever the
user's own regular expressions match.

Expressions run in RE2, whose time grows with the text alone, so neither a text nor an expression
can hold a labelling up. What needs more than an expression (digits to be counted, a card's check
digit) is looked at in Python, in the few texts that have as many digits, by expressions of bounded
length.

A pattern finds what looks like one. Names of people, or an address written in words, need a model
or a column less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.spec.privacy import Redact

_EMAIL = r"[\p{L}\p{N}._%+'&!#$*?^{|}~\-]+@[\p{L}\p{N}\-]+(?:\.[\p{L}\p{N}\-]+)+"
# what a text has that may hold a number of a card or a telephone
_MANY_DIGITS = r"\d(?:\D{0,4}\d){6}"
_DASHES = "\\-\u2010-\u2015\u2212"
# as texts that were typeset or copied from a table have them
_DIGIT_GROUPS = re.compile(rf"\d+(?:[\s{_DASHES}]{{1,4}}\d+)*")
_GROUP = re.compile(r"\d+")
_CARD_DIGITS = range(13, 20)
_MOST_GROUPS = 19
# groups of digits have something between them: what could be divided in many ways is tried in all
_BETWEEN = rf"(?:[./(){_DASHES}]|[^\S\n]){{1,4}}"
_PHONE = re.compile(
    r"(?<![\w+])(?:"
    rf"(?:\+|00)[1-9]\d{{0,14}}(?:{_BETWEEN}\d{{1,14}}){{0,8}}"  # +49 (171) 123-4567
    rf"|\(?0\d{{1,14}}(?:{_BETWEEN}\d{{2,8}}){{0,5}}"  # (0171) 123 4567
    rf"|(?:\(\d{{3}}\)|\d{{3}}(?!\d))(?:{_BETWEEN})?\d{{3}}{_BETWEEN}\d{{4}}"  # (555) 123-4567
    r")(?!\w)"
)
_PHONE_DIGITS = range(7, 16)
_DATE = re.compile(r"\d{1,2}[./\-]\d{1,2}[./\-]\d{2,4}")


def redacted(texts: pa.ChunkedArray, rule: Redact) -> pa.ChunkedArray:
    """Return texts with `[name]` in place of all that the rule finds. Nulls stay."""
    for name, pattern in rule.patterns.items():
        texts = pc.replace_substring_regex(texts, pattern, f"[{name}]")
    if "email" in rule.find:
        texts = pc.replace_substring_regex(texts, _EMAIL, "[email]")
    # cards before telephones, which would take a part of them
    if "card" in rule.find:
        texts = _looked_at(texts, _without_cards)
    if "phone" in rule.find:
        texts = _looked_at(texts, _without_phones)
    return texts


def check_pattern(pattern: str, where: str) -> None:
    """Refuse an expression that RE2 refuses, or that matches "" anywhere. Raises PoolError."""
    try:
        matches_nothing = pc.match_substring_regex(pa.array([""]), pattern)[0].as_py()
    except pa.ArrowException as error:
        raise PoolError(
            f"{where} = {pattern!r}: {error}. Expressions are RE2's: without look-around and"
            " back-references, which no limit of time can be given for."
        ) from None
    if matches_nothing:
        raise PoolError(
            f"{where} = {pattern!r}: matches the empty text, so it would be found everywhere."
            " Let it match one letter at least."
        )


def _looked_at(texts: pa.ChunkedArray, change: Callable[[str], str]) -> pa.ChunkedArray:
    """The texts, those changed that have digits enough."""
    flags = pc.fill_null(pc.match_substring_regex(texts, _MANY_DIGITS), False)
    if not pc.any(flags).as_py():
        return texts
    found = [change(text) for text in texts.filter(flags).to_pylist()]
    whole = texts.combine_chunks()
    changed = pc.replace_with_mask(whole, flags.combine_chunks(), pa.array(found, pa.string()))
    return pa.chunked_array([changed])


def _without_cards(text: str) -> str:
    return _DIGIT_GROUPS.sub(_without_cards_in, text)


def _without_cards_in(run: re.Match[str]) -> str:
    """A run of groups of digits without those that are cards."""
    # whole groups, so that a number beside a card hides none
    text = run.group()
    parts = []
    stop = 0
    for first, last in _cards(text):
        parts += [text[stop:first], "[card]"]
        stop = last
    return "".join([*parts, text[stop:]])


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Where cards begin and end in a run of groups of digits."""
    matches = _GROUP.finditer(text)
    groups = list(matches)
    number = 0
    while number < len(groups):
        after = _card_end(groups, number)
        if after is None:
            number += 1
            continue
        yield groups[number].start(), groups[after - 1].end()
        number = after


def _card_end(groups: list[re.Match[str]], first: int) -> int | None:
    """The number of the group behind the longest card that begins with a group; None for none."""
    digits = ""
    found = None
    for number in range(first, min(first + _MOST_GROUPS, len(groups))):
        group = groups[number]
        digits += group.group()
        if len(digits) >= _CARD_DIGITS.stop:
            break
        if len(digits) in _CARD_DIGITS and _is_luhn(digits):
            found = number + 1
    return found


def _is_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _without_phones(text: str) -> str:
    return _PHONE.sub(_without_phone, text)


def _without_phone(found: re.Match[str]) -> str:
    text = found.group()
    if _DATE.fullmatch(text):
        return text
    digits = 0
    end = 0
    # whole groups, so that a number behind a telephone's hides none
    for group in _GROUP.finditer(text):
        digits += len(group.group())
        if digits >= _PHONE_DIGITS.stop:
            break
        if digits in _PHONE_DIGITS:
            end = group.end()
    return "[phone]" + text[end:].removeprefix(")") if end else text
