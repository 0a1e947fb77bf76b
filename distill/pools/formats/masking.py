"""What a pool's private columns leave the reader as.

A pool's rules travel with its format (`formats.options`), so every reader of a pool has them: a
driver, a labeler's actor, a training's rank, a selection's reader. They are applied in one place,
where a shard is opened (`formats.masked`). A masked column has one type, which its rule decides,
whatever the files have.

What a rule cannot make anything of (a text that is no date) is null, and its row is rejected
without a word of what stood there.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from distill.core.errors import JobError, PoolError
from distill.core.schema import digest
from distill.core.secret_keys import key_check, secret_key
from distill.pools.formats.base import Rejected, is_text, valid_text, value_type
from distill.pools.formats.redaction import check_pattern, redacted
from distill.spec.privacy import Bins, Dates, Drop, Hash, Mask, Redact, Truncate

Rules = Mapping[str, Mask]
"""By column."""

MASKED = "masked"
"""Reason code of a row whose private value is none that its rule could mask."""
_RULES: TypeAdapter[dict[str, Mask]] = TypeAdapter(dict[str, Mask])
_HASH_LETTERS = 32
_ISO_DATE = r"^\s*(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01]))?"
_MONTHS_OF_A_QUARTER = 3


def plain_rules(rules: Rules) -> dict[str, Any]:
    """Return rules as plain values, keys as references."""
    return {
        name: rule.model_dump(mode="json", exclude_defaults=True) for name, rule in rules.items()
    }


# the same text for each chunk of a pool
@functools.lru_cache(maxsize=64)
def rules_of(text: str) -> Rules:
    """Return the rules of which `plain_rules` made what is `text` in JSON."""
    return _RULES.validate_json(text)


def rules_digest(rules: Rules) -> str:
    """Return by what rules are known that change what is read: "" where none does. Another key is
    another rule. Raises JobError where a key is missing."""
    masks = {name: rule for name, rule in rules.items() if not isinstance(rule, Drop)}
    plain = {name: _identity(name, rule) for name, rule in masks.items()}
    return digest(plain) if plain else ""


def _identity(name: str, rule: Mask) -> dict[str, Any]:
    """What a rule makes of values: where its key lies is no matter, which one it is does."""
    plain = rule.model_dump(mode="json", exclude_defaults=True, exclude={"key"})
    if isinstance(rule, Hash):
        try:
            plain["key"] = key_check(rule.key)
        except JobError as error:
            raise JobError(f"mask.{name}: {error}") from None
    return plain


def check_rules(rules: Rules, schema: pa.Schema, where: str) -> None:
    """Refuse rules that cannot be kept on files with that schema: a column that they lack, or of
    another type, an expression that is none, a missing key. Raises PoolError, JobError."""
    for name, rule in rules.items():
        number = schema.get_field_index(name)
        if number < 0:
            names = ", ".join(schema.names)
            raise PoolError(
                f"{where}: no column {name!r}, which the job calls private. The files have:"
                f" {names}. Correct its name, or take it out."
            )
        require_maskable(name, schema.field(number).type, rule)
        if isinstance(rule, Redact):
            for pattern_name, pattern in rule.patterns.items():
                check_pattern(pattern, f"{where}: {name}.patterns.{pattern_name}")
        if isinstance(rule, Hash):
            secret_key(rule.key)


def require_maskable(name: str, kind: pa.DataType, rule: Mask) -> None:
    """Refuse a column whose type a rule is not for. Raises PoolError."""
    kind = value_type(kind)
    is_date = pa.types.is_temporal(kind) and not pa.types.is_duration(kind)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    fits = {
        "drop": True,
        "hash": is_text(kind) or is_number or is_date or _is_bytes(kind),
        "truncate": is_text(kind),
        "bins": is_number or is_text(kind),
        "dates": (is_date and not pa.types.is_time(kind)) or is_text(kind),
        "redact": is_text(kind),
    }
    if not fits[rule.kind] and not pa.types.is_null(kind):
        raise PoolError(
            f"column {name!r} of type {kind} cannot be masked by kind = {rule.kind!r}."
            " Choose another rule, or drop it."
        )


def masked_type(rule: Mask) -> pa.DataType:
    """Return the type that a masked column has, whatever the files have."""
    if isinstance(rule, Bins):
        return pa.int64() if rule.are_whole else pa.float64()
    return pa.string()


def masked_schema(schema: pa.Schema, rules: Rules) -> pa.Schema:
    """Return the schema as readers see it: no dropped columns, others in the types of their
    rules."""
    fields = []
    for field in schema:
        rule = rules.get(field.name)
        if rule is None:
            fields.append(field)
        elif not isinstance(rule, Drop):
            fields.append(pa.field(field.name, masked_type(rule)))
    return pa.schema(fields)


def masked_column(
    column: pa.ChunkedArray, name: str, rule: Mask, rejected: Rejected
) -> pa.ChunkedArray:
    """Return a column as its rule makes it, in `masked_type`; rows of which it can make nothing are
    null and `rejected`. Raises PoolError for a type that the rule is not for."""
    require_maskable(name, column.type, rule)
    column = column.cast(value_type(column.type))
    if pa.types.is_null(column.type):
        return column.cast(masked_type(rule))
    if is_text(column.type):
        column = valid_text(column, name, rejected).cast(pa.string())
    before = column.null_count
    try:
        made = _made(column, rule).cast(masked_type(rule))
    except pa.ArrowException as error:  # whose words may quote a value
        what = f"column {name!r} of type {column.type}"
        raise PoolError(
            f"{what} cannot be masked by kind = {rule.kind!r} ({type(error).__name__})."
            " Choose another rule, or drop it."
        ) from None
    if isinstance(made, pa.Array):
        made = pa.chunked_array([made])
    if made.null_count > before:
        lost = pc.and_(pc.is_null(made), pc.is_valid(column)).to_numpy()
        message = f"column {name!r} holds what kind = {rule.kind!r} cannot mask (it is not shown)"
        for row in np.flatnonzero(lost).tolist():
            rejected.setdefault(row, (MASKED, message))
    return made


def _made(column: pa.ChunkedArray, rule: Mask) -> pa.ChunkedArray:
    if isinstance(rule, Hash):
        return _hashed(column, rule)
    if isinstance(rule, Truncate):
        return pc.utf8_slice_codeunits(column, 0, rule.letters)
    if isinstance(rule, Bins):
        return _binned(column, rule)
    if isinstance(rule, Dates):
        return _spans(column, rule)
    assert isinstance(rule, Redact)
    return redacted(column, rule)


def _hashed(column: pa.ChunkedArray, rule: Hash) -> pa.ChunkedArray:
    key = secret_key(rule.key)
    is_bytes = is_text(column.type) or _is_bytes(column.type)
    # as text, so that 7 is the same of 32 and of 64 bits
    plain = column if is_bytes else column.cast(pa.string())
    encoded = plain.combine_chunks().dictionary_encode()
    values = encoded.dictionary.cast(pa.large_binary()).to_pylist()
    hashes = [hmac.digest(key, value, "sha256").hex()[:_HASH_LETTERS] for value in values]
    return pa.chunked_array([pa.array(hashes, pa.string()).take(encoded.indices)])


def _binned(column: pa.ChunkedArray, rule: Bins) -> pa.ChunkedArray:
    numbers, is_number = _numbers(column)
    if rule.edges is not None:
        edges = np.array(rule.edges)
        places = np.searchsorted(edges, numbers, side="right") - 1
        borders = edges[np.maximum(places, 0)]
    else:
        width = float(rule.width or 1)
        borders = np.floor(numbers / width) * width
    if rule.are_whole:
        is_number &= np.abs(borders) < 2.0**63
        borders = np.where(is_number, borders, 0).astype(np.int64)
    return pa.chunked_array([pa.array(borders, mask=~is_number)])


def _numbers(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """A column as float64, and which rows are finite numbers; of text those that say one."""
    if is_text(column.type):
        found = [_number(text) for text in column.to_pylist()]
        numbers = np.array(found, np.float64)
    else:
        numbers = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy()
    is_number = np.isfinite(numbers)
    return np.where(is_number, numbers, 0.0), is_number


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _spans(column: pa.ChunkedArray, rule: Dates) -> pa.Array:
    texts = column.combine_chunks()
    if not is_text(texts.type):
        texts = pc.strftime(texts.cast(pa.timestamp("s"), safe=False), "%Y-%m-%d")
    found = pc.extract_regex(texts, _ISO_DATE)
    year, month, day = (pc.struct_field(found, [number]) for number in range(3))
    if rule.to == "year":
        return year
    if rule.to == "month":
        return pc.binary_join_element_wise(year, month, "-")
    if rule.to == "day":
        whole = pc.if_else(pc.equal(day, ""), None, day)
        return pc.binary_join_element_wise(year, month, whole, "-")
    months = pc.subtract(month.cast(pa.int64()), 1)
    quarter = pc.add(pc.divide(months, _MONTHS_OF_A_QUARTER), 1)
    return pc.binary_join_element_wise(year, quarter.cast(pa.string()), "-Q")


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )
