from __future__ import annotations

import traceback
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from distill.core.errors import PoolError
from distill.engine.local import LocalEngine
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.pools.formats.selection import SELECTED_ROW, read_addresses
from distill.pools.parts import PARTS
from distill.stages.teachers.split_rows import split_rows
from distill.storage.open import open_storage
from tests.stages.label.pate_job import pate_job


def split(job) -> list[list[str]]:
    """The persons of each teacher's rows, row by row."""
    plan = Plan(job)
    plan.workspace.pool("private")
    (step,) = plan.splits()
    parts = split_rows(step, LocalEngine())
    (file,) = Path(step.pool.inventory.uri).iterdir()
    persons = pq.read_table(file)["person"].to_pylist()
    folder = open_storage(step.folder).folder(PARTS)
    found = []
    for files in parts.files:
        rows = [
            row for key in files for row in read_addresses(folder, key)[SELECTED_ROW].to_pylist()
        ]
        assert rows == sorted(rows)
        found.append([persons[row] for row in rows])
    return found


def test_rows_of_one_person_teach_two(tmp_path):
    parts = split(pate_job(tmp_path))
    people = [set(part) for part in parts]
    assert sum(map(len, people)) == len(set.union(*people)) == 60
    assert sum(map(len, parts)) == 300


def test_a_person_who_leaves_moves_others(tmp_path):
    """Which is what disjoint parts are for: one vote changes."""
    job = pate_job(tmp_path / "with")
    before = split(job)
    job = pate_job(tmp_path / "without")
    (file,) = (tmp_path / "without" / "private").iterdir()
    table = pq.read_table(file)
    gone = before[0][0]
    stay = [person != gone for person in table["person"].to_pylist()]
    pq.write_table(table.filter(stay), file, row_group_size=64)
    after = split(load_job(job.path))
    assert after[1:] == before[1:]
    assert after[0] == [person for person in before[0] if person != gone]


def test_a_teacher_without_rows_votes(tmp_path):
    job = pate_job(tmp_path, teachers=200)
    with pytest.raises(PoolError, match="of them have no row"):
        split(job)


def test_a_key_that_the_pool_lacks_is_none(tmp_path):
    job = pate_job(tmp_path)
    text = job.path.read_text("utf-8").replace('by = "person"', 'by = "patient"')
    job.path.write_text(text, "utf-8")
    with pytest.raises(PoolError, match="Name one of those"):
        split(load_job(job.path))


def test_rows_without_a_person_are_one_persons(tmp_path, caplog):
    job = pate_job(tmp_path)
    (file,) = (tmp_path / "private").iterdir()
    table = pq.read_table(file)
    persons = [None if number < 7 else f"p{number}" for number in range(300)]
    pq.write_table(table.set_column(4, "person", [persons]), file, row_group_size=64)
    parts = split(load_job(job.path))
    assert sum(map(len, parts)) == 293
    assert "7 rows have no person" in caplog.text


def test_a_key_that_nobody_may_see_splits_nothing(tmp_path):
    """A `private` column leaves no reader; which teacher a row has is all that comes of it."""
    job = pate_job(tmp_path)
    text = job.path.read_text("utf-8")
    text = text.replace('target = "kind"', 'target = "kind"\nprivate = ["person"]')
    job.path.write_text(text, "utf-8")
    parts = split(load_job(job.path))
    assert sum(map(len, parts)) == 300
    stored = b"".join(
        file.read_bytes() for file in (tmp_path / "root").rglob("*") if file.is_file()
    )
    assert b"p59" not in stored


def test_an_error_of_a_private_key_column_quotes_it(tmp_path, monkeypatch):
    job = pate_job(tmp_path)
    text = job.path.read_text("utf-8")
    text = text.replace('path = "private"', 'path = "private"\nprivate = ["person"]')
    job.path.write_text(text, "utf-8")

    def damaged(*_, **__):
        raise PoolError("row 3 holds CANARY-77")

    monkeypatch.setattr("distill.stages.teachers.split_rows.read_rows", damaged)
    with pytest.raises(PoolError, match="what stands there is not quoted") as raised:
        split(load_job(job.path))
    assert "CANARY" not in "".join(traceback.format_exception(raised.value))
