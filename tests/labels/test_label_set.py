from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.core.errors import ContractError, StorageError
from distill.core.schema import unseal
from distill.labels.commit import Provenance, WriteIntent
from distill.labels.identity import label_set_digest
from distill.labels.label_set import LabelSet
from distill.pools.scan import take_inventory
from distill.spec.pools import Pool
from distill.storage.open import open_storage
from tests.making import a_contract, commit_labels, list_pool, some_labels, write_label_set
from tests.tiny import write_pool

CUT = 8
SHARDS = (20, 5, 16)


@pytest.fixture
def inventory(tmp_path):
    write_pool(tmp_path / "pool", SHARDS)
    return list_pool(tmp_path / "root", tmp_path / "pool")


@pytest.fixture
def outputs():
    return np.random.default_rng(0).normal(size=(sum(SHARDS), 3)).astype(np.float32)


@pytest.fixture
def labels(tmp_path, inventory, outputs):
    """A whole set; no manifest yet."""
    return write_label_set(
        tmp_path / "labels",
        a_contract(),
        inventory,
        fragment_rows=CUT,
        outputs=outputs,
        rejected=[7],
    )


def opened(labels: LabelSet) -> LabelSet:
    return LabelSet(labels.folder, labels.name, labels.version).refresh()


def mend(labels: LabelSet, claim: WriteIntent):
    commit = commit_labels(
        labels.folder, claim, some_labels(claim.rows, a_contract(), seed=9), a_contract()
    )
    labels.add(commit)
    return commit


def path_of(labels: LabelSet, key: str) -> Path:
    return Path(labels.folder.uri) / key


def test_lines_depend_on_the_order_in_which_fragments_were_committed(tmp_path, labels, inventory):
    assert [(line.shard, line.start, line.rows) for line in labels.lines] == [
        (part.shard.number, part.start, part.rows) for part in inventory.fragments(CUT)
    ]
    for seed in range(3):
        shuffled = LabelSet(labels.folder, "teacher", 1)
        commits = [labels.read_commit(line.fragment, line.generation) for line in labels.lines]
        random.Random(seed).shuffle(commits)
        for commit in commits:
            shuffled.add(commit)
        assert list(shuffled.lines) == list(labels.lines)
        assert shuffled.label_hash == labels.label_hash
        assert [line for shard in range(3) for line in shuffled.lines.of_shard(shard)] == list(
            labels.lines
        )


@pytest.mark.parametrize("rolled", [0, 2, 6])
def test_the_manifest_and_the_commits_say_different_things(tmp_path, labels, rolled):
    first = LabelSet(labels.folder, "teacher", 1)
    for line in labels.lines[:rolled]:
        first.add(labels.read_commit(line.fragment, line.generation))
    first.write_manifest()
    assert list(opened(labels).lines) == list(labels.lines)
    labels.write_manifest()
    again = opened(labels)
    assert list(again.lines) == list(labels.lines)
    assert again.label_hash == labels.label_hash
    assert again.unrolled[0] == 0


def test_a_finished_set_is_read_commit_by_commit(labels, inventory):
    labels.write_manifest()
    for commit in path_of(labels, "commits").iterdir():
        commit.write_bytes(b"never read")
    whole = LabelSet(labels.folder, "teacher", 1).refresh(inventory)
    assert list(whole.lines) == list(labels.lines)
    shutil.rmtree(
        path_of(labels, "commits")
    )  # nor listed: a set that covers its pool asks the manifest alone
    whole = LabelSet(labels.folder, "teacher", 1).refresh(inventory)
    whole.require_complete(inventory)


def test_a_manifest_that_lacks_a_fragment_hides_its_commit(labels, inventory):
    some = LabelSet(labels.folder, "teacher", 1)
    for line in labels.lines[1:]:
        some.add(labels.read_commit(line.fragment, 0))
    some.write_manifest()
    again = LabelSet(labels.folder, "teacher", 1).refresh(inventory)
    assert list(again.lines) == list(labels.lines)
    assert again.unrolled[0] == 1


def test_a_second_driver_overwrites_a_manifest_segment(labels):
    mine, theirs = opened(labels), LabelSet(labels.folder, "teacher", 1)
    theirs.add(labels.read_commit(labels.lines[0].fragment, 0))
    theirs.write_manifest()
    before = {path: path.read_bytes() for path in path_of(labels, "manifest").iterdir()}
    mine.write_manifest()
    mine.write_manifest()
    after = {path: path.read_bytes() for path in path_of(labels, "manifest").iterdir()}
    assert len(after) == 2
    assert before.items() <= after.items()
    assert list(opened(labels).lines) == list(labels.lines)


def test_a_damaged_segment_is_read_as_fewer_commits(labels, caplog):
    labels.write_manifest()
    (segment,) = path_of(labels, "manifest").iterdir()
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    again = opened(labels)
    assert list(again.lines) == list(labels.lines)
    assert "is damaged" in caplog.text


