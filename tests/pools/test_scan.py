"""Files held against the list: never renumbered, never silently other."""

import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core.errors import PoolError
from distill.core.schema import table_bytes
from distill.pools import listing, scan
from distill.pools.inventory import read_inventory
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.spec.pools import Pool
from distill.storage.local import LocalStorage
from distill.storage.open import open_storage
from tests.command import start_code
from tests.tiny import write_pool
from tests.waiting import LIMIT_SECONDS, wait_until

RELABEL = Pool(path="pool", on_change="relabel")


@pytest.fixture
def pool(tmp_path):
    """Root and files of a pool of three shards."""
    write_pool(tmp_path / "pool", [100, 0, 70])
    return open_storage(str(tmp_path / "root")), open_storage(str(tmp_path / "pool"))


def numbers(inventory):
    return {shard.key: shard.number for shard in inventory.shards}


def replace_shard(tmp_path, name, rows):
    write_pool(tmp_path / "new", [rows])
    (tmp_path / "new" / "part-00000.parquet").replace(tmp_path / "pool" / name)


def test_growth_makes_new_numbers_and_never_a_renumbering(pool, tmp_path):
    root, files = pool
    first = take_inventory(root, "unlabelled", files)
    assert numbers(first) == {
        "part-00000.parquet": 0,
        "part-00001.parquet": 1,
        "part-00002.parquet": 2,
    }
    for new in ("a-first-by-name", "part-00001x"):
        replace_shard(tmp_path, f"{new}.parquet", 30)
        grown = take_inventory(root, "unlabelled", files)
        assert numbers(grown) == numbers(first) | {f"{new}.parquet": len(numbers(first))}
        assert grown.digest == first.digest
        assert grown.content != first.content
        first = grown
    assert read_inventory(root, "unlabelled", files.uri) == first


def test_an_unchanged_pool_writes_no_second_segment(pool):
    root, files = pool
    assert take_inventory(root, "unlabelled", files) == take_inventory(root, "unlabelled", files)
    assert len(root.list_objects()) == 1


def test_a_changed_file_is_refused_by_name_with_the_ways_out(pool, tmp_path):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    replace_shard(tmp_path, "part-00002.parquet", 100)
    changed = (
        r"pools\.unlabelled: 1 files .* changed since they were listed \(part-00002\.parquet\)"
    )
    with pytest.raises(PoolError, match=changed) as told:
        take_inventory(root, "unlabelled", files)
    assert 'pools.unlabelled.on_change = "relabel"' in str(told.value)


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
    with pytest.raises(
        PoolError, match=r"vanished since they were listed \(part-00001\.parquet\)"
    ) as told:
        take_inventory(root, "unlabelled", files)
    assert "restore" in str(told.value)


def test_a_changed_file_is_relabelled_under_a_new_number_and_nothing_else_is(
    pool, tmp_path, caplog
):
    root, files = pool
    before = take_inventory(root, "unlabelled", files)
    replace_shard(tmp_path, "part-00000.parquet", 80)
    (tmp_path / "pool" / "part-00001.parquet").unlink()
    after = take_inventory(root, "unlabelled", files, spec=RELABEL)
    assert numbers(after) == {"part-00002.parquet": 2, "part-00000.parquet": 3}
    assert after.shard(2) == before.shard(2)
    assert after.rows == 150
    assert after.digest == before.digest
    assert take_inventory(root, "unlabelled", files) == after, (
        "what is retired is no change any more"
    )
    assert "1 files" in caplog.text
    assert "(part-00000.parquet)" in caplog.text
    (tmp_path / "pool" / "part-00001.parquet").write_bytes(
        (tmp_path / "pool" / "part-00002.parquet").read_bytes()
    )
    assert numbers(take_inventory(root, "unlabelled", files)) == numbers(after) | {
        "part-00001.parquet": 5
    }


def test_the_first_file_may_not_vanish(pool, tmp_path):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    (tmp_path / "pool" / "part-00000.parquet").unlink()
    after = take_inventory(root, "unlabelled", files, spec=RELABEL)
    assert numbers(after) == {"part-00001.parquet": 1, "part-00002.parquet": 2}


