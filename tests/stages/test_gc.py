from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from distill.core.errors import BusyError
from distill.labels.commit import read_commit
from distill.labels.lease import hold_lease
from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.plan.costs.ledger import read_spent, sum_spent
from distill.plan.costs.stored import newest_costs
from distill.plan.timelines import read_records
from distill.run import fit_structures, garbage, label_pool, plan_costs, verify_labels
from distill.stages import gc
from distill.storage.open import open_storage
from tests.engine.here import without_ray
from tests.making import commit_labels, some_labels
from tests.resolved import delete_garbage, find_garbage, label_set
from tests.stages.verify.test_verify import folder, job
from tests.tiny import DOUBLING, tiny_job, write_pool

__all__ = ["job"]

JOB_OF_ROWS = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
"""


def attempt(job, fragment: int, *, generation: int = 0) -> None:
    """Another attempt at a committed fragment; without a new generation it loses."""
    labels = label_set(job, "teacher", "rows")
    line = labels.entries[fragment]
    from distill.labels.commit import WriteIntent

    claim = WriteIntent(
        line.shard, line.number, line.shard_id, line.start, line.rows, generation, line.sha256
    )
    contract = labels.contract
    commit_labels(labels.folder, claim, some_labels(line.rows, contract), contract)


def data(job) -> set[str]:
    return {str(file.relative_to(folder(job))) for file in (folder(job) / "data").rglob("*.arrow")}


def test_what_lost_stays_for_ever_or_what_won_goes(job):
    before = data(job)
    attempt(job, 2)
    lost = data(job) - before
    (found,) = find_garbage(job, "teacher")
    assert set(found.keys) == lost
    assert found.bytes == sum((folder(job) / key).stat().st_size for key in lost)
    assert data(job) == before | lost  # telling deletes nothing
    (deleted,) = delete_garbage(job, "teacher")
    assert deleted.keys == found.keys
    assert data(job) == before
    (verified,) = verify_labels(job, "teacher")
    assert not verified.problems


def test_garbage_stays_where_an_inventory_that_nobody_needs_is_damaged(job):
    before = data(job)
    attempt(job, 2)
    for file in Path(job.root_uri, "inventories").rglob("*.*"):
        file.write_bytes(b"damaged")
    delete_garbage(job, "teacher")
    assert data(job) == before


def test_what_a_mend_replaced_stays_for_ever(job):
    old = label_set(job, "teacher", "rows").entries[1].data
    attempt(job, 1, generation=1)
    (found,) = delete_garbage(job, "teacher")
    assert found.keys == (old,)
    assert find_garbage(job, "teacher")[0].keys == ()


def test_the_data_of_a_mend_under_way_goes(job):
    line = label_set(job, "teacher", "rows").entries[1]
    (folder(job) / line.data).rename(folder(job) / line.data.replace(line.attempt, "ab" * 16))
    assert find_garbage(job, "teacher")[0].keys == ()


def test_segments_that_others_stand_for_stay_and_are_read(job):
    state = read_state(open_storage(str(folder(job))), "teacher", 1)
    labels = LabelWriter(replace(state, unrolled=()))
    for entry in state.labels.entries:
        labels.add(read_commit(labels.folder, entry.fragment))
        labels.write_manifest()
    labels.tidy_manifest()
    segments = sorted(file.name for file in (folder(job) / "manifest").iterdir())
    assert len(segments) == 6
    (found,) = delete_garbage(job, "teacher")
    assert set(found.keys) == {f"manifest/{name}" for name in segments[:5]}
    assert len(label_set(job, "teacher", "rows").entries) == 5


def test_gc_runs_beside_a_driver(job):
    with (
        hold_lease(open_storage(str(folder(job))), "labels.teacher over rows"),
        pytest.raises(BusyError, match="is at work on it"),
    ):
        delete_garbage(job, "teacher")


def test_a_set_that_was_never_begun_is_made_by_looking(job):
    import shutil

    shutil.rmtree(folder(job))
    assert find_garbage(job, "teacher")[0].keys == ()
    assert not Path(folder(job)).exists()


STRUCTURE = """
    root = "runs"
    [pools.rows]
    path = "rows/"
    features = { kind = "vector", columns = ["pixels"] }
    [structure.groups]
    of = "pools.rows"
    model = { kind = "kmeans", k = 3 }
"""


def test_passes_of_a_finished_fit_stay_for_ever_or_those_of_a_killed_one_go(tmp_path):
    write_pool(tmp_path / "rows", [80])
    job = tiny_job(tmp_path, STRUCTURE)
    fit_structures(job, engine="local")
    root = open_storage(job.root_uri)
    (fit,) = {each.key.split("/")[0] for each in root.folder("structures", "groups").walk()}
    structure = root.folder("structures", "groups")
    structure.put("0123456789abcdef/passes/000001.json", b"of a fit that was killed")
    root.put("footers/rows/0123456789abcdef/0.json", b"of a scan that was killed")
    root.put("footers/elsewhere/0123456789abcdef/0.json", b"of another job")
    found = {each.what: each for each in garbage(job)}
    assert set(found) == {"passes of structure.groups", "footers of pools.rows"}
    assert all(key.startswith(f"{fit}/passes/") for key in found["passes of structure.groups"].keys)
    assert found["footers of pools.rows"].bytes == 25
    deleted = {each.what: each.keys for each in garbage(job, delete=True)}
    assert deleted == {what: each.keys for what, each in found.items()}
    left = [each.key for each in structure.walk() if "/passes/" in each.key]
    assert left == ["0123456789abcdef/passes/000001.json"]
    assert [each.key for each in root.folder("footers").walk()] == [
        "elsewhere/0123456789abcdef/0.json"
    ]
    assert garbage(job) == []
    assert [each.now for each in fit_structures(job, engine="local")] == [False]


def test_records_of_runs_stay_for_ever_or_money_that_was_spent_is_forgotten(tmp_path, monkeypatch):
    """Two runs of a job, and two plans of its costs; a week later what newer ones stand for goes."""
    write_pool(tmp_path / "rows", [130])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    text = JOB_OF_ROWS
    job = tiny_job(tmp_path, text)
    root = open_storage(job.root_uri)
    with without_ray():
        plan_costs(job, engine="local")
        plan_costs(job, engine="local")
        label_pool(job, "teacher", engine="local")
    spent = sum_spent(read_spent(root), None)
    runs = read_records(root, job.name)
    plan = newest_costs(root, job.name)
    assert spent.hours > 0
    assert [each.what for each in garbage(job)] == [
        "labels.teacher over rows",
        "former plans of costs",
    ]
    monkeypatch.setattr(gc, "_LONG_OVER_SECONDS", -60.0)
    told = garbage(job)
    assert [each.what for each in told[1:]] == ["former plans of costs", "what single runs spent"]
    deleted = garbage(job, delete=True)
    assert [each.keys for each in deleted] == [each.keys for each in told]
    assert garbage(job)[1:] == []
    assert sum_spent(read_spent(root), None) == spent
    assert len(root.folder("spent").list_objects()) == 1
    assert read_records(root, job.name) == runs
    assert newest_costs(root, job.name) == plan
