from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from distill.labels import commit as commit_module
from distill.labels.commit import Commit, WriteIntent, read_labels, write_attempt
from distill.labels.written import commit_written, find_written, first_rows
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.making import ORIGIN, a_contract, commit_labels, some_labels

CLAIM = WriteIntent(0, 0, "5a" * 16, 0, 20)
MENDED = replace(CLAIM, generation=1, replaces="f" * 64)
COMMIT = "commits/000000-000000.0.json"


class Killed(BaseException):
    pass


@pytest.fixture(params=["arrow", "parquet"])
def contract(request):
    return a_contract(format=request.param)


@pytest.fixture
def folder(tmp_path):
    return open_storage(str(tmp_path / "labels"))


def write_and_die(folder, contract, monkeypatch, *, claim=CLAIM, origin=ORIGIN, seed=0):
    """An attempt that ends between its data and its commit; returns its labels."""

    def die(name):
        if name == "label.after_data":
            raise Killed

    labels = some_labels(20, contract, seed=seed, rejected=[3])
    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "reach", die)
        with pytest.raises(Killed):
            commit_labels(folder, claim, labels, contract, origin=origin)
    return labels


def found(folder, contract, *, claim=CLAIM, origin=ORIGIN, same_origin=False):
    made_on = origin.made_on if same_origin else None
    written = find_written(folder, claim, contract, origin.label_set, made_on=made_on)
    return commit_written(folder, claim, contract, written)


def test_written_data_is_bought_again_or_committed_otherwise(folder, contract, monkeypatch):
    labels = write_and_die(folder, contract, monkeypatch)
    assert folder.read_or_none(COMMIT) is None
    commit = found(folder, contract)
    assert Commit.from_bytes(folder.read(COMMIT), COMMIT) == commit
    assert read_labels(folder, commit.data, commit.xxh3, contract).equals(labels)
    # what the attempt itself would have committed of the same labels
    elsewhere = open_storage(folder.uri + "-2")
    undisturbed = commit_labels(elsewhere, CLAIM, labels, contract)
    assert replace(undisturbed, attempt=commit.attempt) == commit


def test_two_that_commit_one_attempt_do_not_both_win_or_lose_it(folder, contract, monkeypatch):
    """The process was not dead after all: it commits after the one that took it for dead."""
    taken = []

    def take(name):
        if name == "label.after_data":
            taken.append(found(folder, contract))

    monkeypatch.setattr(commit_module, "reach", take)
    own = commit_labels(folder, CLAIM, some_labels(20, contract), contract)
    assert [own] == taken
    assert len(folder.folder("data").list_objects()) == 1


def test_another_attempt_was_committed_first_and_is_overwritten(folder, contract, monkeypatch):
    write_and_die(folder, contract, monkeypatch, seed=1)
    winner = commit_labels(folder, CLAIM, some_labels(20, contract, seed=2), contract)
    assert found(folder, contract) == winner


@pytest.mark.parametrize(
    "changed",
    [
        {"claim": replace(CLAIM, shard_id="77" * 16)},
        {"claim": replace(CLAIM, start=64)},
        {"claim": replace(CLAIM, rows=19)},
        {"claim": MENDED},
        {"origin": replace(ORIGIN, label_set="another")},
        {"origin": replace(ORIGIN, device="cuda"), "same_origin": True},
        {"origin": replace(ORIGIN, versions={"numpy": "3"}), "same_origin": True},
    ],
)
def test_data_of_other_rows_or_another_set_is_committed(folder, contract, monkeypatch, changed):
    write_and_die(folder, contract, monkeypatch)
    assert found(folder, contract, **changed) is None
    assert folder.read_or_none(COMMIT) is None


def test_labels_made_on_another_device_are_bought_again_where_any_will_do(
    folder, contract, monkeypatch
):
    write_and_die(folder, contract, monkeypatch)
    commit = found(folder, contract, origin=replace(ORIGIN, device="cuda"))
    assert commit.device == ORIGIN.device


def test_a_killed_mend_is_bought_again(folder, contract, monkeypatch):
    commit_labels(folder, CLAIM, some_labels(20, contract, seed=1), contract)
    write_and_die(folder, contract, monkeypatch, claim=MENDED)
    commit = found(folder, contract, claim=MENDED)
    assert (commit.generation, commit.replaces) == (1, MENDED.replaces)


