"""What a driver takes when its own part is done: fragments that nobody has committed.

Each uncommitted fragment is held by the driver whose living lease covers it: who has taken it over,
else who has its part. What nobody holds comes first. Of what another driver holds, the half is
taken that it would come to last, and in the opposite order: two drivers of one run meet once, in
its middle, and what lies behind is committed by then. So what two compute is bounded by what is in
work where they meet.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distill.labels.manifest import Integers, Manifest, fragment_codes, parsed_code
from distill.labels.objects import newer_commits
from distill.labels.part_leases import PartLease
from distill.labels.parts import Part, part_of_fragments
from distill.labels.pending import PendingFragments
from distill.storage.base import Storage

NOBODY = -1


def own_fragments(left: PendingFragments, part: Part) -> PendingFragments:
    """Return those of `left` that belong to the part."""
    parts = part_of_fragments(left.inventory, left.cut, part.count)
    assigned = parts[left.positions]
    is_own = assigned == part.number
    positions = left.positions[is_own]
    return replace(left, positions=positions)


def still_uncommitted(
    left: PendingFragments, folder: Storage, entries: Manifest
) -> PendingFragments:
    """Return those of `left` without a commit: one LIST, and no commit is read. `entries` are the
    commits that were known when `left` was found."""
    newest: dict[int, int] = {}
    for fragment, generation in newer_commits(folder.folder("commits"), entries):
        code = parsed_code(fragment)
        newest[code] = max(generation, newest.get(code, generation))
    pending = pending_codes(left)
    codes = pending.tolist()
    is_left = [newest.get(code, -1) < left.generation(code) for code in codes]
    return replace(left, positions=left.positions[np.array(is_left, np.bool_)])


def pending_codes(left: PendingFragments) -> Integers:
    """Return the code of each fragment."""
    cut = left.cut
    return fragment_codes(cut.shard[left.positions], cut.number[left.positions])


def holders(left: PendingFragments, leases: Sequence[PartLease]) -> Integers:
    """Return which of `leases` holds each fragment; `NOBODY` where none does."""
    codes = pending_codes(left)
    found: Integers = np.full(len(codes), NOBODY)
    parts = {}
    # the narrowest last: it was taken over from a wider one
    order = sorted(range(len(leases)), key=lambda each: leases[each].first - leases[each].last)
    takeovers = [each for each in order if leases[each].is_takeover]
    for number, lease in enumerate(leases):
        if lease.is_takeover:
            continue
        count = lease.part.count
        if count not in parts:
            every = part_of_fragments(left.inventory, left.cut, count)
            parts[count] = every[left.positions]
        found[parts[count] == lease.part.number] = number
    for number in takeovers:
        lease = leases[number]
        found[(codes >= lease.first) & (codes <= lease.last)] = number
    return found


def choose_takeover(
    left: PendingFragments, leases: Sequence[PartLease], in_work: int, draw: random.Random
) -> PendingFragments | None:
    """Choose what to take of `left`, in the order of work; None where all of it is in work.

    `leases` are those of other drivers that live, each with `in_work` fragments that are not worth
    taking. Among offers of about one size, one is drawn: drivers that look at the same moment
    should not all choose the same."""
    if not len(left):
        return None
    holder = holders(left, leases)
    borders = np.flatnonzero(np.diff(holder)) + 1
    runs = np.split(np.arange(len(holder)), borders)
    # whole, since each takeover begins with making the labeler anew: others take halves of it
    unheld = [run for run in runs if holder[run[0]] == NOBODY]
    offers = unheld or [_later_half(run, leases[holder[run[0]]], in_work) for run in runs]
    most = max(map(len, offers))
    if most == 0:
        return None
    chosen = draw.choice([offer for offer in offers if 2 * len(offer) > most])
    positions = left.positions[chosen]
    return replace(left, positions=positions)


def _later_half(run: Integers, lease: PartLease, in_work: int) -> Integers:
    size = max(0, len(run) - in_work + 1) // 2
    if lease.begin > lease.end:
        return run[:size]
    return run[len(run) - size :][::-1]


def meets(mine: PartLease, others: Sequence[PartLease]) -> bool:
    """Whether one of `others` has taken over a fragment of mine."""
    return any(
        each.is_takeover and each.first <= mine.last and mine.first <= each.last for each in others
    )
