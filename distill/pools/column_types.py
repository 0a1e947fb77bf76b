"""What types the columns of a pool's files have: each file must have what the job reads, and a key
has one type in all of them, which the inventory pins.

A label set's tables are put together, so a key that is an integer in one file and text in another
cannot be copied as it is. A file in which a column is null throughout, or whose integers are
narrower, is read as the others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import pyarrow as pa

from distill.core.errors import PoolError
from distill.pools.features import check_feature_types
from distill.pools.formats.base import check_columns, is_text, value_type
from distill.pools.formats.options import MIXED
from distill.spec.pools import Pool

Examples = dict[pa.Schema, str]  # the distinct schemas of files, each with the URL of the first one

_MOST_NAMED = 3


def check_schemas(examples: Examples, spec: Pool, pool: str) -> None:
    """Refuse files that lack a column, or hold something else in it. Raises PoolError."""
    problems = []
    for schema, where in examples.items():
        try:
            check_columns(schema, spec.read_columns, where)
            if spec.features is not None:
                check_feature_types(schema, spec.features, where)
        except PoolError as error:
            problems.append(str(error))
    if problems:
        shown = problems[:_MOST_NAMED]
        lines = "\n  ".join(shown)
        raise PoolError(f"pools.{pool}: {lines}")


def pinned_types(examples: Examples, spec: Pool, pool: str) -> dict[str, str]:
    """Return the type of each column that differs between files, `MIXED` where none holds all of
    its values. Raises PoolError where that is a key."""
    names = {name for schema in examples for name in schema.names}
    return dict(_pinned(sorted(names), examples, spec, pool))


def _pinned(
    names: Sequence[str], examples: Examples, spec: Pool, pool: str
) -> Iterator[tuple[str, str]]:
    for name in names:
        found = _types_of(name, examples)
        if len(found) < 2:
            continue
        common = reduce(_common_type, found)
        if common is None and name in spec.keys:
            raise _several_types(name, found, pool)
        # what could be no key in any file is understood file by file
        if common is None and any(map(_may_be_key, found)):
            yield name, MIXED
        elif common is not None and _may_be_key(common):
            yield name, str(common)


def grown_types(listed: pa.Schema, examples: Examples, spec: Pool, pool: str) -> dict[str, str]:
    """Return the pinned types of a pool that grew by `examples`, of which a listed file has the
    schema `listed`: what was listed keeps its types, since labels have them. Raises PoolError."""
    types = pinned_types({listed: "the files that were listed"} | examples, spec, pool)
    for name in spec.keys:
        before = str(value_type(listed.field(name).type)) if name in listed.names else None
        if types.get(name, before) != before:
            raise PoolError(
                f"pools.{pool}.keys: {name!r} is of type {types[name]} in new files, and {before} in"
                " those that were listed. Store it as it was."
            )
    return types


def _may_be_key(kind: pa.DataType) -> bool:
    return is_text(kind) or bool(pa.types.is_integer(kind))


def _types_of(name: str, examples: Examples) -> dict[pa.DataType, str]:
    """The distinct types of a column, each with the URL of the first file that has it."""
    found: dict[pa.DataType, str] = {}
    for schema, where in examples.items():
        if schema.names.count(name) == 1:
            found.setdefault(value_type(schema.field(name).type), where)
    return found


def _several_types(name: str, found: Mapping[pa.DataType, str], pool: str) -> PoolError:
    types = ", ".join(f"{kind} in {where}" for kind, where in list(found.items())[:_MOST_NAMED])
    return PoolError(
        f"pools.{pool}.keys: {name!r} is of several types: {types}."
        " Store it as one in all files, or take it out."
    )


def require_pinned(types: Mapping[str, str], keys: Sequence[str], where: str) -> None:
    """Refuse keys that were listed with several types. Raises PoolError."""
    mixed = [name for name in keys if types.get(name) == MIXED]
    if mixed:
        raise PoolError(
            f"{where}: the key {mixed[0]!r} is of several types in the pool's files."
            " Store it as one in all files, under another root, or take it out."
        )


def _common_type(one: pa.DataType | None, other: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both as they are; None where there is none."""
    if one is None or one == other:
        return one
    for narrow, wide in ((one, other), (other, one)):
        if pa.types.is_null(narrow):
            return wide
    if is_text(one) and is_text(other):  # of other sizes, or views
        return pa.string()
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        promoted = np.promote_types(one.to_pandas_dtype(), other.to_pandas_dtype())
        return pa.from_numpy_dtype(promoted) if promoted.kind in "iu" else None
    return None
