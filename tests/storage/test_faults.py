"""Each fault on each operation, through `tests.faulty_store` in front of the real server: the same
result as without it, in bounded time."""

import io
import logging
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import StorageError
from distill.storage import retry, transfers
from distill.storage.base import ObjectMissingError
from distill.storage.open import open_storage
from tests.conftest import SERVER, forget_client, has_ceph
from tests.faulty_store import NAMES, Fault, FaultyStore
from tests.waiting import LIMIT_SECONDS, slowness

CONTENT = bytes(range(256)) * 1200  # 300 KB: more than a reader's tail
KEYS = [f"below/{number:04d}" for number in range(3)]


@pytest.fixture(scope="module")
def proxy(s3):
    """The proxy; the environment leads to it, and a store that hangs is given up after a second."""
    with (
        FaultyStore(os.environ["AWS_ENDPOINT_URL"], seed=1) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        proxy.trickle_seconds = 0.3
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        patch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        patch.setattr(transfers, "ANSWER_SECONDS", 1.0)
        forget_client()
        yield proxy
    forget_client()


@pytest.fixture
def faulty(proxy, s3_root):
    """The proxy without a fault yet, and an empty folder behind it."""
    proxy.faulty()
    proxy.did.clear()
    proxy.root = open_storage(s3_root)
    return proxy


def put(store):
    store.put("new", CONTENT)
    return store.read("new") == CONTENT


def create(store):
    return store.create("new", b"mine") and store.read("new") == b"mine"


def put_if_absent(store):
    return store.put_if_absent("new", b"mine") and store.read("new") == b"mine"


def lose(store):
    return not store.put_if_absent("kept", b"mine") and store.read("kept") == CONTENT


def read(store):
    return store.read("kept") == CONTENT


def seek(store):
    with store.open("kept") as file:
        file.seek(1000)
        first = file.read(70_000)
        file.seek(-10, os.SEEK_END)
        return first == CONTENT[1000:71_000] and file.read() == CONTENT[-10:]


def walk(store):
    return [entry.key for entry in store.folder("below").list_objects()] == [
        key.removeprefix("below/") for key in KEYS
    ]


def delete(store):
    store.delete("kept")
    return store.read_or_none("kept") is None


OPERATIONS = {
    "put": (put, "PUT"), "create": (create, "PUT"), "put_if_absent": (put_if_absent, "PUT"), "lose": (lose, "PUT"),
    "read": (read, "GET"), "seek": (seek, "GET"), "walk": (walk, "LIST"), "delete": (delete, "DELETE"),
}  # fmt: skip


@pytest.mark.parametrize("fault", [name for name in NAMES if name != "flipped"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_that_passes_changes_nothing(faulty, operation, fault):
    for key in KEYS:
        faulty.root.put(key, b"x")
    faulty.root.put("kept", CONTENT)
    work, method = OPERATIONS[operation]
    faulty.faulty(Fault(fault, method, nth=range(1, 2 if fault == "timeout" else 3)))
    began = time.monotonic()
    assert work(faulty.root)
    assert time.monotonic() - began < 15 * slowness()
    assert faulty.did[fault] >= 1, "no fault happened, so this test shows nothing"


@pytest.mark.parametrize("fault", ["500_after", "reset_after"])
def test_a_kept_put_of_anothers_is_lost_even_if_the_answer_was_lost_too(faulty, fault):
    assert faulty.root.put_if_absent("commits/1", b"another's")
    faulty.faulty(Fault(fault, "PUT", nth=range(1, 2)))
    assert not faulty.root.put_if_absent("commits/1", b"mine")
    assert not faulty.root.create("commits/1", b"mine")
    assert faulty.did[fault] == 1


@pytest.mark.parametrize("size", [10_000, 1 << 20])
def test_a_flipped_bit_in_a_small_object_is_read_again(faulty, size):
    faulty.root.put("commit", CONTENT[:1] * size)
    faulty.faulty(Fault("flipped", "GET", nth=range(1, 2)))
    assert faulty.root.read("commit") == CONTENT[:1] * size
    assert faulty.did["flipped"] == 1


def test_a_flipped_bit_in_what_its_reader_has_a_digest_of_is_read_again(faulty):
    content = CONTENT * 4  # more than an MD5 is taken of
    faulty.root.put("data", content)
    faulty.faulty(Fault("flipped", "GET", nth=range(1, 2)))
    assert faulty.root.read("data", content.__eq__) == content
    assert faulty.did["flipped"] == 1
    before = faulty.asked["GET"]
    assert faulty.root.read("data", b"another".__eq__) == content
    assert faulty.asked["GET"] == before + 2, "what the store has is returned to be named"


def test_a_store_whose_etag_is_no_md5_is_believed_when_it_says_the_same_twice(faulty):
    faulty.root.put("commit", b"x" * 1000)
    faulty.faulty(
        Fault("flipped", "GET")
    )  # each time the same bit: to the reader, another kind of ETag
    assert len(faulty.root.read("commit")) == 1000


def test_a_long_trouble_is_told_and_ends_with_a_named_error(faulty, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "distill.storage")
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 2.0)
    monkeypatch.setattr(retry, "QUIET_SECONDS", 0.5)
    monkeypatch.setattr(retry, "_silences", {})
    faulty.faulty(Fault("503"))
    with pytest.raises(
        StorageError,
        match=r"new: the store did not answer .*503 SlowDown.*run the same command again",
    ):
        faulty.root.put("new", b"x")
    assert "the store does not answer (503 SlowDown), trying again for up to 2 s" in caplog.text


def test_a_trickle_below_all_patience_is_given_up_and_asked_for_again(faulty, monkeypatch):
    monkeypatch.setattr(transfers, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(transfers, "SLOWEST_BYTES_PER_SECOND", 10**9)
    faulty.root.put("kept", CONTENT)
    faulty.trickle_seconds = 80.0
    faulty.faulty(Fault("slow", "GET", nth=range(1, 2)))
    began = time.monotonic()
    assert faulty.root.read("kept") == CONTENT
    assert time.monotonic() - began < 70


@pytest.mark.parametrize(
    "call", [lambda store: store.read("missing"), lambda store: store.create("kept", b"x")]
)
def test_what_will_not_pass_is_asked_once(faulty, call):
    faulty.root.put("kept", CONTENT)
    before = faulty.asked.total()
    with suppress(ObjectMissingError):
        assert call(faulty.root) is False
    assert faulty.asked.total() == before + 1


def test_200_writers_under_every_fault_at_once_each_win_exactly_their_own(faulty):
    faulty.faulty(
        *(Fault(name, "PUT", probability=0.05) for name in NAMES if name not in ("timeout", "slow"))
    )

    def race(number):
        won = [
            faulty.root.put_if_absent(f"commits/{number}", f"{number} by {writer}".encode())
            for writer in range(2)
        ]
        return won, faulty.root.read(f"commits/{number}")

    with ThreadPoolExecutor(32) as threads:
        results = list(threads.map(race, range(100)))
    assert all(won == [True, False] for won, _ in results)
    assert [content for _, content in results] == [b"%d by 0" % number for number in range(100)]
    assert faulty.did["500_after"] + faulty.did["reset_after"] > 3


@pytest.mark.slow
def test_a_store_killed_and_started_again_in_the_middle_of_200_commits_loses_and_doubles_none(
    tmp_path, monkeypatch
):
    if not has_ceph():
        pytest.skip("needs Ceph's radosgw, ceph-mon and ceph-osd: moto keeps nothing over a kill")
    started = serve(tmp_path, "start")
    try:
        for line in started.splitlines():
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
        forget_client()
        boto3.Session().client("s3").create_bucket(Bucket="killed")
        survive_a_kill(open_storage("s3://killed/run"), tmp_path)
    finally:
        serve(tmp_path, "stop")
        monkeypatch.undo()
        forget_client()


def survive_a_kill(store, folder):
    done, half, killed = [], threading.Event(), threading.Event()

    def commit(number):
        """Two writers of one key; the first asks first, so exactly one is told True, whatever
        happens between."""
        if number >= 150:
            assert killed.wait(LIMIT_SECONDS)
        won = [
            writer
            for writer in "ab"
            if store.put_if_absent(f"commits/{number}", f"{number}{writer}".encode())
        ]
        done.append(number)
        if len(done) == 60:
            half.set()
        return won

    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(commit, number) for number in range(200)]
        assert half.wait(LIMIT_SECONDS)
        serve(folder, "kill")
        killed.set()
        serve(folder, "start")
        won = [result.result() for result in results]
    assert all(len(winners) == 1 for winners in won)
    assert [store.read(f"commits/{number}") for number in range(200)] == [
        f"{number}{winners[0]}".encode() for number, winners in enumerate(won)
    ]
    assert len(store.folder("commits").list_objects()) == 200


def serve(folder, command):
    environment = os.environ | {"S3_SIZE_GB": "4"}
    return subprocess.run(
        [SERVER, command, folder], env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def parquet(faulty):
    """Two row groups of 80 KB in a file on the store."""
    table, content = pa.table({"x": list(range(20_000))}), io.BytesIO()
    pq.write_table(table, content, row_group_size=10_000, compression="none", use_dictionary=False)
    faulty.root.put("part.parquet", content.getvalue())
    return table


def read_parquet(store, pre_buffer):
    with store.open("part.parquet") as file:
        return pq.ParquetFile(pa.PythonFile(file, "r"), pre_buffer=pre_buffer).read()


@pytest.mark.parametrize("pre_buffer", [True, False])
@pytest.mark.parametrize("fault", ["503", "reset_after", "truncated"])
def test_a_parquet_file_is_read_whole_through_faults(faulty, parquet, pre_buffer, fault):
    faulty.faulty(Fault(fault, "GET", nth=range(1, 3)))
    assert read_parquet(faulty.root, pre_buffer) == parquet
    assert faulty.did[fault] == 2


@pytest.mark.parametrize("pre_buffer", [True, False])
def test_a_store_that_goes_away_under_pyarrow_is_still_our_named_error(
    faulty, parquet, pre_buffer, monkeypatch
):
    monkeypatch.setattr(retry, "LIMIT_SECONDS", 0.5)
    faulty.faulty(Fault("503", "GET", nth=range(2, 1000)))
    with pytest.raises(
        StorageError, match=r"part.parquet: the store did not answer .*503 SlowDown"
    ):
        read_parquet(faulty.root, pre_buffer)
