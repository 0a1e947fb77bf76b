"""Targets that are none of their pool's classes: named with their counts, or refused, before work."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import PoolError
from tests.resolved import check_inputs
from tests.tiny import tiny_job

JOB = """
    root = "runs"
    [pools.labelled]
    path = "pool"
    features = { kind = "vector", columns = ["x"] }
    target = "kind"
    classes = ["cold", "warm"]
    [pools.unused]
    path = "other"
    target = "kind"
    classes = ["cold", "warm"]
    [fit.large]
    model = { kind = "linear" }
    on = "labelled"
"""


def check(folder, kinds, text=JOB, others=("nothing",)):
    for name, values in (("pool", kinds), ("other", others)):
        (folder / name).mkdir(exist_ok=True)
        table = pa.table({"x": [float(number) for number in range(len(values))], "kind": values})
        pq.write_table(table, folder / name / "part.parquet")
    check_inputs(tiny_job(folder, text))


def test_values_that_no_class_has_are_left_out_in_silence(tmp_path, caplog):
    check(tmp_path, ["warm", "cold", "hot", "cool", "hot", None] * 10)
    (line,) = caplog.messages
    assert "pools.labelled.target = 'kind': 30 of 60 rows have values" in line
    assert "'hot' 20, 'cool' 10" in line
    caplog.clear()
    check_inputs(tiny_job(tmp_path, JOB))
    (again,) = caplog.messages
    assert "30 of 60 rows have values" in again, "told at each run, though the pool is read once"


def test_what_stands_in_a_column_is_written_under_the_root_or_whole_into_the_log(tmp_path, caplog):
    check(tmp_path, ["warm", "Patient John Doe, " + "long " * 100])
    stored = [file.read_bytes() for file in (tmp_path / "runs").rglob("checks/*")]
    assert stored
    assert not any(b"John Doe" in each for each in stored)
    assert len(caplog.messages[0]) < 600


def test_targets_of_another_type_are_told_in_arrows_words(tmp_path):
    with pytest.raises(PoolError, match=r"pools\.labelled\.target = 'kind': .*struct") as told:
        check(tmp_path, [{"a": 1}, {"a": 2}])
    assert "cast" not in str(told.value)


def test_many_values_flood_the_terminal(tmp_path, caplog):
    check(tmp_path, ["warm", *(f"value {number}" for number in range(100))])
    assert len(caplog.messages[0]) < 600
    assert "…" in caplog.messages[0]


@pytest.mark.parametrize("kinds", [["warm", "cold"] * 3, ["warm", None, "cold"]])
def test_known_and_missing_targets_are_warned_of(tmp_path, caplog, kinds):
    caplog.set_level(logging.WARNING)
    check(tmp_path, kinds)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["Warm", "Cold"] * 3, "exclusive classes .*: 'Warm' 3, 'Cold' 3"),
        (pa.array([None, None], pa.string()), "none of its 2 rows"),
        ([1, 2, 1], "'1' 2, '2' 1"),
    ],
)
def test_a_pool_none_of_whose_targets_is_known_is_worked_on(tmp_path, kinds, said):
    with pytest.raises(PoolError, match=rf"pools\.labelled\.target = 'kind': .*{said}"):
        check(tmp_path, kinds)


def test_numbers_that_are_all_missing_are_worked_on(tmp_path):
    numbers = JOB.replace('    classes = ["cold", "warm"]\n', "")
    with pytest.raises(
        PoolError, match=r"none of its 2 rows has a target that is a value\. Name another column"
    ):
        check(tmp_path, pa.array([None, None], pa.float32()), numbers, [1.0])
