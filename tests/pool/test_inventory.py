"""The list of shards: never renumbered, never silently other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.errors import PoolError, StorageError
from distill.pool import Fragment, Inventory, Shard, read_inventory, take_inventory
from distill.storage import open_storage
from tests.tiny import write_pool


@pytest.fixture
def pool(tmp_path):
    """Root and files of a pool of three shards."""
    write_pool(tmp_path / "pool", [100, 0, 70])
    return open_storage(str(tmp_path / "root")), open_storage(str(tmp_path / "pool"))


def numbers(inventory):
    return {shard.key: shard.number for shard in inventory.shards}


def test_growth_makes_new_numbers_and_never_a_renumbering(pool, tmp_path):
    root, files = pool
    first = take_inventory(root, "unlabelled", files)
    assert numbers(first) == {"part-00000.parquet": 0, "part-00001.parquet": 1, "part-00002.parquet": 2}
    for new in ("a-first-by-name", "part-00001x"):
        write_pool(tmp_path / "new", [30])
        (tmp_path / "new" / "part-00000.parquet").rename(tmp_path / "pool" / f"{new}.parquet")
        grown = take_inventory(root, "unlabelled", files)
        assert numbers(grown) == numbers(first) | {f"{new}.parquet": len(first.shards)}
        assert grown.digest == first.digest
        assert grown.content != first.content
        first = grown
    assert read_inventory(root, "unlabelled", files.uri) == first


def test_an_unchanged_pool_writes_no_second_segment(pool):
    root, files = pool
    assert take_inventory(root, "unlabelled", files) == take_inventory(root, "unlabelled", files)
    assert len(root.list_objects()) == 1


def test_the_inventory_says_rows_and_row_groups_as_the_files_do(pool):
    root, files = pool
    inventory = take_inventory(root, "unlabelled", files)
    assert [shard.rows for shard in inventory.shards] == [100, 0, 70]
    assert [sum(shard.row_groups) for shard in inventory.shards] == [100, 0, 70]
    assert inventory.shards[0].row_groups == (64, 36)
    assert inventory.rows == 170


def test_a_changed_file_is_refused_by_name(pool, tmp_path):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    write_pool(tmp_path / "new", [100])
    (tmp_path / "new" / "part-00000.parquet").replace(tmp_path / "pool" / "part-00002.parquet")
    with pytest.raises(
        PoolError, match=r"pools\.unlabelled: 1 files .* changed since they were listed \(part-00002\.parquet\)"
    ):
        take_inventory(root, "unlabelled", files)


def test_a_file_rewritten_at_the_same_size_is_noticed(pool, tmp_path):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    file = tmp_path / "pool" / "part-00000.parquet"
    file.write_bytes(file.read_bytes())
    with pytest.raises(PoolError, match="changed"):
        take_inventory(root, "unlabelled", files)


def test_a_vanished_file_is_refused_by_name(pool, tmp_path):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    (tmp_path / "pool" / "part-00001.parquet").unlink()
    with pytest.raises(PoolError, match=r"vanished since they were listed \(part-00001\.parquet\)") as told:
        take_inventory(root, "unlabelled", files)
    assert "restore" in str(told.value)


def test_hidden_files_are_no_shards(pool, tmp_path):
    root, files = pool
    for name in ("_SUCCESS", ".part-00000.parquet.crc", "_temporary/part-9.parquet"):
        files.put(name, b"no rows")
    assert len(take_inventory(root, "unlabelled", files).shards) == 3


def test_a_pool_without_files_is_refused_with_its_place(tmp_path):
    with pytest.raises(PoolError, match=r"pools\.unlabelled\.path: no file lies at .*nowhere"):
        take_inventory(open_storage(str(tmp_path / "root")), "unlabelled", open_storage(str(tmp_path / "nowhere")))


def test_a_file_that_is_no_parquet_is_refused_by_name_before_anything_is_listed(pool):
    root, files = pool
    files.put("notes.txt", b"not rows")
    with pytest.raises(PoolError, match=r"the ending of .notes\.txt. tells no format"):
        take_inventory(root, "unlabelled", files)
    assert root.list_objects() == []


def test_runs_that_list_a_pool_at_once_agree_on_one_list(pool, store):
    """Each file once: a run that comes between another's reading and writing must not list the files a second time."""
    _, files = pool
    runs = 8
    for number in range(10):
        root, ready = store.folder(str(number)), threading.Barrier(runs)

        def take(_, root=root, ready=ready):
            ready.wait()
            return take_inventory(root, "unlabelled", files)

        with ThreadPoolExecutor(runs) as threads:
            taken = list(threads.map(take, range(runs)))
        assert all(inventory == taken[0] for inventory in taken)
        assert [shard.key for shard in taken[0].shards] == [entry.key for entry in files.list_objects()]


def test_a_segment_claimed_by_another_since_it_was_read_is_not_followed_by_a_copy(pool, monkeypatch):
    """The race of the test above at its narrowest place: the other run writes while this one reads footers."""
    from distill.pool import inventory

    root, files = pool
    real = inventory.read_footer

    def slow(storage, key, format):
        if not root.list_objects():
            monkeypatch.setattr(inventory, "read_footer", real)
            take_inventory(root, "unlabelled", files)
        return real(storage, key, format)

    monkeypatch.setattr(inventory, "read_footer", slow)
    monkeypatch.setattr(inventory, "_FOOTER_THREADS", 1)
    taken = take_inventory(root, "unlabelled", files)
    assert [shard.key for shard in taken.shards] == [entry.key for entry in files.list_objects()]


def test_a_lost_segment_is_an_error_and_no_renumbering(pool, tmp_path):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    write_pool(tmp_path / "pool" / "more", [30])
    take_inventory(root, "unlabelled", files)
    root.delete("inventories/unlabelled/000000.arrow")
    with pytest.raises(StorageError, match=r"000000\.arrow is missing"):
        take_inventory(root, "unlabelled", files)


def test_a_damaged_segment_is_an_error_and_not_begun_anew(pool):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    key = "inventories/unlabelled/000000.arrow"
    root.put(key, root.read(key)[:-20])
    with pytest.raises(StorageError, match="damaged"):
        take_inventory(root, "unlabelled", files)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(1, 100))
def test_fragments_cover_every_row_exactly_once(shard_rows, fragment_rows):
    shards = tuple(Shard(number, f"part-{number}", "id", 1, rows, (rows,)) for number, rows in enumerate(shard_rows))
    fragments = list(Inventory("p", "u", shards, "d").fragments(fragment_rows))
    covered = [
        (fragment.shard.number, row)
        for fragment in fragments
        for row in range(fragment.start, fragment.start + fragment.rows)
    ]
    assert covered == [(number, row) for number, rows in enumerate(shard_rows) for row in range(rows)]
    assert len({fragment.id for fragment in fragments}) == len(fragments)
    assert [fragment.id for fragment in fragments] == sorted(fragment.id for fragment in fragments)
    assert all(0 < fragment.rows <= fragment_rows for fragment in fragments)


def test_growth_leaves_the_fragments_that_were_there_as_they_are(pool, tmp_path):
    root, files = pool
    before: list[Fragment] = list(take_inventory(root, "unlabelled", files).fragments(64))
    write_pool(tmp_path / "pool" / "a", [100])
    after = list(take_inventory(root, "unlabelled", files).fragments(64))
    assert after[: len(before)] == before
