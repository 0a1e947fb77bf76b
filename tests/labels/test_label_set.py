from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from distill.core.errors import ContractError, StorageError
from distill.core.schema import unseal
from distill.labels.commit import Provenance
from distill.labels.state import read_label_set
from distill.pools.scan import take_inventory
from distill.spec.pools import Pool
from distill.storage.open import open_storage
from tests.labels.conftest import CUT, path_of, pending_intents, read_again, state_of
from tests.making import a_contract, commit_labels, list_pool, some_committed, some_labels
from tests.tiny import write_pool


def test_a_worker_is_sent_something_else_than_the_driver_has(labels):
    sent = pickle.loads(pickle.dumps(labels))
    assert list(sent.entries) == list(labels.entries)
    assert sent.label_hash == labels.label_hash
    assert sent.read(sent.entries[0]).equals(labels.read(labels.entries[0]))


def test_labels_of_two_kinds_of_device_pass_for_strict(labels, inventory):
    labels.require_one_origin()
    path_of(labels, labels.entries[0].data).unlink()
    (intent,) = pending_intents(labels, inventory)
    label_set = unseal(labels.folder.read("contract.json"), "")["label_set"]
    provenance = Provenance(label_set, "cuda", {"numpy": "2"})
    table = some_labels(intent.rows, a_contract())
    commit_labels(labels.folder, intent, table, a_contract(), origin=provenance)
    with pytest.raises(
        ContractError, match=r"labelled on \['cpu numpy=2', 'cuda numpy=2'\].*version = 2"
    ):
        read_again(labels).require_one_origin()


def test_labels_of_a_retired_shard_are_read(tmp_path, labels, inventory):
    file = tmp_path / "pool" / "part-00001.parquet"
    file.write_bytes((tmp_path / "pool" / "part-00002.parquet").read_bytes())
    files = open_storage(str(tmp_path / "pool"))
    spec = Pool(path="pool", on_change="relabel")
    now = take_inventory(open_storage(str(tmp_path / "root")), "pool", files, spec=spec)
    left = read_again(labels, now)
    assert {entry.shard for entry in left.entries} == {0, 2}
    assert {intent.shard for intent in pending_intents(left, now)} == {3}
    left.require(a_contract(), now, CUT)
    with pytest.raises(ContractError, match="36 of 52 rows"):
        left.require_complete(now)


def test_another_meaning_is_read(labels, inventory):
    assert labels.contract == a_contract()
    labels.require(a_contract(), inventory, CUT)
    with pytest.raises(ContractError, match=r"revision: stored '1', now '2'.*version = 2"):
        labels.require(a_contract(revision="2"), inventory, CUT)
    with pytest.raises(ContractError, match=r"fragment_rows = 8, now 9.*version = 2"):
        labels.require(a_contract(), inventory, CUT + 1)
    with pytest.raises(ContractError, match=r"another inventory of pools\.pool.*version = 2"):
        labels.require(a_contract(), replace(inventory, digest="other"), CUT)


def test_a_set_that_was_never_begun_is_read(tmp_path, inventory):
    nothing = read_label_set(open_storage(str(tmp_path / "nothing")), "teacher", 1)
    assert nothing.stored is None
    assert len(nothing.entries) == 0
    with pytest.raises(ContractError, match=r"nothing is labelled yet.*distill label"):
        nothing.require(a_contract(), inventory, CUT)
    with pytest.raises(ContractError, match=r"contract\.json is gone"):
        _ = nothing.contract


def test_a_set_with_a_hole_is_learned_from(labels, inventory):
    labels.require_complete(inventory)
    some = some_committed(labels, labels.entries[1:])
    with pytest.raises(ContractError, match=r"35 of 41 rows of pools\.pool"):
        some.require_complete(inventory)


def test_new_shards_change_the_identity_of_labels(tmp_path, labels, inventory):
    write_pool(tmp_path / "more", [7])
    (tmp_path / "more" / "part-00000.parquet").rename(tmp_path / "pool" / "part-00009.parquet")
    grown = list_pool(tmp_path / "root", tmp_path / "pool")
    assert grown.rows == inventory.rows + 7
    labels.require(a_contract(), grown, CUT)
    assert [intent.shard for intent in pending_intents(labels, grown)] == [3]


def test_the_label_hash_changes_with_the_generation(labels, inventory):
    before = labels.label_hash
    lost = labels.entries[2]
    table = labels.read(lost)
    path_of(labels, lost.data).unlink()
    (intent,) = pending_intents(labels, inventory)
    commit_labels(labels.folder, intent, table, a_contract())
    mended = read_again(labels)
    assert mended.label_hash == before
    path_of(labels, mended.entries.find(lost.fragment).data).unlink()
    (intent,) = pending_intents(labels, inventory)
    commit_labels(
        labels.folder, intent, some_labels(intent.rows, a_contract(), seed=9), a_contract()
    )
    assert read_again(labels).label_hash != before


def test_a_lost_fragment_is_read_as_something(labels):
    path_of(labels, labels.entries[2].data).unlink()
    with pytest.raises(StorageError, match="was committed and is gone"):
        labels.read(labels.entries[2])
    assert state_of(labels).labels.entries[2] == labels.entries[2]