def test_a_damaged_or_unfinished_attempt_is_committed(folder, contract, monkeypatch):
    write_and_die(folder, contract, monkeypatch)
    (rejects,) = folder.folder("rejects").list_objects()
    (data,) = folder.folder("data").list_objects()
    key = f"rejects/{rejects.key}"
    content = folder.read(key)
    folder.delete(key)
    assert found(folder, contract) is None
    folder.put(key, content)
    key = f"data/{data.key}"
    whole = folder.read(key)
    for broken in (whole[:-1], whole[: len(whole) // 2], b""):
        folder.delete(key)
        folder.put(key, broken)
        assert found(folder, contract) is None
    folder.delete(key)
    folder.put(key, whole)
    assert found(folder, contract) is not None


def test_data_of_before_attempts_had_notes_is_an_error(folder, contract, monkeypatch):
    from distill.labels.files import data_bytes
    from distill.labels.manifest import data_key

    content = data_bytes(some_labels(20, contract), contract)
    folder.put(data_key(CLAIM.fragment, "ab" * 16, contract.format), content)
    assert found(folder, contract) is None
    write_and_die(folder, contract, monkeypatch)
    assert found(folder, contract) is not None


def write_ahead(folder, contract, rows, *, claim=CLAIM, origin=ORIGIN, seed=0):
    """An attempt at some rows of the fragment; returns the labels of all."""
    labels = some_labels(20, contract, seed=seed, rejected=[3, 12])
    rejects = [
        {"shard": "s", "row": row, "reason": "null", "message": f"row {row}"}
        for row in {3, 12}.intersection(rows)
    ]
    write_attempt(
        folder,
        replace(claim, start=rows.start, rows=len(rows)),
        labels.slice(rows.start, len(rows)),
        rejects=rejects,
        contract=contract,
        provenance=origin,
    )
    return labels


def read_ahead(folder, contract):
    written = find_written(folder, CLAIM, contract, ORIGIN.label_set)
    assert commit_written(folder, CLAIM, contract, written) is None
    tables, rejected = first_rows(written, CLAIM, ORIGIN.made_on)
    return (pa.concat_tables(tables) if tables else None), rejected


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([range(8), range(8, 14)], 14),
        ([range(8, 14), range(8)], 14),
        ([range(6), range(8, 20)], 6),  # what lies between was never said
        ([range(4, 20)], 0),
        # of two that were at work at once
        ([range(8), range(8, 14), range(10), range(10, 13)], 14),
        ([range(2), range(13), range(11, 20)], 20),
    ],
)
def test_rows_that_were_written_ahead_are_bought_again_or_stand_elsewhere(
    folder, contract, parts, count
):
    for part in parts:
        labels = write_ahead(folder, contract, part)
    found, rejected = read_ahead(folder, contract)
    if not count:
        assert found is None
        return
    assert found.equals(labels.slice(0, count))
    assert rejected == {row: ("null", f"row {row}") for row in (3, 12) if row < count}


@pytest.mark.parametrize(
    "changed",
    [
        {"claim": replace(CLAIM, shard_id="77" * 16)},
        {"claim": MENDED},
        {"origin": replace(ORIGIN, label_set="another")},
        {"origin": replace(ORIGIN, device="cuda")},
        {"origin": replace(ORIGIN, versions={"numpy": "3"})},
    ],
)
def test_rows_of_another_set_or_origin_are_taken(folder, contract, changed):
    write_ahead(folder, contract, range(8))
    write_ahead(folder, contract, range(8, 16), **changed)
    found, _ = read_ahead(folder, contract)
    assert len(found) == 8


def test_all_attempts_are_read_where_one_wrote_the_whole(folder, contract, monkeypatch):
    for row in range(19):
        write_ahead(folder, contract, range(row, row + 1))
    write_and_die(folder, contract, monkeypatch)
    before = requests()
    (written,) = find_written(folder, CLAIM, contract, ORIGIN.label_set)
    assert written.rows == range(20)
    # eight at once, and the rejects of two or three of them
    assert (requests() - before).get <= 8 + 3


def test_a_whole_attempt_of_another_device_hides_rows_of_this_one(folder, contract, monkeypatch):
    write_ahead(folder, contract, range(8))
    write_and_die(folder, contract, monkeypatch, origin=replace(ORIGIN, device="cuda"))
    label_set = ORIGIN.label_set
    (written,) = find_written(folder, CLAIM, contract, label_set, made_on=ORIGIN.made_on)
    assert written.rows == range(8)
    (written,) = find_written(folder, CLAIM, contract, label_set)
    assert written.rows == range(20)


def test_a_torn_file_is_taken(folder, contract):
    write_ahead(folder, contract, range(8))
    (first,) = folder.folder("data").list_objects()
    write_ahead(folder, contract, range(8, 16))
    (second,) = {each.key for each in folder.folder("data").list_objects()} - {first.key}
    whole = folder.read(f"data/{second}")
    for broken in (whole[:-1], whole[: len(whole) // 2], b""):
        folder.delete(f"data/{second}")
        folder.put(f"data/{second}", broken)
        found, _ = read_ahead(folder, contract)
        assert len(found) == 8
