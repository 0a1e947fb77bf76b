from __future__ import annotations

import operator

import pytest

from distill.engine.grouping import fixed_groups, fold_group


@pytest.mark.parametrize(
    ("items", "groups", "length"), [(1, 1, 1), (256, 256, 1), (257, 129, 2), (1000, 250, 4)]
)
def test_groups_lose_items_or_depend_on_more_than_their_number(items, groups, length):
    cut = fixed_groups(range(items))
    assert [item for group in cut for item in group] == list(range(items))
    assert len(cut) == groups
    assert {len(group) for group in cut[:-1]} <= {length}


def test_a_group_is_merged_out_of_order():
    assert fold_group(lambda item: f"<{item}>", operator.add, "abc") == "<a><b><c>"
