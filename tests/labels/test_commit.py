from __future__ import annotations

import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import StorageError
from distill.core.schema import columns_sha256
from distill.labels.commit import Commit, WriteIntent, read_labels, read_rejects
from distill.storage.open import open_storage
from tests.bitflips import flipped
from tests.making import ORIGIN, a_contract, a_topk_contract, commit_labels, some_labels

SHARD_ID = "5a" * 16
CLAIM = WriteIntent(0, 0, SHARD_ID, 0, 20)


@pytest.fixture
def folder(tmp_path):
    return open_storage(str(tmp_path / "labels"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A committed fragment that tests only read: folder, commit, labels."""
    folder, labels = (
        open_storage(str(tmp_path_factory.mktemp("labels"))),
        some_labels(20, a_contract(), rejected=[3]),
    )
    return folder, commit_labels(folder, CLAIM, labels, a_contract()), labels


def test_two_of_several_racing_attempts_believe_that_they_won(folder):
    racers, contract = 8, a_contract()
    start = Barrier(racers)

    def race(number):
        labels = some_labels(20, contract, seed=number)
        start.wait()
        return labels, commit_labels(folder, CLAIM, labels, contract)

    with ThreadPoolExecutor(racers) as threads:
        raced = list(threads.map(race, range(racers)))
    commits = {commit.attempt for _, commit in raced}
    assert len(commits) == 1
    stored = Commit.from_bytes(folder.read(CLAIM_KEY), "commit")
    assert commits == {stored.attempt}
    read = read_labels(folder, stored.data, stored.xxh3, contract)
    winners = [labels for labels, _ in raced if columns_sha256(labels) == stored.columns_sha256]
    assert len(winners) == 1
    assert read.equals(winners[0])
    assert (
        len(folder.folder("data").list_objects()) == racers
    )  # each attempt's own; nobody was overwritten


CLAIM_KEY = "commits/000000-000000.0.json"


def test_a_latecomer_replaces_what_was_committed_or_is_told_of_its_own_attempt(folder):
    contract = a_contract()
    first = commit_labels(folder, CLAIM, some_labels(20, contract, seed=1), contract)
    late = commit_labels(folder, CLAIM, some_labels(20, contract, seed=2), contract)
    assert late == first
    assert read_labels(folder, late.data, late.xxh3, contract).equals(
        some_labels(20, contract, seed=1)
    )


def test_a_commit_says_something_else_than_what_was_written(written):
    folder, commit, labels = written
    content = folder.read(commit.data)
    assert Commit.from_bytes(folder.read(commit.key), commit.key) == commit
    assert commit.key == CLAIM_KEY
    assert (commit.shard, commit.shard_id, commit.start, commit.rows, commit.rejected) == (
        0,
        SHARD_ID,
        0,
        20,
        1,
    )
    assert (commit.bytes, commit.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert commit.xxh3 == xxhash.xxh3_128_hexdigest(content)
    assert (commit.label_set, commit.device, commit.versions) == (
        ORIGIN.label_set,
        ORIGIN.device,
        ORIGIN.versions,
    )
    assert read_labels(folder, commit.data, commit.xxh3, a_contract()).equals(labels)


@given(st.data())
def test_a_flipped_bit_in_the_data_is_read_as_a_wrong_label(written, tmp_path, data):
    folder, commit, _ = written
    content = folder.read(commit.data)
    damaged = open_storage(str(tmp_path))
    damaged.put(commit.data, flipped(content, data.draw(st.integers(0, 8 * len(content) - 1))))
    with pytest.raises(StorageError, match=r"is damaged.*--mend` labels its fragment anew"):
        read_labels(damaged, commit.data, commit.xxh3, a_contract())


@given(st.data())
def test_a_flipped_bit_in_a_commit_is_read_as_another_commit(written, data):
    folder, commit, _ = written
    content = folder.read(commit.key)
    changed = flipped(content, data.draw(st.integers(0, 8 * len(content) - 1)))
    try:
        read = Commit.from_bytes(changed, commit.key)
    except StorageError:
        return
    assert read == commit  # the flip made one blank of another


def test_a_truncated_object_is_read_as_fewer_labels(written, tmp_path):
    folder, commit, _ = written
    short = open_storage(str(tmp_path))
    short.put(commit.data, folder.read(commit.data)[:-1])
    with pytest.raises(StorageError, match="is damaged"):
        read_labels(short, commit.data, commit.xxh3, a_contract())
    with pytest.raises(StorageError, match="is damaged"):
        Commit.from_bytes(folder.read(commit.key)[:-20], commit.key)


def test_data_that_is_gone_ends_in_a_bare_look_up_error(written, tmp_path):
    _, commit, _ = written
    with pytest.raises(StorageError, match=r"is gone.*distill label"):
        read_labels(open_storage(str(tmp_path)), commit.data, commit.xxh3, a_contract())


def test_rejected_rows_lose_their_reason(written):
    folder, commit, _ = written
    assert read_rejects(folder, commit.rejects).to_pylist() == [
        {"shard": "s", "row": 3, "reason": "null", "message": "row 3"}
    ]


def test_a_fragment_without_rejects_writes_an_empty_object(folder):
    commit = commit_labels(folder, CLAIM, some_labels(20, a_contract()), a_contract())
    assert (commit.rejects, commit.rejected) == (None, 0)
    assert folder.folder("rejects").list_objects() == []


@given(
    st.sets(st.integers(1, 19), max_size=5), st.sets(st.integers(0, 19), max_size=4), st.booleans()
)
def test_the_digest_of_columns_depends_on_how_they_are_chunked(cuts, rejected, is_topk):
    labels = some_labels(20, a_topk_contract(4, 2) if is_topk else a_contract(), rejected=rejected)
    ends = [0, *sorted(cuts), 20]
    parts = pa.concat_tables(
        [labels.slice(start, stop - start) for start, stop in itertools.pairwise(ends)]
    )
    assert columns_sha256(parts) == columns_sha256(labels)
    assert columns_sha256(pa.concat_tables([labels, labels]).slice(20)) == columns_sha256(labels)


def test_a_slice_has_the_digest_of_the_rows_before_it():
    labels = some_labels(20, a_contract(), rejected=[7])
    alone = pa.table(
        [pa.array(labels["logits"].to_pylist()[5:], labels.schema.field(0).type)],
        schema=labels.schema,
    )
    filled = np.array([value is None for value in alone["logits"].to_pylist()])
    assert filled.tolist() == [False, False, True] + [False] * 12
    assert columns_sha256(labels.slice(5)) == columns_sha256(alone)


def test_other_labels_have_the_same_digest():
    labels = some_labels(20, a_contract())
    packed = labels["logits"].to_pylist()
    others = [
        some_labels(20, a_contract(), rejected=[5]),
        some_labels(20, a_contract(), seed=1),
        labels.rename_columns(["value"]),
        labels.slice(0, 19),
        pa.table(
            [pa.array([packed[1], packed[0], *packed[2:]], labels.schema.field(0).type)],
            schema=labels.schema,
        ),
        pa.table(
            [pa.array([flipped(packed[0], 0), *packed[1:]], labels.schema.field(0).type)],
            schema=labels.schema,
        ),
    ]
    assert len({columns_sha256(each) for each in [labels, *others]}) == 1 + len(others)


@pytest.mark.parametrize("contract", [a_contract(), a_topk_contract(3, 2)])
def test_the_histogram_counts_rejected_rows_or_other_classes(folder, contract):
    outputs = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    commit = commit_labels(folder, CLAIM, some_labels(20, contract, rejected=[3]), contract)
    best = np.delete(outputs.argmax(axis=1), 3)
    assert commit.histogram == {str(number): (best == number).sum() for number in sorted(set(best))}


def test_independent_outputs_and_many_classes_are_counted_by_their_largest_logit(folder):
    independent, many = a_contract(exclusive=False), a_topk_contract(5_000, 1)
    for number, contract in enumerate((independent, many)):
        claim = WriteIntent(number, 0, SHARD_ID, 0, 2)
        assert commit_labels(folder, claim, some_labels(2, contract), contract).histogram == {}
