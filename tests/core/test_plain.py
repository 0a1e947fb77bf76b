"""What is stored of results is read as it was: what is nested, unknown or of an earlier version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from distill.core.plain import Plain


@dataclass(frozen=True)
class Leaf:
    number: float


@dataclass(frozen=True)
class Branch(Plain):
    name: str
    leaves: Sequence[Leaf]
    end: Leaf | None = None


@dataclass(frozen=True)
class Fruit:
    leaf: Leaf


@dataclass(frozen=True)
class Tree(Plain):
    branches: tuple[Branch, ...]
    named: Mapping[str, Branch] = field(default_factory=dict)
    curve: Sequence[Sequence[float]] = ()
    fruits: Sequence[Fruit] | None = None


TREE = Tree(
    (Branch("a", (Leaf(1.5),)), Branch("b", (), Leaf(2.0))),
    {"a": Branch("a", ())},
    (),
    (Fruit(Leaf(3.0)),),
)


def test_what_is_nested_is_read_as_dictionaries():
    assert Tree.from_plain({**json.loads(json.dumps(TREE.to_plain())), "curve": ()}) == TREE


def test_a_field_of_later_is_missing_or_one_of_another_program_is_dropped():
    assert Tree.from_plain({"branches": []}) == Tree(())
    with pytest.raises(TypeError, match="unheard"):
        Tree.from_plain({"branches": [], "unheard": 1})