def test_files_listed_in_another_format_are_refused(pool, monkeypatch):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    monkeypatch.setattr(scan, "pool_format", lambda *_: "csv")
    with pytest.raises(
        PoolError,
        match=r"pools\.unlabelled\.format: its files were listed as parquet, and are csv now",
    ):
        take_inventory(root, "unlabelled", files)


def test_a_listed_pool_is_read_in_another_dialect(tmp_path):
    files = open_storage(str(tmp_path / "pool"))
    files.put("a.csv", b"a;b\n1;2\n")
    spec = Pool.model_validate_json('{"path": "pool", "csv": {"delimiter": ";"}}')
    root = open_storage(str(tmp_path / "root"))
    listed = take_inventory(root, "mine", files, spec=spec)
    assert listed.format == 'csv {"csv":{"delimiter":";"}}'
    assert read_chunk(listed, 0, range(1), ("b",)).table.to_pylist() == [{"b": "2"}]
    assert take_inventory(root, "mine", files, spec=spec) == listed
    with pytest.raises(PoolError, match=r"pools\.mine\.format: its files were listed as csv \{"):
        take_inventory(root, "mine", files)
    usual = Pool.model_validate_json('{"path": "pool", "csv": {"quote": "\\""}}')
    files.put("a.csv", b"a,b\n1,2\n")
    other = open_storage(str(tmp_path / "other"))
    assert take_inventory(other, "mine", files, spec=usual).format == "csv"
    write_pool(tmp_path / "table", [1])
    with pytest.raises(PoolError, match=r"pools\.mine\.csv: its files are parquet"):
        take_inventory(other, "mine", open_storage(str(tmp_path / "table")), spec=spec)


def test_hidden_files_are_no_shards_and_are_counted_aloud_once(pool, caplog):
    root, files = pool
    for name in ("_SUCCESS", ".part-00000.parquet.crc", "_temporary/part-9.parquet", "_made.json"):
        files.put(name, b"no rows")
    with caplog.at_level(logging.INFO):
        assert len(numbers(take_inventory(root, "unlabelled", files))) == 3
        assert "3 files under" in caplog.text
        caplog.clear()
        take_inventory(root, "unlabelled", files)
        assert "start with _" not in caplog.text


def test_a_pool_without_files_is_refused_with_its_place(tmp_path):
    with pytest.raises(PoolError, match=r"pools\.unlabelled\.path: no file lies at .*nowhere"):
        take_inventory(
            open_storage(str(tmp_path / "root")),
            "unlabelled",
            open_storage(str(tmp_path / "nowhere")),
        )


def test_files_that_cannot_be_read_are_named_and_counted_before_anything_is_listed(pool):
    root, files = pool
    for number in range(5):
        files.put(f"notes-{number}.parquet", b"not rows")
    with pytest.raises(
        PoolError, match=r"pools\.unlabelled: 5 of 8 new files cannot be read"
    ) as told:
        take_inventory(root, "unlabelled", files)
    for number in range(3):
        assert f"notes-{number}.parquet" in str(told.value)
    assert "and 2 more" in str(told.value)
    assert root.list_objects() == []


def test_files_without_rows_are_shards_but_a_pool_of_them_is_refused(pool, tmp_path):
    root, _ = pool
    write_pool(tmp_path / "empty", [0, 0])
    with pytest.raises(PoolError, match=r"the 2 files under .* hold no rows"):
        take_inventory(root, "unlabelled", open_storage(str(tmp_path / "empty")))


def test_runs_that_list_a_pool_at_once_agree_on_one_list(pool, store):
    """Each file once: a run that comes between another's reading and writing must not list the
    files a second time."""
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
        assert [shard.key for shard in taken[0].shards] == [
            entry.key for entry in files.list_objects()
        ]


def test_a_segment_claimed_by_another_since_it_was_read_is_not_followed_by_a_copy(pool, tmp_path):
    """The race of the test above at its narrowest place: the other run, which sees a file more,
    writes while this one reads footers."""
    root, files = pool

    def slow(*told):
        if not root.list_objects():
            write_pool(tmp_path / "pool" / "a", [30])
            take_inventory(root, "unlabelled", files)
        return scan.read_file_stats(*told)

    taken = take_inventory(root, "unlabelled", files, read=slow)
    assert [shard.key for shard in taken.shards] == [entry.key for entry in files.list_objects()]
    assert len(root.list_objects()) == 1


