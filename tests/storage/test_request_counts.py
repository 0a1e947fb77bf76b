"""The counts are what really happened, on a disk and on S3."""

from concurrent.futures import ThreadPoolExecutor

from distill.storage.request_counts import RequestCounts, requests


def test_each_operation_counts_once_with_its_bytes(store):
    before = requests()
    store.put("a/1", b"12345")
    assert store.put_if_absent("a/2", b"123")
    assert requests() - before == RequestCounts(put=2, bytes_written=8)
    before = requests()
    store.read("a/1")
    assert len(store.list_objects()) == 2
    assert requests() - before == RequestCounts(list=1, get=1, bytes_read=5)
    before = requests()
    store.delete("a/1")
    assert requests() - before == RequestCounts(delete=1)


def test_bytes_read_by_seeking_are_counted(store):
    store.put("a", bytes(100_000))
    before = requests()
    with store.open("a") as file:
        file.seek(99_000)
        file.read(1000)
    done = requests() - before
    # Google's and Azure's stores are asked for the size before
    assert done.get == (2 if store.uri.startswith(("gs:", "abfs:")) else 1)
    assert 1000 <= done.bytes_read < 100_000


def test_threads_do_not_lose_a_count(store):
    before = requests()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: store.put(f"{number}", b"x"), range(200)))
    assert requests() - before == RequestCounts(put=200, bytes_written=200)


def test_a_listing_counts_each_page_of_1000(store):
    # Google's emulator knows no pages, and takes 15 ms of a core to store an object
    objects, pages = (20, 1) if store.uri.startswith("gs:") else (1001, 2)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: store.put(f"{number}", b"x"), range(objects)))
    before = requests()
    assert len(store.list_objects()) == objects
    assert requests() - before == RequestCounts(list=pages)
