from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.errors import ContractError, StorageError
from distill.labels import Claim, LabelSet, label_set_digest
from distill.storage import open_storage
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
        tmp_path / "labels", a_contract(), inventory, fragment_rows=CUT, outputs=outputs, rejected=[7]
    )


def opened(labels: LabelSet) -> LabelSet:
    return LabelSet(labels.folder, labels.name, labels.version).refresh()


def mend(labels: LabelSet, claim: Claim):
    commit = commit_labels(labels.folder, claim, some_labels(claim.rows, a_contract(), seed=9), a_contract())
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
        commits = [labels._read_commit((line.fragment, line.generation)) for line in labels.lines]
        random.Random(seed).shuffle(commits)
        for commit in commits:
            shuffled.add(commit)
        assert shuffled.lines == labels.lines
        assert shuffled.label_hash == labels.label_hash
        assert [line for shard in range(3) for line in shuffled.lines_of(shard)] == labels.lines


@pytest.mark.parametrize("rolled", [0, 2, 6])
def test_the_manifest_and_the_commits_say_different_things(tmp_path, labels, rolled):
    first = LabelSet(labels.folder, "teacher", 1)
    for line in labels.lines[:rolled]:
        first.add(labels._read_commit((line.fragment, line.generation)))
    first.write_manifest()
    assert opened(labels).lines == labels.lines
    labels.write_manifest()
    again = opened(labels)
    assert again.lines == labels.lines
    assert again.label_hash == labels.label_hash
    assert again.unrolled[0] == 0


def test_a_reader_reads_every_commit_though_the_manifest_has_it(labels):
    labels.write_manifest()
    for commit in path_of(labels, "commits").iterdir():
        commit.write_bytes(b"never read")
    assert opened(labels).lines == labels.lines


def test_a_second_driver_overwrites_a_manifest_segment(labels):
    mine, theirs = opened(labels), LabelSet(labels.folder, "teacher", 1)
    theirs.add(labels._read_commit((labels.lines[0].fragment, 0)))
    theirs.write_manifest()
    before = {path: path.read_bytes() for path in path_of(labels, "manifest").iterdir()}
    mine.write_manifest()
    mine.write_manifest()
    after = {path: path.read_bytes() for path in path_of(labels, "manifest").iterdir()}
    assert len(after) == 2
    assert before.items() <= after.items()
    assert opened(labels).lines == labels.lines


def test_drivers_that_claim_the_same_segment_lose_one_of_them(labels, monkeypatch):
    first, second = opened(labels), LabelSet(labels.folder, "teacher", 1)
    second.add(labels._read_commit((labels.lines[0].fragment, 0)))
    second.write_manifest()
    # the first listed the manifest before the second wrote it
    monkeypatch.setattr(type(labels.folder), "list_objects", lambda _: [])
    first.write_manifest()
    monkeypatch.undo()
    assert sorted(path.name for path in path_of(labels, "manifest").iterdir()) == ["000000.arrow", "000001.arrow"]


def test_many_commits_at_once_are_too_large_for_one_segment(tmp_path, labels):
    base, count = labels._read_commit((labels.lines[0].fragment, 0)), 12_000
    many = LabelSet(open_storage(str(tmp_path / "many")), "teacher", 1)
    draw = random.Random(0)
    for number in range(count):
        noise = {name: f"{draw.getrandbits(256):064x}" for name in ("sha256", "columns_sha256", "shard_id")}
        fragment = f"{number:06d}-000000"
        many.add(
            replace(
                base,
                fragment=fragment,
                shard=number,
                data=f"data/{fragment}/{draw.getrandbits(128):032x}.arrow",
                **noise,
            )
        )
    many.write_manifest()
    assert opened(many).lines == many.lines