def test_lost_rejects_go_unnoticed(labels):
    line = next(line for line in labels.lines if line.rejects)
    path_of(labels, line.rejects).unlink()
    assert opened(labels).lost() == [line]


def test_a_damaged_segment_stays_in_the_way(labels, inventory):
    labels.write_manifest()
    (segment,) = path_of(labels, "manifest").iterdir()
    segment.write_bytes(segment.read_bytes()[:-30])
    mended = LabelSet(labels.folder, "teacher", 1).refresh(inventory)
    assert mended.damaged_segments == [str(segment)]
    mended.write_manifest()
    mended.tidy_manifest()
    again = LabelSet(labels.folder, "teacher", 1).refresh(inventory)
    assert again.damaged_segments == []
    assert list(again.lines) == list(labels.lines)
    assert next(key for key, _ in again.superseded_segments()) == f"manifest/{segment.name}"


def test_a_damaged_commit_names_no_way_out(labels):
    path_of(labels, "commits/000000-000001.0.json").write_bytes(b"{}")
    with pytest.raises(
        StorageError, match=r"is damaged.*`distill label --mend` labels its fragment anew"
    ):
        opened(labels)


def test_labels_of_two_kinds_of_device_pass_for_strict(labels, inventory):
    labels.require_one_origin()
    path_of(labels, labels.lines[0].data).unlink()
    ((_, claim, _),) = labels.left(inventory, CUT, labels.lost())
    origin = Provenance(
        unseal(labels.folder.read("contract.json"), "")["label_set"], "cuda", {"numpy": "2"}
    )
    table = some_labels(claim.rows, a_contract())
    labels.add(commit_labels(labels.folder, claim, table, a_contract(), origin=origin))
    with pytest.raises(
        ContractError, match=r"labelled on \['cpu numpy=2', 'cuda numpy=2'\].*version = 2"
    ):
        labels.require_one_origin()


def test_an_attempt_that_lost_is_never_found_again(labels, inventory):
    assert list(labels.other_attempts()) == []
    line = next(line for line in labels.lines if line.rejects)
    claim = WriteIntent(line.shard, line.number, line.shard_id, line.start, line.rows)
    assert (
        commit_labels(
            labels.folder, claim, some_labels(line.rows, a_contract(), rejected=[1]), a_contract()
        ).line
        == line
    )
    lost = dict(labels.other_attempts())
    assert sorted(key.split("/")[0] for key in lost) == ["data", "rejects"]
    assert not {line.data, line.rejects} & set(lost)
    path_of(
        labels, line.data
    ).unlink()  # while a fragment is to be mended, what lies there may be the mend
    assert list(labels.other_attempts()) == []


def test_labels_of_a_retired_shard_are_read(tmp_path, labels, inventory):
    file = tmp_path / "pool" / "part-00001.parquet"
    file.write_bytes((tmp_path / "pool" / "part-00002.parquet").read_bytes())
    files, spec = open_storage(str(tmp_path / "pool")), Pool(path="pool", on_change="relabel")
    now = take_inventory(open_storage(str(tmp_path / "root")), "pool", files, spec=spec)
    left = LabelSet(labels.folder, "teacher", 1).refresh(now)
    assert {line.shard for line in left.lines} == {0, 2}
    assert {claim.shard for _, claim, _ in left.left(now, CUT)} == {3}
    left.require(a_contract(), now, CUT)
    with pytest.raises(ContractError, match="36 of 52 rows"):
        left.require_complete(now)


def test_commits_whose_contract_is_gone_get_another_meaning(labels, inventory):
    path_of(labels, "contract.json").unlink()
    with pytest.raises(
        ContractError,
        match=r"contract\.json is gone, so nobody knows what the 6 commits beside it mean",
    ):
        opened(labels).begin(a_contract(revision="9"), inventory, CUT)


def test_commits_of_another_set_are_taken_for_ours(labels, inventory, tmp_path, outputs):
    other = write_label_set(
        tmp_path / "other", a_contract(revision="9"), inventory, fragment_rows=CUT, outputs=outputs
    )
    path_of(labels, "contract.json").write_bytes(path_of(other, "contract.json").read_bytes())
    with pytest.raises(ContractError, match="belongs to another label set"):
        opened(labels)


def test_a_reader_that_looked_before_a_commit_does_not_see_it_after(labels):
    late = LabelSet(labels.folder, "teacher", 1)
    assert late.lines.of_shard(0) == []
    for line in labels.lines:
        late.add(labels.read_commit(line.fragment, 0))
        assert late.lines.of_shard(line.shard)[-1] == line


def test_lost_data_goes_unnoticed(labels, inventory):
    assert labels.lost() == []
    gone, short = labels.lines[1], labels.lines[4]
    path_of(labels, gone.data).unlink()
    path_of(labels, short.data).write_bytes(b"short")
    assert opened(labels).lost() == [gone, short]
    claims = [claim for _, claim, _ in labels.left(inventory, CUT, labels.lost())]
    assert [(claim.fragment, claim.generation, claim.replaces) for claim in claims] == [
        (line.fragment, 1, line.sha256) for line in (gone, short)
    ]


