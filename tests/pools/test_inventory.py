"""The list as it is stored: columns, numbers that never move, and damage that is told."""

import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.core.errors import StorageError
from distill.core.schema import INVENTORY, table_bytes
from distill.pools.inventory import Inventory, read_inventory
from distill.pools.scan import _segments, take_inventory
from distill.storage.base import CONDITIONAL_LIMIT_BYTES
from distill.storage.open import open_storage
from tests.tiny import write_pool


@pytest.fixture
def pool(tmp_path):
    """Root and files of a pool of three shards."""
    write_pool(tmp_path / "pool", [100, 0, 70])
    return open_storage(str(tmp_path / "root")), open_storage(str(tmp_path / "pool"))


def row(number, groups=(10,), **changes):
    plain = {
        "number": number,
        "key": f"part-{number}",
        "id": f"id-{number}",
        "bytes": 1,
        "rows": sum(groups),
    }
    return plain | {"row_groups": list(groups), "format": "parquet", "retires": None} | changes


def stored(root, *segments):
    """The inventory whose segments have these rows."""
    for number, rows in enumerate(segments):
        root.put(
            f"inventories/p/{number:06d}.arrow", table_bytes(pa.Table.from_pylist(rows, INVENTORY))
        )
    return read_inventory(root, "p", "u")


def test_the_inventory_says_rows_and_row_groups_as_the_files_do(pool):
    root, files = pool
    inventory = take_inventory(root, "unlabelled", files)
    assert [shard.rows for shard in inventory.shards] == [100, 0, 70]
    assert [sum(shard.row_groups) for shard in inventory.shards] == [100, 0, 70]
    assert inventory.shard(0).row_groups == (64, 36)
    assert list(inventory.shards) == [inventory.shard(number) for number in range(3)]
    assert (inventory.rows, inventory.format) == (170, "parquet")
    assert [fragment.rows for fragment in inventory.fragments(64)] == [64, 36, 64, 6]


def test_a_retired_shard_is_neither_seen_nor_counted_and_nobody_takes_its_number(tmp_path):
    root = open_storage(str(tmp_path))
    before = stored(root, [row(0), row(1), row(2)])
    after = stored(
        root,
        [row(0), row(1), row(2)],
        [row(3, (7,), key="part-1", retires=1), row(4, (), key="part-0", id=None, retires=0)],
    )
    assert [shard.number for shard in after.shards] == [2, 3]
    assert after.retired == {0, 1}
    assert after.known == {"part-2": (2, "id-2"), "part-1": (3, "id-3")}
    assert after.shard_rows.tolist() == [0, 0, 10, 7, 0]
    assert after.rows == 17
    assert [fragment.id for fragment in after.fragments(50)] == ["000002-000000", "000003-000000"]
    assert after.digest == before.digest
    assert after.content != before.content


def test_a_shard_of_a_format_without_an_index_is_one_fragment(tmp_path):
    inventory = stored(
        open_storage(str(tmp_path)), [row(0, (900,), format="csv"), row(1, (), format="csv")]
    )
    assert [(part.start, part.rows, part.group) for part in inventory.fragments(50)] == [
        (0, 900, None)
    ]


@given(
    st.lists(st.lists(st.integers(0, 300), max_size=4), min_size=1, max_size=6), st.integers(1, 100)
)
def test_fragments_cover_every_live_row_exactly_once(shards, fragment_rows):
    rows = [
        row(number, groups, retires=0 if number == 1 else None)
        for number, groups in enumerate(shards)
    ]
    table = pa.Table.from_pylist(rows, INVENTORY)
    inventory = Inventory("p", "u", "parquet", "d", 1, table)
    fragments = list(inventory.fragments(fragment_rows))
    covered = [
        (part.shard.number, row)
        for part in fragments
        for row in range(part.start, part.start + part.rows)
    ]
    live = [number for number in range(len(shards)) if number or len(shards) == 1]
    assert covered == [(number, row) for number in live for row in range(sum(shards[number]))]
    assert [part.id for part in fragments] == sorted({part.id for part in fragments})
    assert all(
        part.group is None or shards[part.shard.number][part.group] > fragment_rows
        for part in fragments
    )
    assert all(part.shard == inventory.shard(part.shard.number) for part in fragments)


