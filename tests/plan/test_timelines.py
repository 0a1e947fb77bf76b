from __future__ import annotations

from dataclasses import replace

import pytest

from distill.labels.parts import Part
from distill.plan.timelines import new_run, read_records, write_record
from distill.storage.open import open_storage
from tests.bitflips import flipped
from tests.core.runs import commit, record, workers


@pytest.fixture
def root(tmp_path):
    return open_storage(str(tmp_path / "root"))


def write(root, job, began, part=None, numbers=(0,)):
    """A run that wrote its record some times, each with another commit."""
    run = new_run(job, part, began)
    for number in numbers:
        commits = [commit(at) for at in range(number + 1)]
        got = record(workers(0, 1), *commits, until=60, run=run)
        write_record(root, replace(got, job=job, began=began), number)
    return run


def test_a_run_is_read_as_it_was_before_or_twice(root):
    run = write(root, "job", 1_000_000.0, numbers=range(12))
    (got,) = read_records(root, "job")
    assert (got.run, got.last.commits) == (run, 12)


def test_another_jobs_runs_are_shown_under_the_same_root(root):
    write(root, "job", 1_000_000.0)
    write(root, "job.more", 1_000_000.0)
    (got,) = read_records(root, "job.more")
    assert got.job == "job.more"
    assert len(read_records(root, "job")) == 1


def test_runs_are_not_in_their_order_or_parts_of_one_second_hide_each_other(root):
    later = write(root, "job", 2_000_000.0)
    parts = {write(root, "job", 1_000_000.0, Part(number, 3)) for number in range(3)}
    runs = [each.run for each in read_records(root, "job")]
    assert set(runs[:3]) == parts
    assert runs[3:] == [later]


def test_a_root_without_runs_has_some(root):
    assert read_records(root, "job") == []


def test_a_damaged_record_hides_other_runs(root, caplog):
    bad = write(root, "job", 1_000_000.0)
    good = write(root, "job", 2_000_000.0)
    key = f"timeline/{bad}/000000.json"
    content = root.read(key)
    root.delete(key)
    root.put(key, flipped(content, len(content) // 2))
    assert [each.run for each in read_records(root, "job")] == [good]
    assert "a run's timeline is left out" in caplog.text