def test_an_unlabelled_fragment_is_forgotten_or_a_labelled_one_is_done_again(
    tmp_path, labels, inventory
):
    some = LabelSet(open_storage(str(tmp_path / "some")), "teacher", 1)
    for line in labels.lines[:3]:
        some.add(labels.read_commit(line.fragment, 0))
    claims = [claim for _, claim, _ in some.left(inventory, CUT, [])]
    assert [claim.fragment for claim in claims] == [line.fragment for line in labels.lines[3:]]
    assert {(claim.generation, claim.replaces) for claim in claims} == {(0, None)}
    assert [(claim.shard, claim.shard_id, claim.start, claim.rows) for claim in claims] == [
        (line.shard, line.shard_id, line.start, line.rows) for line in labels.lines[3:]
    ]


@pytest.mark.parametrize("when", ["before the manifest", "between segments", "after the manifest"])
def test_an_older_generation_counts_after_a_mend(labels, inventory, when):
    lost = labels.lines[2]
    path_of(labels, lost.data).unlink()
    if when == "between segments":
        labels.write_manifest()
    ((_, claim, _),) = labels.left(inventory, CUT, labels.lost())
    commit = mend(labels, claim)
    if when != "before the manifest":
        labels.write_manifest()
    again = opened(labels)
    assert again.lines.find(lost.fragment).generation == 1
    assert again.lines.find(lost.fragment).data == commit.data
    assert commit.replaces == lost.sha256
    assert list(again.lines) == list(labels.lines)
    assert again.lost() == []
    again.require_complete(inventory)
    assert path_of(labels, f"commits/{lost.fragment}.0.json").exists()  # mending never overwrites


def test_the_label_hash_changes_with_the_generation(labels, inventory, outputs):
    before, lost = labels.label_hash, labels.lines[2]
    table = labels.read(lost)
    path_of(labels, lost.data).unlink()
    ((_, claim, _),) = labels.left(inventory, CUT, labels.lost())
    labels.add(commit_labels(labels.folder, claim, table, a_contract()))
    assert labels.label_hash == before
    path_of(labels, labels.lines.find(lost.fragment).data).unlink()
    ((_, claim, _),) = labels.left(inventory, CUT, labels.lost())
    mend(labels, claim)
    assert labels.label_hash != before


def test_a_set_is_begun_again_under_another_meaning(labels, inventory):
    stored = labels.begin(a_contract(), inventory, CUT)
    assert stored == label_set_digest(a_contract(), inventory, CUT)
    assert labels.read_contract() == a_contract()
    with pytest.raises(ContractError, match=r"revision: stored '1', now '2'.*version = 2"):
        labels.begin(a_contract(revision="2"), inventory, CUT)
    with pytest.raises(ContractError, match=r"fragment_rows = 8, now 9.*version = 2"):
        labels.begin(a_contract(), inventory, CUT + 1)
    with pytest.raises(ContractError, match=r"another inventory of pools\.pool.*version = 2"):
        labels.begin(a_contract(), replace(inventory, digest="other"), CUT)


def test_a_set_that_was_never_begun_is_read(tmp_path, inventory):
    nothing = LabelSet(open_storage(str(tmp_path / "nothing")), "teacher", 1).refresh()
    assert nothing.read_contract() is None
    assert len(nothing.lines) == 0
    with pytest.raises(ContractError, match=r"nothing is labelled yet.*distill label"):
        nothing.require(a_contract(), inventory, CUT)


def test_a_set_with_a_hole_is_learned_from(tmp_path, labels, inventory):
    labels.require_complete(inventory)
    some = LabelSet(open_storage(str(tmp_path / "some")), "teacher", 1)
    for line in labels.lines[1:]:
        some.add(labels.read_commit(line.fragment, 0))
    with pytest.raises(ContractError, match=r"35 of 41 rows of pools\.pool"):
        some.require_complete(inventory)


def test_a_listed_commit_that_vanished_is_passed_over(labels, monkeypatch):
    monkeypatch.setattr(type(labels.folder), "read_or_none", lambda *_: None)
    with pytest.raises(StorageError, match="was listed and is gone"):
        opened(labels)


def test_new_shards_change_the_identity_of_labels(tmp_path, labels, inventory):
    write_pool(tmp_path / "more", [7])
    (tmp_path / "more" / "part-00000.parquet").rename(tmp_path / "pool" / "part-00009.parquet")
    grown = list_pool(tmp_path / "root", tmp_path / "pool")
    assert grown.rows == inventory.rows + 7
    labels.require(a_contract(), grown, CUT)
    assert [claim.shard for _, claim, _ in labels.left(grown, CUT)] == [3]
