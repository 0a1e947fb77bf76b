"""A format that a plugin's file defines is one like ours, wherever formats are told apart."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from distill.core import plugins
from distill.core.errors import JobError, PoolError
from distill.core.source import PythonFile, read_source
from distill.job.job import Job
from distill.job.load import read_job
from distill.pools.formats.open import format_named
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import pool_format, read_footer, read_rows, without_ending
from distill.pools.formats.shard_file import ShardFile
from distill.pools.open_pool import OpenPool
from distill.pools.row_cache import read_chunk
from distill.pools.scan import take_inventory
from distill.spec.pools import POOL_FORMATS, Pool
from distill.storage.open import open_storage

PLUGIN = Path(__file__).parents[2] / "fixtures" / "plugins" / "lines_format.py"
BUILT_IN = ["parquet", "arrow", "jsonl", "csv"]
CONTENT = "a b\n1 2\n3 4 5\n" + "".join(f"{n} {n / 4}\n" for n in range(98))
JOB = """
root = "runs"
[pools.mine]
path = "pool"
format = "{format}"
features = {{ kind = "vector", columns = ["a", "b"] }}
"""


@pytest.fixture
def numbers():
    plugins.load_plugins([read_source(PLUGIN, "plugins")])


def write_job(folder: Path, format: str) -> Path:
    file = folder / "job.toml"
    file.write_text(JOB.format(format=format))
    return file


def test_a_job_takes_another_name_than_those_that_are_registered(tmp_path):
    expected = r"pools\.mine\.format = 'numbers': must be 'parquet', 'arrow', 'jsonl' or"
    with pytest.raises(JobError, match=rf"{expected} 'csv'\."):
        read_job(write_job(tmp_path, "numbers"))
    plugins.load_plugins([read_source(PLUGIN, "plugins")])
    assert read_job(write_job(tmp_path, "numbers")).pools["mine"].format == "numbers"
    with pytest.raises(JobError, match=r"'orc': must be .* 'jsonl', 'csv' or 'numbers'\."):
        read_job(write_job(tmp_path, "orc"))


@pytest.mark.parametrize("value", [3, ["csv"], {}])
def test_a_format_that_is_no_text_is_taken_or_breaks_the_check(tmp_path, value):
    file = write_job(tmp_path, "csv")
    file.write_text(file.read_text().replace('"csv"', str(value)))
    with pytest.raises(JobError, match=r"pools\.mine\.format = .*: must be 'parquet', "):
        read_job(file)


def test_the_json_schema_of_a_job_lists_other_formats_than_are_registered():
    def listed():
        kinds = Job.model_json_schema()["$defs"]["Pool"]["properties"]["format"]["anyOf"]
        assert kinds[1:] == [{"type": "null"}]
        return kinds[0]

    assert listed() == {"enum": BUILT_IN, "type": "string"}
    plugins.load_plugins([read_source(PLUGIN, "plugins")])
    assert listed() == {"enum": [*BUILT_IN, "numbers"], "type": "string"}


@pytest.mark.parametrize("ending", ["numbers", "numbers.gz"])
def test_rows_of_a_plugin_are_others_than_the_file_has(tmp_path, numbers, ending):
    store = open_storage(str(tmp_path))
    key = f"part.{ending}"
    content = CONTENT.encode()
    store.put(key, gzip.compress(content) if ending.endswith(".gz") else content)
    assert pool_format([key], "here") == "numbers"
    assert without_ending(key) == "part"
    assert read_footer(store, key, "numbers").row_groups == (100,)
    taken = read_rows(store, key, range(3), ["b", "a"], format="numbers")
    assert taken.table.to_pydict() == {"b": [2, None, 0], "a": [1, None, 0]}
    assert taken.rejected == {1: ("undecodable", "3 numbers, not 2")}
    reader = RowReader(store, key, range(100), ["b"], format="numbers", part_rows=16)
    assert reader.take(range(98, 100)).table["b"].to_pylist() == [24, 24.25]
    with pytest.raises(PoolError, match=r"no column 'c'\. It has: a, b\."):
        read_rows(store, key, range(3), ["c"], format="numbers")
    store.put(key, gzip.compress(b""))
    with pytest.raises(PoolError, match=rf"{key}: has no header line"):
        read_footer(store, key, "numbers")


def test_a_pool_of_a_plugin_is_listed_cut_or_seen_otherwise(tmp_path, numbers):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "part.numbers").write_text(CONTENT)
    root = open_storage(str(tmp_path / "root"))
    features = {"kind": "vector", "columns": ["a", "b"]}
    spec = Pool.model_validate_json(f'{{"path": "pool", "features": {features}}}'.replace("'", '"'))
    inventory = take_inventory(root, "mine", open_storage(str(tmp_path / "pool")), spec=spec)
    assert (inventory.format, inventory.rows) == ("numbers", 100)
    # no index: one fragment a shard, however small fragments are to be
    assert [part.rows for part in inventory.fragments(64)] == [100]
    pool = OpenPool("mine", spec, inventory)
    assert pool.width == 2
    np.testing.assert_array_equal(pool.first_seen()[:3], [[1, 2], [0, 0], [0, 0]])
    assert read_chunk(inventory, 0, range(98, 100), ("b",)).table["b"].to_pylist() == [24, 24.25]


def test_a_root_with_a_format_whose_plugin_is_not_loaded_is_a_key_error():
    with pytest.raises(PoolError, match="'numbers' is not known here, only parquet, arrow, jsonl"):
        format_named("numbers")


@pytest.mark.parametrize(
    ("name", "ending", "message"),
    [
        ("csv", ".tsv", "'csv' is the name of another format"),
        ("tsv", ".csv", r"'\.csv' is an ending of csv"),
        ("tsv", ".csv.gz", r"'\.csv\.gz' is an ending of csv"),
    ],
)
def test_two_formats_share_a_name_or_an_ending(name, ending, message):
    text = PLUGIN.read_text().replace('"numbers"', f'"{name}"').replace('".numbers"', f'"{ending}"')
    with pytest.raises(JobError, match=f"TypeError: NumbersShard: {message}"):
        plugins.load_plugins([PythonFile(str(PLUGIN), text)])
    assert list(POOL_FORMATS) == BUILT_IN


def test_an_edited_plugin_is_refused_or_read_as_it_was(numbers):
    edited = PLUGIN.read_text().replace('"Numbers"', '"Edited"')
    plugins.load_plugins([PythonFile(str(PLUGIN), edited)])
    assert list(POOL_FORMATS) == [*BUILT_IN, "numbers"]
    assert format_named("numbers").title == "Edited"


def test_a_library_that_is_missing_is_an_import_error(tmp_path):
    class Orc(ShardFile):
        name = "orc"
        title = "ORC"
        endings = (".orc",)
        install = "pip install pyorc"

        def __init__(self, source, where):  # noqa: ARG002
            raise ModuleNotFoundError("No module named 'pyorc'", name="pyorc")

        footer = read = None

    store = open_storage(str(tmp_path))
    store.put("a.orc", b"")
    with pytest.raises(PoolError, match=r"a\.orc: ORC files need pyorc, .* Run: pip install pyorc"):
        read_footer(store, "a.orc", "orc")
