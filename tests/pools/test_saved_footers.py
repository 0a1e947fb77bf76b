"""What was read of new files before a kill is not read again, and changes nothing of the list."""

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from distill.core.errors import PoolError
from distill.pools import file_stats
from distill.pools.formats.shard_file import Footer
from distill.pools.saved_footers import SavedFooters
from distill.pools.scan import take_inventory
from distill.pools.shard_id import shard_id
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.command import start_code
from tests.tiny import write_pool
from tests.waiting import wait_until

FILES = 200
SAVED = 16
STORED = FILES // 2 // SAVED
NAME = "part-{:05d}.parquet"
STOPPED = f"""
import sys, time
from distill.pools import file_stats
from distill.pools.scan import take_inventory
from distill.storage.open import open_storage
root, pool = sys.argv[1:]
read = file_stats._stats_of_file

def read_half(files, key, format):
    # by name: a thread that comes late to one of the first must not wait at it
    if key >= "{NAME.format(FILES // 2)}":
        time.sleep(600)
    return read(files, key, format)

file_stats._SAVED_FILES = {SAVED}
file_stats._stats_of_file = read_half
take_inventory(open_storage(root), "rows", open_storage(pool))
"""


@pytest.fixture
def killed(tmp_path, monkeypatch, store):
    """Root and files of a pool whose first listing was killed in its middle."""
    monkeypatch.setattr(file_stats, "_SAVED_FILES", SAVED)
    write_pool(tmp_path / "pool", [8])
    first = tmp_path / "pool" / "part-00000.parquet"
    for number in range(1, FILES):
        shutil.copy(first, first.with_name(NAME.format(number)))
    driver = start_code(STOPPED, store.uri, tmp_path / "pool")
    wait_until(lambda: len(store.list_objects()) == STORED, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert store.folder("inventories").list_objects() == []
    return store, open_storage(str(tmp_path / "pool"))


@pytest.fixture
def opened(monkeypatch):
    """Keys of the files whose footers are read."""
    keys, read = [], file_stats.read_footer
    monkeypatch.setattr(
        file_stats,
        "read_footer",
        lambda files, key, format: keys.append(key) or read(files, key, format),
    )
    return keys


def undisturbed(files, folder):
    root = open_storage(str(folder))
    return take_inventory(root, "rows", files), root.read("inventories/rows/000000.arrow")


def test_a_killed_listing_goes_on_where_it_was_and_writes_the_same_bytes(killed, opened, tmp_path):
    root, files = killed
    expected, content = undisturbed(files, tmp_path / "other")
    opened.clear()
    assert take_inventory(root, "rows", files) == expected
    assert len(opened) == len(set(opened)) == FILES - STORED * SAVED
    assert root.read("inventories/rows/000000.arrow") == content
    assert [entry.key for entry in root.list_objects()] == ["inventories/rows/000000.arrow"]


def test_runs_that_go_on_after_a_kill_at_once_agree_on_one_list(killed, tmp_path):
    root, files = killed
    expected, content = undisturbed(files, tmp_path / "other")
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: take_inventory(root, "rows", files), range(4)))
    assert taken == [expected] * 4
    assert root.read("inventories/rows/000000.arrow") == content


def test_a_file_that_was_replaced_after_the_kill_is_taken_for_what_it_was(killed, tmp_path):
    root, files = killed
    write_pool(tmp_path / "new", [30])
    (tmp_path / "new" / "part-00000.parquet").replace(tmp_path / "pool" / "part-00000.parquet")
    inventory = take_inventory(root, "rows", files)
    assert inventory.shard(0).rows == 30
    assert inventory.rows == 30 + 8 * (FILES - 1)


def test_files_that_cannot_be_read_make_the_others_be_read_again(killed, opened, tmp_path):
    root, files = killed
    files.put("broken.parquet", b"no rows")
    for _ in range(2):
        opened.clear()
        with pytest.raises(PoolError, match=r"1 of \d+ new files cannot be read"):
            take_inventory(root, "rows", files)
    assert len(opened) <= 2 * SAVED
    files.delete("broken.parquet")
    assert take_inventory(root, "rows", files).rows == 8 * FILES


def test_a_damaged_or_vanished_object_ends_the_listing(killed, opened, caplog):
    root, files = killed
    first, second, *_ = [entry.key for entry in root.list_objects()]
    root.put(first, root.read(first)[:-40])
    root.delete(second)
    assert take_inventory(root, "rows", files).rows == 8 * FILES
    assert "is damaged" in caplog.text
    assert len(opened) < FILES


def test_a_few_new_files_are_stored_twice(tmp_path):
    write_pool(tmp_path / "pool", [8] * 5)
    files, root = open_storage(str(tmp_path / "pool")), open_storage(str(tmp_path / "root"))
    before = requests()
    take_inventory(root, "rows", files)
    assert (requests() - before).put == 3, "the probe of conditional puts, and one segment"


def test_footers_are_read_as_another_format_read_them(store):
    ours = SavedFooters.of(store, "rows", "/pool", "parquet")
    others = SavedFooters.of(store, "rows", "/pool", 'csv {"csv":{"delimiter":";"}}')
    assert ours.folder.uri != others.folder.uri


def test_a_schema_comes_back_as_it_was(store):
    fields = [
        pa.field(
            "x", pa.list_(pa.float32(), 4), nullable=False, metadata={"PARQUET:field_id": "1"}
        ),
        pa.field("day", pa.dictionary(pa.int32(), pa.string())),
        pa.field("price", pa.decimal128(9, 2)),
    ]
    footer = Footer((3, 0, 7), pa.schema(fields))
    files = store.folder("pool")
    for key in "abc":
        files.put(key, b"x")
    entries = files.list_objects()
    saved = SavedFooters.of(store, "rows", files.uri, "parquet")
    saved.save(entries, [footer, "b cannot be read", footer])
    ids = {shard_id(entry) for entry in entries}
    found = saved.load(ids)
    assert found == {shard_id(entries[0]): footer, shard_id(entries[2]): footer}
    assert found[shard_id(entries[0])].schema.equals(footer.schema, check_metadata=True)
    assert saved.load(set()) == {}
