"""What every store promises: the same tests on a disk and on S3."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import StorageError
from distill.storage.base import CONDITIONAL_LIMIT_BYTES, ObjectMissingError, is_hidden
from distill.storage.open import open_storage
from tests.waiting import wait_until

WRITERS = 16
ROUNDS = 5


def test_a_race_of_conditional_puts_has_exactly_one_winner(store):
    for number in range(ROUNDS):
        ready = threading.Barrier(WRITERS)

        def write(writer, key=f"race/{number}", ready=ready):
            ready.wait()
            return store.put_if_absent(key, b"writer %d" % writer)

        with ThreadPoolExecutor(WRITERS) as threads:
            won = list(threads.map(write, range(WRITERS)))
        assert sum(won) == 1
        assert store.read(f"race/{number}") == b"writer %d" % won.index(True)


def test_a_reader_never_sees_half_of_a_conditional_put(store):
    content = bytes(range(256)) * 1024
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(store.read_or_none("commit"))
            time.sleep(0.001)

    with ThreadPoolExecutor(2) as threads:
        reading = threads.submit(read)
        wait_until(lambda: None in seen)
        assert store.put_if_absent("commit", content)
        wait_until(lambda: content in seen or reading.done())
        done.set()
        reading.result()
    assert seen <= {None, content}
    assert content in seen


def test_a_winner_that_lost_its_answer_reads_its_own_commit_back(store):
    assert store.create("commit", b"mine")
    assert not store.create("commit", b"mine")
    assert store.put_if_absent("commit", b"mine")


def test_a_loser_is_told_so_and_changes_nothing(store):
    assert store.put_if_absent("commit", b"first")
    assert not store.put_if_absent("commit", b"second")
    assert store.read("commit") == b"first"


def test_an_object_too_large_for_a_condition_is_refused_before_it_is_written(store):
    with pytest.raises(StorageError, match="too many for a conditional put"):
        store.put_if_absent("large", bytes(CONDITIONAL_LIMIT_BYTES + 1))
    assert store.read_or_none("large") is None
    assert store.put_if_absent("large", bytes(CONDITIONAL_LIMIT_BYTES))


def test_put_replaces_the_whole_object(store):
    store.put("a", b"a long first content")
    store.put("a", b"short")
    assert store.read("a") == b"short"


def test_a_large_object_comes_back_whole_and_seekable(store):
    content = bytes(range(256)) * (24 << 10)  # 6 MiB: more than one part of an upload
    store.put("large", content)
    with store.open("large") as file:
        file.seek(len(content) - 300)
        assert file.read() == content[-300:]
        file.seek(1 << 20)
        assert file.read(1000) == content[1 << 20 : (1 << 20) + 1000]
    assert store.read("large") == content


def test_a_missing_object_is_named_and_not_an_empty_one(store):
    with pytest.raises(ObjectMissingError, match="no/such"):
        store.read("no/such")
    with pytest.raises(ObjectMissingError, match="no/such"):
        store.open("no/such")
    assert store.read_or_none("no/such") is None


def test_deleting_what_is_not_there_is_no_error(store):
    store.put("a", b"x")
    store.delete("a")
    store.delete("a")
    assert store.list_objects() == []


def test_a_listing_is_sorted_and_complete(store):
    keys = ["b", "a/z", "a/b/c", "a10", "a2", "_made.json", ".hidden/x", "ä ö+%20&=", "A"]
    for key in keys:
        store.put(key, key.encode())
    found = store.list_objects()
    assert [entry.key for entry in found] == sorted(keys)
    assert [entry.size_bytes for entry in found] == [len(key.encode()) for key in sorted(keys)]
    assert all(store.read(entry.key) == entry.key.encode() for entry in found)


def test_a_listing_sees_what_was_written_a_moment_ago(store):
    for number in range(5):
        store.put(f"commits/{number}", b"x")
        assert len(store.folder("commits").list_objects()) == number + 1


def test_a_folder_does_not_hold_its_siblings_of_the_same_beginning(store):
    store.put("pool/a", b"1")
    store.put("pool2/b", b"2")
    store.put("pool-old/c", b"3")
    assert [entry.key for entry in store.folder("pool").list_objects()] == ["a"]


def test_a_folder_below_reads_the_same_objects(store):
    store.folder("labels", "large").put("v1/contract.json", b"{}")
    assert store.read("labels/large/v1/contract.json") == b"{}"
    assert store.folder("labels").url("x") == f"{store.uri}/labels/x"


def test_a_folder_that_is_not_there_lists_nothing(store):
    assert store.folder("no", "such").list_objects() == []


def test_one_object_can_be_a_folder_of_its_own(store):
    store.put("data/part.parquet", b"rows")
    alone = open_storage(store.url("data/part.parquet"))
    assert [entry.key for entry in alone.list_objects()] == ["part.parquet"]
    assert alone.read("part.parquet") == b"rows"
    with alone.open("part.parquet") as file:
        assert file.read() == b"rows"


def test_a_changed_object_has_another_token_although_its_size_stays(store):
    store.put("a", b"one")
    before = store.list_objects()
    assert store.list_objects() == before
    time.sleep(0.02)
    store.put("a", b"two")
    assert store.list_objects() != before


PARTS = st.text("ab._", min_size=1, max_size=4)


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_a_hidden_file_or_folder_is_nobodys_rows(parts):
    assert is_hidden("/".join(parts)) == any(part[0] in "._" for part in parts)