def test_growth_leaves_the_fragments_that_were_there_as_they_are(pool, tmp_path):
    root, files = pool
    before = list(take_inventory(root, "unlabelled", files).fragments(64))
    write_pool(tmp_path / "pool" / "a", [100])
    after = list(take_inventory(root, "unlabelled", files).fragments(64))
    assert after[: len(before)] == before


def test_an_inventory_travels_whole(pool):
    root, files = pool
    inventory = take_inventory(root, "unlabelled", files)
    assert pickle.loads(pickle.dumps(inventory)) == inventory


def test_a_lost_segment_is_an_error_and_no_renumbering(tmp_path):
    root = open_storage(str(tmp_path))
    stored(root, [row(0)], [row(1)])
    root.delete("inventories/p/000000.arrow")
    with pytest.raises(StorageError, match=r"000000\.arrow is missing"):
        read_inventory(root, "p", "u")


@pytest.mark.parametrize("segment", [0, 1])
def test_a_damaged_segment_is_named_and_not_begun_anew(pool, tmp_path, segment):
    root, files = pool
    take_inventory(root, "unlabelled", files)
    write_pool(tmp_path / "pool" / "more", [30])
    take_inventory(root, "unlabelled", files)
    key = f"inventories/unlabelled/{segment:06d}.arrow"
    content = bytearray(root.read(key))
    content[content.index(b"part-0" if b"part-0" in content else b"parquet")] ^= 1
    for damaged in (bytes(content), root.read(key)[:-20]):
        root.put(key, damaged)
        with pytest.raises(StorageError, match=rf"{segment:06d}\.arrow is damaged"):
            take_inventory(root, "unlabelled", files)


@pytest.mark.parametrize(
    "second",
    [
        [row(0)],
        [row(2)],
        [],
        [row(1, format="csv")],
        [row(1, retires=1)],
        [row(1), row(2, retires=7)],
    ],
    ids=[
        "a copy of the first",
        "one too far",
        "empty",
        "another format",
        "retires itself",
        "retires what is to come",
    ],
)
def test_a_whole_segment_in_the_wrong_place_is_named(tmp_path, second):
    root = open_storage(str(tmp_path))
    with pytest.raises(
        StorageError, match=r"000001\.arrow does not follow from the segments before it"
    ):
        stored(root, [row(0)], second)


MEASURE = """
import resource, sys, time
import pyarrow as pa
from distill.pools.inventory import read_inventory
from distill.storage.open import open_storage

def memory():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

root = open_storage(sys.argv[1])
read_inventory(root, "small", "u").content
before, began = memory(), time.process_time()
inventory = read_inventory(root, "p", "u")
seconds, kept = time.process_time() - began, pa.total_allocated_bytes()
print(seconds, kept / 2**20, (memory() - before) / 2**20, inventory.rows, len(inventory.fragment_table(50_000)))
"""


def test_a_hundred_thousand_shards_are_read_within_seconds_and_megabytes(tmp_path):
    root, draw = open_storage(str(tmp_path)), np.random.default_rng(0)
    rows = [
        row(
            number,
            (50_000, 50_000),
            key=f"year=2026/month=11/part-{number:05d}-{number:032x}.parquet",
            id=draw.bytes(16).hex(),
        )
        for number in range(100_000)
    ]
    segments = list(_segments(pa.Table.from_pylist(rows, INVENTORY), root))
    assert all(
        CONDITIONAL_LIMIT_BYTES / 2 < len(segment) <= CONDITIONAL_LIMIT_BYTES
        for segment in segments
    )
    assert len(segments) <= 5
    for number, segment in enumerate(segments):
        root.put(f"inventories/p/{number:06d}.arrow", segment)
    root.put(
        "inventories/small/000000.arrow", table_bytes(pa.Table.from_pylist(rows[:1], INVENTORY))
    )
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True
    )
    seconds, kept, grown, all_rows, fragments = map(float, told.stdout.split())
    assert (all_rows, fragments) == (10_000_000_000, 200_000)
    print(
        f"{seconds:.2f} s, {kept:.1f} MiB of columns, {grown:.1f} MiB resident, {len(segments)} segments"
    )
    assert kept < 30
    assert seconds < 4
