"""Dataclasses as the plain values that JSON holds, and back again."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Union, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from typing_extensions import Self


class Plain:
    """What a dataclass has that is stored, and may hold others: alone, in sequences, by name."""

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(cast("DataclassInstance", self))

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Return the value of which `to_plain` made `plain`; a key that it lacks has its default."""
        return cls(**_fields(cls, plain))


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _fields(kind: Any, plain: Mapping[str, Any]) -> dict[str, Any]:
    hints = _hints(kind)
    return {name: _read(hints.get(name), each) for name, each in plain.items()}


def _read(hint: Any, plain: Any) -> Any:
    """Return what a field of this type holds, of its plain value."""
    if plain is None or not _holds(hint):
        return plain
    if isinstance(hint, type) and is_dataclass(hint):
        # not each that is only held by others is a Plain
        return hint.from_plain(plain) if issubclass(hint, Plain) else hint(**_fields(hint, plain))
    origin = get_origin(hint)
    # of `X | None`, `tuple[X, ...]`, `Sequence[X]` and `Mapping[str, X]`, in any order
    (held,) = filter(_holds, get_args(hint))
    if origin in (Union, types.UnionType):
        return _read(held, plain)
    if issubclass(origin, Mapping):
        return {name: _read(held, each) for name, each in plain.items()}
    assert issubclass(origin, Sequence)
    return tuple(_read(held, each) for each in plain)


@cache
def _holds(hint: Any) -> bool:
    """Whether a dataclass is somewhere in what a field of this type holds."""
    return is_dataclass(hint) or any(map(_holds, get_args(hint)))
