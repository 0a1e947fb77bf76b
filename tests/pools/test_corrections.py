"""What people said of rows of a pool, read as a pool of its own."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import JobError, PoolError
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.pools.file_stats import read_file_stats
from distill.pools.formats.registry import read_rows
from tests.tiny import write_job, write_pool

JOB = """
    root = "root"
    [pools.base]
    path = "base"
    features = { kind = "vector", columns = ["pixels"] }
    private = ["email"]
    [pools.people]
    path = "people"
    corrects = "pools.base"
    target = "label"
    classes = ["a", "b", "c"]
"""


def write_lines(folder, lines, name="said.jsonl"):
    folder.mkdir(exist_ok=True)
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / name).write_text(text)


def line(shard, row, label):
    return {"shard": f"part-{shard:05d}.parquet", "row": row, "label": label, "reasons": ["x"]}


def listed(tmp_path, text=JOB):
    plan = Plan(load_job(write_job(tmp_path, text)))
    plan.list_pools(read_file_stats)
    return plan


def rows_of(plan, columns):
    pool = plan.workspace.pool("people")
    tables = [
        read_rows(
            pool.files, shard.key, range(shard.rows), columns, format=pool.inventory.format
        ).table
        for shard in pool.inventory.shards
    ]
    return pa.concat_tables(tables)


@pytest.fixture
def base(tmp_path):
    return write_pool(tmp_path / "base", [100, 70])


def test_corrections_are_the_rows_that_they_name_with_what_people_said(tmp_path, base):
    said = [line(1, 3, "c"), line(0, 99, "a"), line(0, 5, "b"), line(0, 6, None), line(0, 7, "")]
    write_lines(tmp_path / "people", said)
    plan = listed(tmp_path)
    found = rows_of(plan, ["pixels", "label", "selected_shard", "selected_row"])
    assert found["label"].to_pylist() == ["b", "a", "c"]
    assert found["selected_row"].to_pylist() == [5, 99, 3]
    assert found["selected_shard"].to_pylist()[2] == "part-00001.parquet"
    expected = base["pixels"].take(pa.array([5, 99, 103]))
    assert found["pixels"].to_pylist() == expected.to_pylist()
    # read alone, and in part
    pool = plan.workspace.pool("people")
    (shard,) = pool.inventory.shards
    part = read_rows(pool.files, shard.key, range(1, 3), ["label"], format=pool.inventory.format)
    assert part.table["label"].to_pylist() == ["a", "c"]
    with pytest.raises(PoolError, match=r"email.*private"):
        rows_of(plan, ["email"])


def test_people_stand_in_place_of_the_pools_own_column(tmp_path, base):
    text = JOB.replace('target = "label"', 'target = "kind"')
    (tmp_path / "people").mkdir()
    pq.write_table(
        pa.table({"shard": ["part-00000.parquet"], "row": [4], "kind": ["c"]}),
        tmp_path / "people" / "said.parquet",
    )
    assert rows_of(listed(tmp_path, text), ["kind"])["kind"].to_pylist() == ["c"]


def test_numbers_of_people_are_a_target_too(tmp_path, base):
    text = JOB.replace('    classes = ["a", "b", "c"]\n', "")
    write_lines(tmp_path / "people", [line(0, 1, 2.5), line(0, 0, 1)])
    plan = listed(tmp_path, text)
    assert rows_of(plan, ["label"])["label"].to_pylist() == [1.0, 2.5]
    write_lines(tmp_path / "people", [line(0, 1, float("nan"))])
    with pytest.raises(PoolError, match="NaN or infinite"):
        listed(tmp_path, text)


def test_more_corrections_take_the_place_of_those_before(tmp_path, base):
    write_lines(tmp_path / "people", [line(0, 5, "b")])
    first = listed(tmp_path).workspace.pool("people").inventory
    assert listed(tmp_path).workspace.pool("people").inventory.content == first.content
    write_lines(tmp_path / "people", [line(0, 5, "c"), line(0, 6, "a")])
    plan = listed(tmp_path)
    assert rows_of(plan, ["label"])["label"].to_pylist() == ["c", "a"]
    assert plan.workspace.pool("people").inventory.content != first.content
    write_lines(tmp_path / "people", [line(1, 1, "a")], "later.jsonl")
    assert rows_of(listed(tmp_path), ["label"])["label"].to_pylist() == ["c", "a", "a"]
    # and back again
    (tmp_path / "people" / "later.jsonl").unlink()
    assert rows_of(listed(tmp_path), ["label"])["label"].to_pylist() == ["c", "a"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [line(0, 100, "a")],
            r"1 addresses are no rows of pools.base: part-00000.parquet row 100 .*line 1",
        ),
        ([line(0, -1, "a")], "no rows of pools.base"),
        ([line(7, 0, "a"), line(0, 0, "a")], "part-00007.parquet row 0"),
        (
            [line(0, 3, "a"), line(1, 3, "a"), line(0, 3, "a")],
            "1 rows are labelled twice: part-00000.parquet row 3",
        ),
        (
            [line(0, 3, "d")],
            r"1 lines say \['d'\], which are no classes of pools.people: .*It has: a, b, c",
        ),
        ([line(0, 3, None)], "no line says anything in 'label'"),
        ([{"shard": "x", "label": "a"}], "no column 'row'"),
        ([{"shard": "x", "row": "three", "label": "a"}], "no whole number"),
    ],
)
def test_wrong_corrections_are_taken_for_right_ones(tmp_path, base, lines, message):
    write_lines(tmp_path / "people", lines)
    with pytest.raises(PoolError, match=message):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"pools.base"', '"base"', "names no pool; write 'pools.NAME'"),
        ('"pools.base"', '"pools.people"', "corrections themselves"),
        ('"pools.base"', '"pools.other"', "pools.people.corrects = 'other': there is no such pool"),
        ('target = "label"\n    classes = ["a", "b", "c"]', "", "no target"),
        ('target = "label"', 'target = "label"\n    outputs = "independent"', "drop outputs"),
        ('target = "label"', 'target = "pixels"', "is among its features"),
    ],
)
def test_a_table_of_corrections_that_makes_no_sense_is_refused(tmp_path, base, old, new, message):
    with pytest.raises(JobError, match=message):
        listed(tmp_path, JOB.replace(old, new))


def test_many_corrections_are_stored_in_several_files(tmp_path, monkeypatch):
    from distill.pools import corrections

    write_pool(tmp_path / "base", [400])
    monkeypatch.setattr(corrections, "FILE_ROWS", 64)
    rows = np.random.default_rng(1).permutation(400)[:300]
    write_lines(tmp_path / "people", [line(0, int(row), "abc"[row % 3]) for row in rows])
    plan = listed(tmp_path)
    found = rows_of(plan, ["label", "selected_row"])
    assert found["selected_row"].to_pylist() == sorted(rows.tolist())
    assert found["label"].to_pylist() == ["abc"[row % 3] for row in sorted(rows.tolist())]
    assert len(list(plan.workspace.pool("people").inventory.shards)) == 5


def test_what_people_said_of_a_file_before_it_changed_is_said_of_other_rows(tmp_path, base):
    text = JOB.replace("private =", 'on_change = "relabel"\n    private =')
    write_lines(tmp_path / "people", [line(0, 5, "b")])
    before = listed(tmp_path, text).workspace.pool("base").inventory
    ids = {shard.key: shard.id for shard in before.shards}
    said = [line(0, 5, "b"), line(1, 5, "c")]
    said[0]["shard_id"] = ids["part-00000.parquet"]  # the other line says nothing of it
    write_lines(tmp_path / "people", said)
    assert rows_of(listed(tmp_path, text), ["label"])["label"].to_pylist() == ["b", "c"]
    file = tmp_path / "base" / "part-00000.parquet"
    table = pq.read_table(file)
    pq.write_table(table.take(pa.array(range(99, -1, -1))), file)
    with pytest.raises(
        PoolError, match=r"1 rows of pools.base .* changed since: part-00000.* row 5"
    ):
        listed(tmp_path, text)
    said[0]["shard_id"] = ""
    write_lines(tmp_path / "people", said)
    found = rows_of(listed(tmp_path, text), ["label"])["label"].to_pylist()
    assert sorted(found) == ["b", "c"]


@pytest.mark.parametrize(
    "rule",
    [
        'private = ["email", "kind"]',
        'private = ["email"]\n    mask = { kind = { kind = "hash", key = "env:POOL_KEY" } }',
    ],
)
def test_what_people_say_is_masked_as_a_private_column_of_that_name(
    tmp_path, base, monkeypatch, rule
):
    monkeypatch.setenv("POOL_KEY", "0" * 64)
    text = JOB.replace('private = ["email"]', rule).replace('target = "label"', 'target = "kind"')
    write_lines(tmp_path / "people", [{**line(0, 4, ""), "kind": "c"}])
    plan = listed(tmp_path, text)
    assert rows_of(plan, ["kind"])["kind"].to_pylist() == ["c"]
    with pytest.raises(PoolError, match=r"email.*private"):
        rows_of(plan, ["email"])
