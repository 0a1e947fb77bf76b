"""Texts without addresses, telephone and card numbers, and without more than these."""

from __future__ import annotations

import pyarrow as pa
import pytest

from distill.pools.formats.redaction import redacted
from distill.spec.privacy import Redact

ALL = Redact(kind="redact", find=("email", "phone", "card"))


def made(text, rule=ALL):
    return redacted(pa.chunked_array([[text, None]]), rule).to_pylist()[0]


@pytest.mark.parametrize(
    "address",
    [
        "bob@example.org",
        "a.b+c_d%e@sub.exa-mple.co.uk",
        "O'Neil@x.ie",
        "müller@büro.de",
        "john&jane@x.org",
    ],
)
def test_an_address_is_left(address):
    assert made(f"write to <{address}>, soon") == "write to <[email]>, soon"


@pytest.mark.parametrize(
    "number",
    [
        "+49 171 1234567",
        "+1-555-123-4567",
        "0049 (171) 123 45 67",
        "0171/1234567",
        "(0171) 123 4567",
        "(555) 123-4567",
        "555-123-4567",
        "+442071838750",
        "+49\u00a0171\u202f1234567",  # as typesetting has it
        "+49 - 171 - 1234567",
        "(555)123-4567",
    ],
)
def test_a_telephone_number_is_left(number):
    assert made(f"call {number} now") == "call [phone] now"


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5500005555555559",
        "3782 822463 10005",  # 15 digits
        "4222222222222",  # 13
        "6304 0000 0000 0000 00",  # 18
        "4111\u00a01111\u00a01111\u00a01111",
        "4111   1111\t1111\n1111",
        "4111\u20131111\u20131111\u20131111",
    ],
)
def test_a_card_is_left(number):
    rule = Redact(kind="redact", find=("card",))
    assert made(f"no. 12345 {number} ok", rule) == "no. 12345 [card] ok"
    assert made(f"{number} 4111111111111111", rule) == "[card] [card]"


@pytest.mark.parametrize(
    "text",
    [
        "on 2024-01-02 and 01.02.2024, at 12:30:45",
        "order 4111 1111 1111 1112 of 1,234,567.89 EUR",  # its check digit is wrong
        "version 1.2.3, see https://example.org/@home",
        "12345678901234567890",
        "pi is 3.14159265358979",
        "",
    ],
)
def test_what_is_none_of_them_is_taken_out(text):
    assert made(text) == text


def test_numbers_behind_a_telephones_hide_it():
    assert made("+49 171 1234567 2024 1234 5") == "[phone] 2024 1234 5"


def test_own_expressions_come_after_those_that_take_a_part_of_them():
    rule = Redact(kind="redact", find=("phone",), patterns={"customer": r"K-\d{3}-\d{3}-\d{4}"})
    assert made("of K-555-123-4567", rule) == "of [customer]"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+$", "a" * 200_000 + "b"),
        (r"(\w+\s?)*!", "word " * 50_000),
        (r"(x|x)*y", "x" * 99_999),
    ],
)
def test_an_expression_of_catastrophic_backtracking_holds_a_labelling_up(pattern, text):
    # in Python's own engine these take longer than the universe has
    rule = Redact(kind="redact", patterns={"own": pattern})
    assert made(text, rule) == text


@pytest.mark.parametrize(
    "text",
    [
        "0" * 100_000,
        "1 " * 100_000,
        "+" + "1-" * 100_000,
        "(0" * 50_000,
        "4111 " * 50_000,
        "a@" * 99_999,
        f"+{'1' * 45}x " * 2_000,
        f"(0{'1' * 45}x " * 2_000,
    ],
)
def test_a_hostile_text_holds_a_labelling_up(text):
    assert isinstance(made(text), str)