def test_a_driver_that_cuts_segments_elsewhere_does_not_list_files_twice(
    pool, tmp_path, monkeypatch
):
    """Other library versions compress otherwise: the second segment of the loser does not follow
    the winner's first."""
    root, files = pool
    monkeypatch.setattr(
        scan,
        "_segments",
        lambda table, _: (table_bytes(table.slice(n, 1)) for n in range(len(table))),
    )

    def slow(*told):
        if not root.list_objects():
            with monkeypatch.context() as patch:
                patch.setattr(
                    scan,
                    "_segments",
                    lambda table, _: [table_bytes(table.slice(0, 2)), table_bytes(table.slice(2))],
                )
                take_inventory(root, "unlabelled", files)
        return scan.read_file_stats(*told)

    taken = take_inventory(root, "unlabelled", files, read=slow)
    assert [shard.key for shard in taken.shards] == [entry.key for entry in files.list_objects()]
    assert taken.segments == 2


TAKE = """
import pathlib, sys, time
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.storage.open import open_storage
from distill.storage.local import LocalStorage
root, pool = sys.argv[1:]
print("ready", flush=True)
while True:
    last = pathlib.Path(pool, "part-00059.parquet").exists()
    take_inventory(open_storage(root), "unlabelled", open_storage(pool))
    if last:
        break
"""


def test_two_processes_that_list_a_growing_pool_at_once_number_each_file_once(tmp_path):
    write_pool(tmp_path / "all", [3] * 60)
    (tmp_path / "pool").mkdir()
    files = sorted((tmp_path / "all").iterdir())
    files[0].rename(tmp_path / "pool" / files[0].name)
    runs = [start_code(TAKE, tmp_path / "root", tmp_path / "pool") for _ in range(2)]
    for run in runs:
        assert run.stdout.readline() == "ready\n"
    root = open_storage(str(tmp_path / "root"))

    def segments():
        stored = read_inventory(root, "unlabelled", str(tmp_path / "pool"))
        return stored.segments if stored else 0

    for listed, start in enumerate(range(1, len(files), 12)):
        wait_until(lambda listed=listed: segments() > listed)  # so that it grows while both list
        for file in files[start : start + 12]:
            file.rename(tmp_path / "pool" / file.name)
    assert [run.wait(LIMIT_SECONDS) for run in runs] == [0, 0]
    for run in runs:
        run.stdout.close()
    inventory = read_inventory(root, "unlabelled", str(tmp_path / "pool"))
    assert sorted(shard.key for shard in inventory.shards) == [file.name for file in files]
    assert not inventory.retired
    assert (
        5 <= inventory.segments == len(root.list_objects())
    )  # the last two growths may fall into one listing


def test_a_listed_pool_costs_two_listings_and_a_read_a_segment(pool, tmp_path, monkeypatch):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    write_pool(tmp_path / "pool" / "more", [30])
    take_inventory(root, "unlabelled", files)
    asked = []
    for name in ("walk", "open", "put", "create"):
        real = getattr(LocalStorage, name)
        monkeypatch.setattr(
            LocalStorage,
            name,
            lambda *told, name=name, real=real: asked.append(name) or real(*told),
        )
    take_inventory(root, "unlabelled", files)
    assert sorted(asked) == ["open", "open", "walk", "walk"]


def test_a_shard_that_was_listed_vanishes_for_its_name(pool, tmp_path, monkeypatch):
    root, files = pool
    (tmp_path / "pool" / "part-00002.parquet").rename(tmp_path / "pool" / "b.md")
    spec = Pool(path="pool", format="parquet")
    with monkeypatch.context() as before:  # such names were not left out
        before.setattr(listing, "_SIDE_FILES", re.compile("(?!)"))
        listed = take_inventory(root, "unlabelled", files, spec=spec)
    assert listed.rows == 170
    (tmp_path / "pool" / "c.md").write_text("# No shard")
    assert take_inventory(root, "unlabelled", files, spec=spec) == listed
