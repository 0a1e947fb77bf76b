"""Rules of private columns: what they make of values, and what they refuse."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json

import numpy as np
import pyarrow as pa
import pytest

from distill.core.errors import JobError, PoolError
from distill.pools.formats.masking import (
    MASKED,
    check_rules,
    masked_column,
    masked_schema,
    masked_type,
    plain_rules,
    rules_digest,
    rules_of,
)
from distill.spec.privacy import Bins, Dates, Drop, Hash, Redact, Truncate

KEY = bytes(range(32))
HASH = Hash(kind="hash", key="env:MASK_KEY")
DROP = Drop(kind="drop")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("MASK_KEY", base64.b64encode(KEY).decode())


def made(values, rule, kind=None):
    rejected = {}
    column = masked_column(pa.chunked_array([pa.array(values, kind)]), "it", rule, rejected)
    assert column.type == masked_type(rule)
    return column.to_pylist(), rejected


def test_a_hash_is_not_hmac_sha256_of_the_value():
    expected = hmac.new(KEY, b"bob@example.org", hashlib.sha256).hexdigest()[:32]
    values, rejected = made(["bob@example.org", None, "bob@example.org"], HASH)
    assert values == [expected, None, expected]
    assert not rejected


def test_one_value_has_two_hashes_in_files_of_two_types():
    hashes = [made([7], HASH, kind)[0] for kind in (pa.int32(), pa.int64(), pa.uint8())]
    hashes.append(made(["7"], HASH)[0])
    hashes.append(made(["7"], HASH, pa.dictionary(pa.int8(), pa.string()))[0])
    assert hashes == [hashes[0]] * 5


def test_a_number_falls_into_another_bin():
    ages = [-3, 0, 17, 18, 64.5, 65, 200, None, float("nan")]
    values, rejected = made(ages, Bins(kind="bins", edges=(0, 18, 65)))
    assert values == [0, 0, 0, 18, 18, 65, 65, None, None]
    assert list(rejected) == [8]
    values, _ = made([-3, 0, 37, 40], Bins(kind="bins", width=10))
    assert values == [-10, 0, 30, 40]
    values, _ = made([0.3, -0.1], Bins(kind="bins", width=0.25))
    assert values == [0.25, -0.25]


@pytest.mark.parametrize(
    ("to", "text"), [("year", "2024"), ("quarter", "2024-Q4"), ("month", "2024-12"), ("day", None)]
)
def test_a_date_keeps_more_than_its_span(to, text):
    rule = Dates(kind="dates", to=to)
    day = datetime.date(2024, 12, 5)
    text = text or "2024-12-05"
    moment = datetime.datetime(2024, 12, 5, 23, 59, tzinfo=datetime.timezone.utc)
    for values, kind in [([day], pa.date32()), ([moment], pa.timestamp("us", "UTC"))]:
        assert made(values, rule, kind)[0] == [text]
    assert made(["2024-12-05T23:59:01Z", None], rule)[0] == [text, None]


def test_what_a_rule_cannot_mask_is_quoted_or_passed_on():
    values, rejected = made(["born in secret", "2024-13-01", "2024-01-02"], Dates(kind="dates"))
    assert values == [None, None, "2024-01"]
    assert {code for code, _ in rejected.values()} == {MASKED}
    values, more = made(["forty", "40"], Bins(kind="bins", width=10))
    assert values == [None, 40]
    words = [message for _, message in (rejected | more).values()]
    assert all("secret" not in each and "forty" not in each for each in words)


def test_a_text_that_is_no_utf_8_stops_the_file():
    broken = pa.array([b"\xff\xfe", b"fine"], pa.binary()).view(pa.string())
    rejected = {}
    column = masked_column(
        pa.chunked_array([broken]), "it", Truncate(kind="truncate", letters=2), rejected
    )
    assert column.to_pylist() == [None, "fi"]
    assert list(rejected) == [0]


def test_letters_are_counted_in_bytes():
    assert made(["Müller", "x", None], Truncate(kind="truncate", letters=2))[0] == ["Mü", "x", None]


@pytest.mark.parametrize(
    "rule",
    [HASH, Bins(kind="bins", width=1), Dates(kind="dates"), Truncate(kind="truncate", letters=1)],
)
def test_a_file_without_rows_or_values_has_another_type(rule):
    assert made([], rule, pa.string())[0] == []
    assert made([None, None], rule, pa.null())[0] == [None, None]


def test_a_dropped_column_is_in_the_schema():
    schema = pa.schema([("email", pa.string()), ("age", pa.int32()), ("x", pa.float32())])
    rules = {"email": DROP, "age": Bins(kind="bins", width=0.5)}
    assert masked_schema(schema, rules) == pa.schema([("age", pa.float64()), ("x", pa.float32())])


def test_rules_come_back_as_others():
    redact = Redact(kind="redact", find=("email",), patterns={"ticket": r"T-\d+"})
    rules = {"a": HASH, "b": redact, "c": DROP}
    assert rules_of(json.dumps(plain_rules(rules))) == rules


def test_another_key_or_rule_has_the_same_digest(monkeypatch):
    same = [rules_digest({"a": HASH})]
    monkeypatch.setenv("ELSEWHERE", base64.b64encode(KEY).decode())
    same.append(rules_digest({"a": Hash(kind="hash", key="env:ELSEWHERE"), "b": DROP}))
    monkeypatch.setenv("ELSEWHERE", base64.b64encode(KEY[::-1]).decode())
    other = rules_digest({"a": Hash(kind="hash", key="env:ELSEWHERE")})
    cut = rules_digest({"a": Truncate(kind="truncate", letters=3)})
    assert same[0] == same[1]
    assert len({same[0], other, cut}) == 3
    assert rules_digest({"b": DROP}) == ""  # nobody sees anything else than before


@pytest.mark.parametrize(
    ("column", "rule", "words"),
    [
        ("emial", DROP, "no column 'emial'"),
        ("pixels", Truncate(kind="truncate", letters=3), "cannot be masked by kind = 'truncate'"),
        ("pixels", HASH, "cannot be masked by kind = 'hash'"),
        ("age", Redact(kind="redact", find=("email",)), "column 'age' of type int64"),
        ("email", Redact(kind="redact", patterns={"t": "(?=x)"}), "email.patterns.t"),
        ("email", Redact(kind="redact", patterns={"t": "x*"}), "matches the empty text"),
        ("email", Redact(kind="redact", patterns={"t": "("}), "missing )"),
    ],
)
def test_a_wrong_rule_is_found_when_rows_are_read(column, rule, words):
    schema = pa.schema(
        [("email", pa.string()), ("age", pa.int64()), ("pixels", pa.list_(pa.int8()))]
    )
    with pytest.raises(PoolError) as raised:
        check_rules({column: rule}, schema, "pools.p")
    assert words in str(raised.value)


def test_a_missing_key_hashes_with_none(monkeypatch):
    monkeypatch.delenv("MASK_KEY")
    with pytest.raises(JobError, match="env:MASK_KEY is missing"):
        made(["x"], HASH)
    with pytest.raises(JobError, match=r"mask\.a: the key env:MASK_KEY is missing"):
        rules_digest({"a": HASH})


def test_hashing_is_done_value_by_value_where_few_differ(monkeypatch):
    calls = []
    digest = hmac.digest

    def counted(*arguments):
        calls.append(arguments)
        return digest(*arguments)

    monkeypatch.setattr(hmac, "digest", counted)
    made(np.repeat(["a", "b"], 500).tolist(), HASH)
    assert len(calls) == 2
