from __future__ import annotations

import pytest

from distill.labels.commit import WriteIntent
from distill.labels.repair import find_lost, lost_entries, other_attempts, pending_fragments
from tests.labels.conftest import (
    CUT,
    add_stored,
    ignorant_writer,
    path_of,
    pending_intents,
    read_again,
    state_of,
)
from tests.making import a_contract, commit_labels, some_labels, writer_of


def test_lost_rejects_go_unnoticed(labels):
    entry = next(entry for entry in labels.entries if entry.rejects)
    path_of(labels, entry.rejects).unlink()
    assert lost_entries(read_again(labels)) == [entry]


def test_lost_data_goes_unnoticed(labels, inventory):
    assert lost_entries(labels) == []
    gone, short = labels.entries[1], labels.entries[4]
    path_of(labels, gone.data).unlink()
    path_of(labels, short.data).write_bytes(b"short")
    assert lost_entries(read_again(labels)) == [gone, short]
    assert [
        (intent.fragment, intent.generation, intent.replaces)
        for intent in pending_intents(labels, inventory)
    ] == [(entry.fragment, 1, entry.sha256) for entry in (gone, short)]


def test_a_mend_that_no_segment_has_is_done_again(labels, inventory):
    writer_of(labels).write_manifest()
    lost = labels.entries[2]
    path_of(labels, lost.data).unlink()
    (intent,) = pending_intents(labels, inventory)
    mend = commit_labels(
        labels.folder, intent, some_labels(intent.rows, a_contract(), seed=9), a_contract()
    )
    read = state_of(labels, inventory)
    assert not read.commits_listed  # the manifest covers the pool
    state, again = find_lost(read)
    assert again == []
    assert state.labels.entries[2] == mend.entry
    assert state.unrolled == (mend.entry,)


def test_an_attempt_that_lost_is_never_found_again(labels):
    assert list(other_attempts(labels)) == []
    entry = next(entry for entry in labels.entries if entry.rejects)
    intent = WriteIntent(entry.shard, entry.number, entry.shard_id, entry.start, entry.rows)
    table = some_labels(entry.rows, a_contract(), rejected=[1])
    won = commit_labels(labels.folder, intent, table, a_contract())
    assert won.entry == entry
    other = dict(other_attempts(labels))
    assert sorted(key.split("/")[0] for key in other) == ["data", "rejects"]
    assert not {entry.data, entry.rejects} & set(other)
    # while a fragment is to be mended, what lies there may be the mend
    path_of(labels, entry.data).unlink()
    assert list(other_attempts(labels)) == []


def test_an_unlabelled_fragment_is_forgotten_or_a_labelled_one_is_done_again(labels, inventory):
    some = ignorant_writer(labels)
    add_stored(some, labels.entries[:3])
    some.write_manifest()
    for commit in path_of(labels, "commits").iterdir():
        commit.unlink()
    intents = pending_intents(labels, inventory)
    assert [intent.fragment for intent in intents] == [
        entry.fragment for entry in labels.entries[3:]
    ]
    assert {(intent.generation, intent.replaces) for intent in intents} == {(0, None)}
    assert [(each.shard, each.shard_id, each.start, each.rows) for each in intents] == [
        (entry.shard, entry.shard_id, entry.start, entry.rows) for entry in labels.entries[3:]
    ]


def test_the_fragment_of_a_damaged_commit_is_forgotten(labels, inventory):
    path_of(labels, "commits/000000-000001.0.json").write_bytes(b"{}")
    state = state_of(labels, mending=True)
    ((_, intent, _),) = pending_fragments(state, inventory, CUT)
    assert (intent.fragment, intent.generation, intent.replaces) == ("000000-000001", 1, None)


def test_a_lost_fragment_is_mended_under_a_damaged_commit(labels, inventory):
    path_of(labels, "commits/000000-000001.1.json").write_bytes(b"{}")
    path_of(labels, labels.entries[1].data).unlink()
    state, lost = find_lost(state_of(labels, mending=True))
    assert lost == [labels.entries[1]]
    ((_, intent, _),) = pending_fragments(state, inventory, CUT, lost)
    assert (intent.fragment, intent.generation) == ("000000-000001", 2)


@pytest.mark.parametrize("when", ["before the manifest", "between segments", "after the manifest"])
def test_an_older_generation_counts_after_a_mend(labels, inventory, when):
    lost = labels.entries[2]
    path_of(labels, lost.data).unlink()
    if when == "between segments":
        writer_of(labels).write_manifest()
    (intent,) = pending_intents(labels, inventory)
    mend = commit_labels(
        labels.folder, intent, some_labels(intent.rows, a_contract(), seed=9), a_contract()
    )
    if when != "before the manifest":
        writer_of(labels).write_manifest()
    again = read_again(labels)
    assert again.entries.find(lost.fragment).generation == 1
    assert again.entries.find(lost.fragment).data == mend.data
    assert mend.replaces == lost.sha256
    assert list(again.entries) == [*labels.entries[:2], mend.entry, *labels.entries[3:]]
    assert lost_entries(again) == []
    again.require_complete(inventory)
    assert path_of(labels, f"commits/{lost.fragment}.0.json").exists()  # mending never overwrites
