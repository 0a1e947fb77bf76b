from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.labels.manifest import Manifest, entries_table, fragment_code
from distill.labels.part_leases import PartLease
from distill.labels.parts import Part
from distill.labels.pending import find_pending
from distill.labels.takeover import (
    NOBODY,
    choose_takeover,
    holders,
    meets,
    own_fragments,
    pending_codes,
    still_uncommitted,
)
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.labels.test_parts import CUT, listed, segments

NOTHING = Manifest(entries_table([]))
ME = Part(0, 4)


def left_of(inventory, replaced=None):
    return find_pending(NOTHING, inventory, CUT, replaced or {})


@pytest.fixture
def left():
    """40 fragments of one file, ten a part."""
    return left_of(listed([[[64] * 40]]))


def without(left, *numbers):
    return replace(left, positions=np.setdiff1d(left.positions, numbers))


def choose(left, *leases, in_work=1):
    chosen = choose_takeover(left, leases, in_work, random.Random(0))
    return None if chosen is None else chosen.positions.tolist()


@given(segments, st.integers(1, 9))
def test_parts_together_have_more_or_less_than_all(segments, count):
    left = left_of(listed(segments))
    own = [own_fragments(left, Part(number, count)).positions for number in range(count)]
    assert sorted(np.concatenate(own).tolist()) == left.positions.tolist()


def test_a_fragment_that_was_taken_over_is_still_its_parts(left):
    leases = [
        PartLease(Part(1, 4)),
        PartLease(Part(2, 4), 14, 19),
        PartLease(Part(3, 4), 17, 16),
    ]
    held = holders(left, leases).tolist()
    assert held[:10] == [NOBODY] * 10
    assert held[10:20] == [0] * 4 + [1] * 2 + [2] * 2 + [1] * 2
    assert held[20:] == [NOBODY] * 20


def test_what_nobody_holds_waits(left):
    own_done = without(left, *range(10))
    at_work = [PartLease(Part(1, 4)), PartLease(Part(3, 4))]
    assert choose(own_done, *at_work) == list(range(20, 30))
    assert choose(own_done) == list(range(10, 40))


def test_two_drivers_of_one_run_work_side_by_side(left):
    """Who takes over begins where the other ends."""
    rest = without(left, *range(13), *range(20, 40))
    assert choose(rest, PartLease(Part(1, 4))) == [19, 18, 17]
    # and who takes over from that one, which goes backwards, begins where it ends
    taken = PartLease(Part(2, 4), fragment_code(0, 19), fragment_code(0, 13))
    assert choose(rest, PartLease(Part(1, 4)), taken) == [13, 14, 15]


def test_what_is_in_work_is_taken(left):
    rest = without(left, *range(19), *range(20, 40))
    assert choose(rest, PartLease(Part(1, 4))) is None
    rest = without(left, *range(16), *range(20, 40))
    assert choose(rest, PartLease(Part(1, 4)), in_work=4) is None
    assert choose(rest, PartLease(Part(1, 4)), in_work=2) == [19]
    assert choose(without(left, *range(40))) is None


def test_drivers_that_look_at_one_moment_choose_the_same(left):
    rest = without(left, *range(10))
    leases = [PartLease(Part(number, 4)) for number in (1, 2, 3)]
    chosen = {choose_takeover(rest, leases, 1, random.Random(seed)) for seed in range(20)}
    assert len({tuple(each.positions) for each in chosen}) == 3


def test_an_overlap_is_not_seen():
    mine = PartLease(ME, 19, 13)
    assert meets(mine, [PartLease(Part(1, 4), 19, 19)])
    assert meets(mine, [PartLease(Part(1, 4), 10, 13)])
    assert not meets(mine, [PartLease(Part(1, 4), 20, 24), PartLease(Part(1, 4))])


@pytest.mark.parametrize("generation", [0, 1])
def test_a_look_reads_commits_or_takes_an_old_generation_for_a_new_one(tmp_path, generation):
    folder = open_storage(str(tmp_path))
    for number in range(5):
        folder.put(f"commits/000000-{number:06d}.0.json", b"")
    folder.put("commits/000000-000001.1.json", b"")
    inventory = listed([[[64] * 40]])
    replaced = {0: (0, None), 1: (0, None)} if generation else {}
    before = requests()
    rest = still_uncommitted(left_of(inventory, replaced), folder, NOTHING)
    spent = requests() - before
    assert (spent.list, spent.get) == (1, 0)
    assert pending_codes(rest).tolist() == [0] * generation + list(range(5, 40))