def test_a_damaged_segment_is_read_as_fewer_commits(labels, caplog):
    labels.write_manifest()
    (segment,) = path_of(labels, "manifest").iterdir()
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    again = opened(labels)
    assert again.lines == labels.lines
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("what", ["commits/000000-000001.0.json", "rejects"])
def test_a_lost_commit_or_reject_goes_unnoticed(labels, what):
    labels.write_manifest()
    line = labels.line("000000-000001") if what != "rejects" else next(line for line in labels.lines if line.rejects)
    path_of(labels, what if what != "rejects" else line.rejects).unlink()
    again = opened(labels)
    assert again.lost() == [line]


def test_commits_whose_contract_is_gone_get_another_meaning(labels, inventory):
    path_of(labels, "contract.json").unlink()
    with pytest.raises(
        ContractError, match=r"contract\.json is gone, so nobody knows what the 6 commits beside it mean"
    ):
        opened(labels).begin(a_contract(revision="9"), inventory, CUT)


def test_commits_of_another_set_are_taken_for_ours(labels, inventory, tmp_path, outputs):
    other = write_label_set(tmp_path / "other", a_contract(revision="9"), inventory, fragment_rows=CUT, outputs=outputs)
    path_of(labels, "contract.json").write_bytes(path_of(other, "contract.json").read_bytes())
    with pytest.raises(ContractError, match="belongs to another label set"):
        opened(labels)


def test_a_reader_that_looked_before_a_commit_does_not_see_it_after(labels):
    late = LabelSet(labels.folder, "teacher", 1)
    assert late.lines_of(0) == ()
    for line in labels.lines:
        late.add(labels._read_commit((line.fragment, 0)))
        assert late.lines_of(line.shard)[-1] == line


def test_lost_data_goes_unnoticed(labels, inventory):
    assert labels.lost() == []
    gone, short = labels.lines[1], labels.lines[4]
    path_of(labels, gone.data).unlink()
    path_of(labels, short.data).write_bytes(b"short")
    assert opened(labels).lost() == [gone, short]
    claims = labels.claims(inventory.fragments(CUT), labels.lost())
    assert [(claim.fragment, claim.generation, claim.replaces) for claim in claims] == [
        (line.fragment, 1, line.sha256) for line in (gone, short)
    ]


def test_an_unlabelled_fragment_is_forgotten_or_a_labelled_one_is_done_again(tmp_path, labels, inventory):
    some = LabelSet(open_storage(str(tmp_path / "some")), "teacher", 1)
    for line in labels.lines[:3]:
        some.add(labels._read_commit((line.fragment, 0)))
    claims = some.claims(inventory.fragments(CUT), [])
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
    (claim,) = labels.claims(inventory.fragments(CUT), labels.lost())
    commit = mend(labels, claim)
    if when != "before the manifest":
        labels.write_manifest()
    again = opened(labels)
    assert again.line(lost.fragment).generation == 1
    assert again.line(lost.fragment).data == commit.data
    assert commit.replaces == lost.sha256
    assert again.lines == labels.lines
    assert again.lost() == []
    again.require_complete(inventory)
    assert path_of(labels, f"commits/{lost.fragment}.0.json").exists()  # mending never overwrites


def test_the_label_hash_changes_with_the_generation(labels, inventory, outputs):
    before, lost = labels.label_hash, labels.lines[2]
    table = labels.read(lost)
    path_of(labels, lost.data).unlink()
    (claim,) = labels.claims(inventory.fragments(CUT), labels.lost())
    labels.add(commit_labels(labels.folder, claim, table, a_contract()))
    assert labels.label_hash == before
    path_of(labels, labels.line(lost.fragment).data).unlink()
    (claim,) = labels.claims(inventory.fragments(CUT), labels.lost())
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
    assert nothing.lines == []
    with pytest.raises(ContractError, match=r"nothing is labelled yet.*distill label"):
        nothing.require(a_contract(), inventory, CUT)


def test_a_set_with_a_hole_is_learned_from(tmp_path, labels, inventory):
    labels.require_complete(inventory)
    some = LabelSet(open_storage(str(tmp_path / "some")), "teacher", 1)
    for line in labels.lines[1:]:
        some.add(labels._read_commit((line.fragment, 0)))
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
    assert [claim.shard for claim in labels.claims(grown.fragments(CUT), [])] == [3]
