"""Pools listed before any work: by the cluster where very many files are new, and without one where
few are."""

import time
from itertools import groupby

import pytest

from distill.core import progress
from distill.core.errors import PoolError
from distill.labels.repair import pending_fragments
from distill.pools import file_stats
from distill.pools.scan import take_inventory
from distill.run import verify_labels
from distill.storage.open import open_storage
from tests.engine.here import without_ray
from tests.making import assignment, commit_labels, fragment_tasks, some_labels
from tests.resolved import label_set, label_set_state, list_pools, open_pool
from tests.tiny import DOUBLING, tiny_job, write_pool
from tests.waiting import slowness

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
"""
LABELS = """
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
"""


class Shown:
    """Remembers the bars that were shown."""

    def __init__(self):
        self.titles, self.units, self.done, self.steps = [], [], 0, 0

    def begin(self, title, total, unit):
        self.titles.append((title, total, unit))
        return self

    def end(self, bar):
        pass

    def advance(self, amount, _note=""):
        self.done += amount
        self.steps += 1

    def waits(self, _what):
        pass


@pytest.fixture
def shown(monkeypatch):
    display = Shown()
    monkeypatch.setattr(progress, "_display", display)
    return display


def write_copies(folder, count):
    write_pool(folder, [8])
    content = (folder / "part-00000.parquet").read_bytes()
    for number in range(1, count):
        (folder / f"part-{number:05d}.parquet").write_bytes(content)


@pytest.mark.ray
def test_thousands_of_new_files_are_read_by_the_cluster_as_they_are_here(ray, tmp_path, shown):
    write_copies(tmp_path / "rows", 3_000)
    job, began = tiny_job(tmp_path, JOB), time.monotonic()
    list_pools(job)
    assert time.monotonic() - began < 20 * slowness()
    assert shown.titles == [("list rows", 3_000, "files")]
    assert shown.done == 3_000
    assert shown.steps > 10
    here = take_inventory(
        open_storage(str(tmp_path / "other")), "rows", open_storage(str(tmp_path / "rows"))
    )
    assert open_pool(job, "rows").inventory == here
    assert here.rows == 24_000


@pytest.mark.ray
def test_the_cluster_names_every_file_that_cannot_be_read(ray, tmp_path):
    write_copies(tmp_path / "rows", 600)
    for number in (7, 501, 502, 503):
        (tmp_path / "rows" / f"part-{number:05d}.parquet").write_bytes(b"no rows")
    with pytest.raises(
        PoolError, match=r"job\.toml: pools\.rows: 4 of 600 new files cannot be read"
    ) as told:
        list_pools(tiny_job(tmp_path, JOB))
    assert "part-00007.parquet" in str(told.value)
    assert "… and 1 more" in str(told.value)
    assert not (tmp_path / "root" / "inventories").exists()


def test_an_engines_listing_that_is_stopped_reads_what_it_has_read_again(tmp_path, monkeypatch):
    write_copies(tmp_path / "rows", 600)
    job, read, keys = tiny_job(tmp_path, JOB), file_stats.read_footer, []

    def read_some(files, key, format):
        keys.append(key)
        if key == "part-00400.parquet":
            raise KeyboardInterrupt
        return read(files, key, format)

    monkeypatch.setattr(file_stats, "read_footer", read_some)
    with pytest.raises(KeyboardInterrupt):
        list_pools(job, engine="local")
    monkeypatch.setattr(
        file_stats, "read_footer", lambda *told: keys.append(told[1]) or read(*told)
    )
    keys.clear()
    list_pools(job, engine="local")
    assert min(keys) == "part-00384.parquet", "of the files before 400, six times 64 were stored"
    assert open_pool(job, "rows").inventory.rows == 4_800
    assert [folder.name for folder in (tmp_path / "root").rglob("*.*")] == ["000000.arrow"]


def test_few_new_files_need_no_ray_and_a_listed_pool_opens_none(tmp_path, shown):
    write_copies(tmp_path / "rows", 30)
    with without_ray():
        list_pools(tiny_job(tmp_path, JOB))
        assert shown.titles == [("list rows", 30, "files")]
        list_pools(tiny_job(tmp_path, JOB))
    assert len(shown.titles) == 1, "files were opened again"


def test_every_pool_that_is_wrong_is_told_at_once(tmp_path):
    job = tiny_job(tmp_path, JOB + '    [pools.other]\n    path = "other"\n')
    with pytest.raises(
        PoolError,
        match=r"(?s)pools\.rows\.path: no file lies at .*pools\.other\.path: no file lies at",
    ):
        list_pools(job)


def label_what_is_left(job):
    """Commit random labels of all fragments that have none; which those were."""
    told, found = assignment(job, "teacher"), label_set_state(job, "teacher", "rows")
    pending = pending_fragments(found, open_pool(job, "rows").inventory, job.fragment_rows)
    left = [claim for _, claim, _ in pending]
    for claim in left:
        labels = some_labels(claim.rows, told.contract)
        commit_labels(found.labels.folder, claim, labels, told.contract)
    return [claim.fragment for claim in left]


def test_after_a_relabel_only_the_changed_file_is_labelled_and_readers_see_live_shards_alone(
    tmp_path,
):
    write_pool(tmp_path / "rows", [100, 70, 30])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    job = tiny_job(tmp_path, JOB + LABELS)
    every = label_what_is_left(job)
    assert [shard for shard, _ in groupby(every, key=lambda name: name[:6])] == [
        "000000",
        "000001",
        "000002",
    ]
    before, kept = label_set(job, "teacher", "rows"), open_pool(job, "rows").inventory
    write_pool(tmp_path / "new", [90])
    (tmp_path / "new/part-00000.parquet").replace(tmp_path / "rows/part-00001.parquet")
    (tmp_path / "rows/part-00002.parquet").unlink()
    with pytest.raises(PoolError, match="changed since they were listed"):
        list_pools(tiny_job(tmp_path, JOB + LABELS))
    job = tiny_job(
        tmp_path, JOB.replace('path = "rows"', 'path = "rows"\n    on_change = "relabel"') + LABELS
    )
    list_pools(job)
    assert label_what_is_left(job) == ["000003-000000", "000003-000001"]
    after, inventory = label_set(job, "teacher", "rows"), open_pool(job, "rows").inventory
    assert [line.shard for line in after.entries] == [0, 0, 3, 3]
    assert after.entries[:2] == before.entries[:2]
    assert (inventory.digest, inventory.rows) == (kept.digest, 190)
    assert after.label_hash != before.label_hash
    after.require_complete(inventory)
    (verified,) = verify_labels(job, "teacher")
    assert (verified.rows, verified.labelled, verified.problems) == (190, 190, ())
    assert [task.key for task in fragment_tasks(job, "rows")] == ["part-00000.parquet"] * 2 + [
        "part-00001.parquet"
    ] * 2
