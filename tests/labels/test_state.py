from __future__ import annotations

import shutil

import pytest

from distill.core.errors import ContractError, StorageError
from tests.labels.conftest import (
    CUT,
    add_stored,
    ignorant_writer,
    path_of,
    read_again,
    state_of,
)
from tests.making import a_contract, write_label_set, writer_of


def test_a_finished_set_is_read_commit_by_commit(labels, inventory):
    writer_of(labels).write_manifest()
    for commit in path_of(labels, "commits").iterdir():
        commit.write_bytes(b"never read")
    assert list(read_again(labels, inventory).entries) == list(labels.entries)
    # nor listed: a set that covers its pool asks the manifest alone
    shutil.rmtree(path_of(labels, "commits"))
    read_again(labels, inventory).require_complete(inventory)


def test_a_manifest_that_lacks_a_fragment_hides_its_commit(labels, inventory):
    some = ignorant_writer(labels)
    add_stored(some, labels.entries[1:])
    some.write_manifest()
    again = state_of(labels, inventory)
    assert list(again.labels.entries) == list(labels.entries)
    assert again.unrolled == (labels.entries[0],)


def test_a_damaged_segment_is_read_as_fewer_commits(labels, caplog):
    writer_of(labels).write_manifest()
    (segment,) = path_of(labels, "manifest").iterdir()
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert list(read_again(labels).entries) == list(labels.entries)
    assert "is damaged" in caplog.text


def test_a_damaged_commit_names_no_way_out(labels):
    path_of(labels, "commits/000000-000001.0.json").write_bytes(b"{}")
    with pytest.raises(
        StorageError, match=r"is damaged.*`distill label --mend` labels its fragment anew"
    ):
        read_again(labels)


def test_a_damaged_commit_is_in_the_way_of_its_mend(labels):
    path_of(labels, "commits/000000-000001.0.json").write_bytes(b"{}")
    state = state_of(labels, mending=True)
    assert list(state.unreadable.values()) == [(0, None)]
    assert len(state.labels.entries) == len(labels.entries) - 1


def test_of_two_damaged_generations_the_lower_is_mended(labels, inventory):
    for generation in range(3):
        path_of(labels, f"commits/000000-000001.{generation}.json").write_bytes(b"{}")
    assert list(state_of(labels, mending=True).unreadable.values()) == [(2, None)]


def test_commits_of_another_set_are_taken_for_ours(labels, inventory, tmp_path, outputs):
    other = write_label_set(
        tmp_path / "other", a_contract(revision="9"), inventory, fragment_rows=CUT, outputs=outputs
    )
    path_of(labels, "contract.json").write_bytes(path_of(other, "contract.json").read_bytes())
    with pytest.raises(ContractError, match="belongs to another label set"):
        read_again(labels)


def test_a_listed_commit_that_vanished_is_passed_over(labels, monkeypatch):
    monkeypatch.setattr(type(labels.folder), "read_or_none", lambda *_: None)
    with pytest.raises(StorageError, match="was listed and is gone"):
        read_again(labels)
