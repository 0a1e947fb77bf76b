"""Columns of new files that their footers do not tell: missing ones, and those of a path."""

from __future__ import annotations

import json
import logging

import pyarrow as pa
import pytest

from distill.core.errors import PoolError
from distill.pools.scan import take_inventory
from distill.spec.pools import Pool, VectorFeatures
from distill.storage.open import open_storage
from tests.pools.formats.writing import file_of, table_file

VECTOR = VectorFeatures(kind="vector", columns=("x",))
SPEC = Pool(path="pool", features=VECTOR, keys=("year",), target="y")
WHOLE = {"x": 1.0, "year": 2023, "y": 2}


def listed(tmp_path, contents, spec=SPEC):
    files = open_storage(str(tmp_path / "pool"))
    for key, content in contents.items():
        files.put(key, content)
    return take_inventory(open_storage(str(tmp_path / "root")), "mine", files, spec=spec)


def without(name, rows=1):
    row = {key: value for key, value in WHOLE.items() if key != name}
    return [row] * rows


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "jsonl.zst"])
@pytest.mark.parametrize("name", ["x", "year", "y"])
def test_a_file_that_lacks_a_column_is_found_while_it_is_labelled(tmp_path, ending, name):
    contents = {f"a.{ending}": file_of([WHOLE], ending)}
    contents |= {f"b{n}.{ending}": file_of(without(name), ending) for n in range(5)}
    with pytest.raises(PoolError) as told:
        listed(tmp_path, contents)
    lines = str(told.value).split("\n  ")
    assert len(lines) == 3
    assert lines[0].startswith(f"pools.mine: {tmp_path}/pool/b0.{ending}: no column {name!r}. It")
    assert not (tmp_path / "root" / "inventories").exists()


def test_a_column_that_stands_twice_is_found_while_it_is_labelled(tmp_path):
    with pytest.raises(PoolError, match=r"pools\.mine: .*b\.csv: 2 columns 'x'"):
        listed(tmp_path, {"b.csv": b"x,x,year,y\n1,2,3,4\n"})


def test_a_field_that_only_the_first_lines_lack_is_missed(tmp_path):
    lines = [json.dumps(row) for row in [*without("year", 1_500), WHOLE]]
    contents = {"a.jsonl": "\n".join(lines).encode(), "b.jsonl": b"\n", "c.jsonl": b""}
    assert listed(tmp_path, contents).rows == 1_501


def test_a_file_that_grew_into_the_pool_is_not_looked_at(tmp_path):
    listed(tmp_path, {"a.csv": file_of([WHOLE], "csv")})
    with pytest.raises(PoolError, match=r"b\.csv: no column 'y'"):
        listed(tmp_path, {"b.csv": file_of(without("y"), "csv")})


def partition(value, ending="parquet"):
    if ending == "parquet":
        return table_file(pa.table({"x": [1.0], "year": [value], "y": [2]}), ending)
    return file_of([WHOLE | {"year": value}], ending)


@pytest.mark.parametrize(
    ("folder", "own"),
    [("2023", 2023), ("2023", "2023"), ("07", 7), ("True", True), ("a%20b", "a b"), ("2023", None)],
)
@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_column_that_its_path_repeats_is_told(tmp_path, caplog, folder, own, ending):
    if ending == "jsonl" and own in (None, True):
        return
    with caplog.at_level(logging.WARNING):
        listed(tmp_path, {f"year={folder}/a.{ending}": partition(own, ending)})
    assert not caplog.records


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("folder", ["2023", "__HIVE_DEFAULT_PARTITION__"])
def test_a_column_is_another_than_its_path_says_and_nobody_is_told(
    tmp_path, caplog, folder, ending
):
    contents = {f"year={folder}/{n}.{ending}": partition(1999, ending) for n in range(40)}
    with caplog.at_level(logging.WARNING):
        listed(tmp_path, contents)
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(f"pools.mine: column 'year' of {tmp_path}/pool/year={folder}/")
    assert "holds 1999" in said.replace("'1999'", "1999")


def test_a_private_column_stands_in_paths_and_they_are_stored(tmp_path, caplog):
    spec = Pool(path="pool", features=VECTOR, private=("year",))
    with caplog.at_level(logging.WARNING), pytest.raises(PoolError) as raised:
        listed(tmp_path, {"year=2023/a.csv": partition(1999, "csv")}, spec)
    assert "pools.mine: private columns ['year'] stand in the paths" in str(raised.value)
    assert "2023" not in str(raised.value)
    assert "1999" not in str(raised.value)
    assert not caplog.records


def test_a_column_that_the_job_never_reads_is_read(tmp_path, caplog):
    spec = Pool(path="pool", features=VECTOR)
    with caplog.at_level(logging.WARNING):
        listed(tmp_path, {"month=2023/a.csv": partition(1999, "csv")}, spec)
    assert not caplog.records
