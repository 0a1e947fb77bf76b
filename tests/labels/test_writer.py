from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from distill.core.errors import ContractError
from distill.labels.commit import read_commit
from distill.labels.identity import label_set_digest
from distill.labels.repair import superseded_segments
from distill.labels.writer import LabelWriter
from tests.labels.conftest import CUT, add_stored, ignorant_writer, path_of, read_again, state_of
from tests.making import a_contract, writer_of


def test_entries_depend_on_the_order_in_which_fragments_were_committed(labels, inventory):
    assert [(entry.shard, entry.start, entry.rows) for entry in labels.entries] == [
        (part.shard.number, part.start, part.rows) for part in inventory.fragments(CUT)
    ]
    for seed in range(3):
        writer = ignorant_writer(labels)
        add_stored(writer, random.Random(seed).sample(labels.entries[:], len(labels.entries)))
        shuffled = writer.snapshot()
        assert list(shuffled.entries) == list(labels.entries)
        assert shuffled.label_hash == labels.label_hash
        by_shard = itertools.chain(*map(shuffled.entries.of_shard, range(3)))
        assert list(by_shard) == list(labels.entries)


@pytest.mark.parametrize("rolled", [0, 2, 6])
def test_the_manifest_and_the_commits_say_different_things(labels, rolled):
    first = ignorant_writer(labels)
    add_stored(first, labels.entries[:rolled])
    first.write_manifest()
    assert list(read_again(labels).entries) == list(labels.entries)
    writer_of(labels).write_manifest()
    again = state_of(labels)
    assert list(again.labels.entries) == list(labels.entries)
    assert again.labels.label_hash == labels.label_hash
    assert again.unrolled == ()


def test_a_second_driver_overwrites_a_manifest_segment(labels):
    mine = writer_of(labels)
    theirs = ignorant_writer(labels)
    add_stored(theirs, labels.entries[:1])
    theirs.write_manifest()
    before = {path: path.read_bytes() for path in path_of(labels, "manifest").iterdir()}
    mine.write_manifest()
    mine.write_manifest()
    after = {path: path.read_bytes() for path in path_of(labels, "manifest").iterdir()}
    assert len(after) == 2
    assert before.items() <= after.items()
    assert list(read_again(labels).entries) == list(labels.entries)


def test_a_damaged_segment_stays_in_the_way(labels, inventory):
    writer_of(labels).write_manifest()
    (segment,) = path_of(labels, "manifest").iterdir()
    segment.write_bytes(segment.read_bytes()[:-30])
    state = state_of(labels, inventory)
    assert state.segments.damaged == (str(segment),)
    mending = LabelWriter(state)
    mending.write_manifest()
    mending.tidy_manifest()
    again = state_of(labels, inventory)
    assert again.segments.damaged == ()
    assert list(again.labels.entries) == list(labels.entries)
    assert superseded_segments(again)[0][0] == f"manifest/{segment.name}"


def test_a_snapshot_lacks_what_was_added_since_the_last_one(labels):
    writer = ignorant_writer(labels)
    assert writer.snapshot().entries.of_shard(0) == []
    for entry in labels.entries:
        writer.add(read_commit(labels.folder, entry.fragment))
        assert writer.snapshot().entries.of_shard(entry.shard)[-1] == entry


def test_a_manifest_is_never_due_or_always(labels, monkeypatch):
    writer = ignorant_writer(labels)
    assert not writer.manifest_due
    add_stored(writer, labels.entries[:2])
    assert not writer.manifest_due
    monkeypatch.setattr("distill.labels.writer.SEGMENT_ENTRIES", 2)
    assert writer.manifest_due
    monkeypatch.undo()
    monkeypatch.setattr("distill.labels.writer._SEGMENT_SECONDS", 0.0)
    assert writer.manifest_due
    writer.write_manifest()
    assert not writer.manifest_due


def test_commits_whose_contract_is_gone_get_another_meaning(labels, inventory):
    path_of(labels, "contract.json").unlink()
    with pytest.raises(
        ContractError,
        match=r"contract\.json is gone, so nobody knows what the 6 commits beside it mean",
    ):
        writer_of(labels).begin(a_contract(revision="9"), inventory, CUT)


def test_a_set_is_begun_again_under_another_meaning(labels, inventory):
    writer = writer_of(labels)
    stored = writer.begin(a_contract(), inventory, CUT)
    assert stored == label_set_digest(a_contract(), inventory, CUT)
    with pytest.raises(ContractError, match=r"revision: stored '1', now '2'.*version = 2"):
        writer.begin(a_contract(revision="2"), inventory, CUT)
    with pytest.raises(ContractError, match=r"fragment_rows = 8, now 9.*version = 2"):
        writer.begin(a_contract(), inventory, CUT + 1)
    with pytest.raises(ContractError, match=r"another inventory of pools\.pool.*version = 2"):
        writer.begin(a_contract(), replace(inventory, digest="other"), CUT)
    assert read_again(labels).contract == a_contract()
