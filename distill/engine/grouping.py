"""The order in which a fold sums, the same on every engine.

Items are cut into groups by their number alone. A group is folded in order, and groups are merged
in order, so floating-point sums are the same to the last bit however many work on them (on the same
kind of machine, with BLAS on one thread).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce

from distill.engine.protocol import Item, State

# a number of the fold and not of the cluster: it decides the order of the sums
_GROUPS = 256


def fixed_groups(items: Sequence[Item]) -> list[Sequence[Item]]:
    """Cut items into at most `_GROUPS` runs of one length, the last one shorter."""
    length = -(-len(items) // _GROUPS)
    return [items[start : start + length] for start in range(0, len(items), length)]


def fold_group(
    partial: Callable[[Item], State], merge: Callable[[State, State], State], items: Iterable[Item]
) -> State:
    """Return merge(…, partial(item)) over one group, holding two states at most."""
    states = map(partial, items)
    return reduce(merge, states)
