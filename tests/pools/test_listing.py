"""What lies beside shards is told and left out; what is no folder of plain files is refused."""

from __future__ import annotations

import os

import pytest

from distill.core.errors import PoolError
from distill.pools.listing import list_pool, list_shards
from distill.storage.open import open_storage


def folder(tmp_path, *keys):
    """A folder of files of one byte."""
    store = open_storage(str(tmp_path / "pool"))
    for key in keys:
        store.put(key, b"x")
    return store


SIDE_FILES = """README.md readme README.txt LICENSE licence.txt NOTICE CITATION.cff notes.MD Thumbs.db
    dataset_info.json dataset_infos.json state.json SHA256SUMS a.parquet.crc sub/README.md"""
SHARDS = """readme.csv license.parquet license-plates.dat readme_texts.txt states.json rows.json
    cache-0.arrow notices.txt"""


@pytest.mark.parametrize("name", SIDE_FILES.split())
def test_a_file_without_rows_is_a_shard_or_goes_untold(tmp_path, name):
    listing = list_pool(folder(tmp_path, "a.parquet", name, "_SUCCESS", ".gitattributes"))
    assert [entry.key for entry in listing.shards] == ["a.parquet"]
    assert (listing.side_files, listing.hidden) == ([name], 2)


@pytest.mark.parametrize("name", SHARDS.split())
def test_a_shard_is_left_out_for_its_name(tmp_path, name):
    assert [entry.key for entry in list_shards(folder(tmp_path, name))] == [name]


def test_one_file_that_the_job_names_is_left_out_for_its_name(tmp_path):
    folder(tmp_path, "README.md", "a.csv")
    (entry,) = list_shards(open_storage(str(tmp_path / "pool" / "README.md")))
    assert entry.key == "README.md"


def test_transformations_that_datasets_keeps_beside_a_saved_set_are_rows_twice(tmp_path):
    keys = ["train/data-0.arrow", "train/state.json", "train/cache-0.arrow", "b/cache-0.arrow"]
    shards = list_shards(folder(tmp_path, *keys))
    assert [entry.key for entry in shards] == ["b/cache-0.arrow", "train/data-0.arrow"]


LOGS = {
    "Delta Lake": "_delta_log/00000000000000000000.json",
    "Hudi": ".hoodie/hoodie.properties",
    "Iceberg": "metadata/v1.metadata.json",
}


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("part", ["", "data", "data/day=1", "day=1", "day=1/hour=2"])
def test_files_of_a_table_are_read_without_its_log(tmp_path, kind, part):
    shard = os.path.normpath(f"sales/{part}/a.parquet")
    store = folder(tmp_path, f"sales/{LOGS[kind]}", shard)
    for key in ("", "sales", f"sales/{part}", shard):
        uri = os.path.normpath(f"{store.uri}/{key}")
        with pytest.raises(
            PoolError, match=rf"pools\.mine: .* is a table of {kind}: .*plain Parquet"
        ):
            list_pool(open_storage(uri), "mine")


def test_a_folder_with_metadata_of_another_kind_is_a_table(tmp_path):
    keys = ["metadata/a.parquet", "data/b.parquet", "metadata.json/c.parquet"]
    assert len(list_shards(folder(tmp_path, *keys))) == 3
    assert len(list_shards(open_storage(str(tmp_path / "pool" / "data")))) == 1


def test_a_name_that_is_no_utf8_is_a_traceback(tmp_path):
    store = folder(tmp_path, "a.parquet")
    os.rename(tmp_path / "pool" / "a.parquet", os.fsencode(tmp_path / "pool") + b"/caf\xe9.parquet")
    with pytest.raises(PoolError, match=r"name of b'caf\\xe9\.parquet' .* is no UTF-8\. Rename"):
        list_pool(store, "mine")


def test_a_folder_of_nothing_but_side_files_is_told_as_empty(tmp_path):
    with pytest.raises(PoolError, match=r"pools\.mine\.path: no file lies at .* but README\.md"):
        list_pool(folder(tmp_path, "README.md"), "mine")
