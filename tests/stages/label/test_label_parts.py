from __future__ import annotations

import json
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core.errors import BusyError, JobError, LabelerError
from distill.labels import part_leases
from distill.labels.part_leases import hold_label_set, hold_part
from distill.labels.parts import Part
from distill.plan.load import load_job
from distill.run import label_pool, status, verify_labels
from distill.storage.open import open_storage
from distill.storage.request_counts import requests
from tests.command import environment
from tests.forkserver import fork_module
from tests.tiny import write_job, write_pool
from tests.waiting import LIMIT_SECONDS, wait_until

COUNTING = """
import os, time

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def __init__(self):
        self.name = os.urandom(8).hex()

    def label(self, features):
        lines = "".join(f"{{self.name}} {{row[0]!r}}\\n" for row in features.tolist())
        file = os.open("{calls}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(file, lines.encode())
        os.close(file)
        time.sleep({seconds})
        if {raises} in features[:, 0].tolist():
            raise ValueError("this row is too much")
        return 2 * features[:, :3]
"""
JOB = """
    root = "{root}"
    fragment_rows = 64
    [pools.rows]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py", name = "Labeler" }}
    over = ["rows"]
    batch_rows = 64
"""


class Pool:
    """A pool, and jobs over it that differ in their root."""

    def __init__(self, folder, shard_rows):
        self.folder = folder
        self.rows = sum(shard_rows)
        self.fragments = sum(-(-rows // 64) for rows in shard_rows)
        self.table = write_pool(folder / "rows", shard_rows, row_group_rows=64)

    def job(self, root, *, seconds=0.0, raises="None"):
        """A job file; its labeler writes the first number of each row that it sees to `calls`."""
        name = str(root).rsplit("/", 1)[-1]
        folder = self.folder / f"job-{name}"
        folder.mkdir(exist_ok=True)
        self.calls = folder / "calls"
        text = COUNTING.format(calls=self.calls, seconds=seconds, raises=raises)
        (folder / "mine.py").write_text(text, "utf-8")
        return write_job(folder, JOB.format(root=root, pool=self.folder / "rows"))

    def undisturbed(self):
        """The label hash of one driver's work."""
        (summary,) = label_pool(
            load_job(self.job(self.folder / "alone")), "teacher", engine="local"
        )
        return summary.label_hash

    def times_computed(self):
        """By how many workers each row was computed. (One asks twice about its first batch.)"""
        seen = set(self.calls.read_text().splitlines())
        times = Counter(line.split()[1] for line in seen)
        assert len(times) == self.rows
        return times


def start(job, part, **more):
    return fork_module(
        "tests.stages.label.part_driver",
        job,
        part,
        environment=environment(**more),
        own_session=True,
    )


def told(process):
    """What a driver printed at its end."""
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, output
    return json.loads(output.splitlines()[-1]), output


def require_whole(job, pool):
    (verified,) = verify_labels(load_job(job), "teacher")
    assert verified.problems == ()
    assert verified.rows == verified.labelled == pool.rows
    assert verified.fragments == pool.fragments


def test_a_killed_part_is_lost_or_labelled_twice(tmp_path, real_s3):
    pool = Pool(tmp_path, [1_920, 640, 3_200])
    whole = pool.undisturbed()
    job = pool.job(real_s3, seconds=0.1)
    marker = tmp_path / "reached"
    drivers = [start(job, "0/3"), start(job, "2/3")]
    struck = start(job, "1/3", DISTILL_FAILPOINT=f"label.after_data:5:{marker}")
    wait_until(marker.exists, struck)  # data is written and not committed
    struck.kill()
    struck.communicate(timeout=LIMIT_SECONDS)
    drivers.append(start(job, "1/3"))
    ended = [told(driver)[0] for driver in drivers]
    assert {each["label_hash"] for each in ended} == {whole}
    assert {each["labelled"] for each in ended} == {pool.rows}
    require_whole(job, pool)
    committed_before = 4
    computed = sum(each["computed"] for each in ended)
    assert pool.fragments - committed_before <= computed <= pool.fragments + len(drivers)
    spent = sum(
        each["requests"][kind] for each in ended for kind in ("list", "get", "put", "delete")
    )
    print(
        f"\n3 parts on S3, one killed and taken up: {spent / pool.fragments:.1f} requests a fragment"
        f" of {pool.fragments}, {computed} fragments computed by those that lived"
    )
    assert not [each for each in parts_of(job) if "-of-" in each]


def parts_of(job):
    folder = open_storage(load_job(job).root).folder("labels", "teacher", "v1", "rows", "parts")
    return [meta.key for meta in folder.list_objects()]


def label_in_threads(job, count, parts=None):
    """Label as `count` drivers in threads of this process; their summaries."""

    def label(number):
        (summary,) = label_pool(load_job(job), "teacher", engine="local", part=Part(number, count))
        return summary

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(label, parts or range(count)))


def test_sixty_four_parts_of_a_small_pool_label_twice_or_ask_for_each_fragment_64_times(tmp_path):
    pool = Pool(tmp_path, [1_280, 128, 64, 2_560, 64])
    whole = pool.undisturbed()
    job = pool.job(tmp_path / "root", seconds=0.05)
    before = requests()
    summaries = label_in_threads(job, 64)
    spent = requests() - before
    assert {each.label_hash for each in summaries} == {whole}
    require_whole(job, pool)
    computed = sum(each.labelled_now for each in summaries)
    twice = sum(times - 1 for times in pool.times_computed().values())
    total = spent.list + spent.get + spent.put + spent.delete
    print(
        f"\n64 parts at once: {total / pool.fragments:.1f} requests a fragment of {pool.fragments},"
        f" {total / 64:.1f} a driver; {twice} of {pool.rows} rows computed once more"
    )
    assert twice == 64 * (computed - pool.fragments)
    assert twice <= pool.rows / 4
    # a driver's own requests, which its number of fragments does not change, and 20 a fragment
    assert total <= 150 * 64 + 20 * pool.fragments


def test_a_lost_part_is_never_taken_over(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "distill")
    pool = Pool(tmp_path, [1_280])
    whole = pool.undisturbed()
    job = pool.job(tmp_path / "root")
    marker = tmp_path / "reached"
    struck = start(job, "0/2", DISTILL_FAILPOINT=f"label.after_data:4:{marker}")
    wait_until(marker.exists, struck)
    (line,) = status(load_job(job))
    assert (line.done, line.total) == (3, 20)
    assert "parts at work: 0/2 on " in line.note
    monkeypatch.setattr(part_leases, "_SUSPECT_SECONDS", 0.3)
    monkeypatch.setattr(part_leases, "START_SECONDS", 0.0)
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(label_in_threads, job, 2, [1])
        # it takes what it can beside a part that stands still, and then says for whom it waits
        wait_until(
            lambda: "part 1/2: waits for 1 fragment of rows in work by part 0/2" in caplog.text
        )
        assert not other.done()
        struck.kill()
        struck.communicate(timeout=LIMIT_SECONDS)
        (summary,) = other.result()
    assert (summary.label_hash, summary.labelled_now) == (whole, 17)
    require_whole(job, pool)
    (line,) = status(load_job(job))
    assert "parts at work" not in line.note
    assert parts_of(job) == []


def test_the_same_part_is_worked_on_twice(tmp_path):
    pool = Pool(tmp_path, [640])
    job = pool.job(tmp_path / "root")
    folder = open_storage(str(tmp_path / "root" / "labels" / "teacher" / "v1" / "rows"))
    with (
        hold_part(folder, "labels.teacher over rows", Part(1, 3)),
        pytest.raises(BusyError, match=r"labels\.teacher over rows, part 1/3: process \d+ on"),
    ):
        label_pool(load_job(job), "teacher", engine="local", part=Part(1, 3))
    with (
        hold_label_set(folder, "labels.teacher over rows"),
        pytest.raises(BusyError, match="is at work on it"),
    ):
        label_pool(load_job(job), "teacher", engine="local", part=Part(1, 3))
    with (
        hold_part(folder, "labels.teacher over rows", Part(1, 3)),
        pytest.raises(BusyError, match=r"1-of-3\.json"),
    ):
        label_pool(load_job(job), "teacher", engine="local")
    assert not pool.calls.exists()


def test_parts_wait_for_each_other_where_a_row_is_too_much(tmp_path):
    """Each tries what another has failed on, and each says so; what can be labelled is."""
    pool = Pool(tmp_path, [640, 640])
    bad = pool.table["pixels"][700][0].as_py()
    job = pool.job(tmp_path / "root", raises=repr(bad))
    errors = []

    def label(number):
        try:
            label_pool(load_job(job), "teacher", engine="local", part=Part(number, 3))
        except LabelerError as error:
            errors.append(str(error))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(label, range(3)))
    assert len(errors) == 3
    assert all("this row is too much" in error for error in errors)
    (line,) = status(load_job(job))
    assert (line.done, line.total) == (19, 20)
    pool.job(tmp_path / "root")
    summaries = label_in_threads(job, 2)
    assert sorted(each.labelled_now for each in summaries) == [0, 1]
    require_whole(job, pool)


def test_each_part_reads_all_that_is_stored_to_mend_it(tmp_path):
    job = Pool(tmp_path, [128]).job(tmp_path / "root")
    with pytest.raises(JobError, match="without --part"):
        label_pool(load_job(job), "teacher", mend=True, engine="local", part=Part(0, 2))


def test_other_numbers_of_parts_do_the_same_work_twice(tmp_path):
    pool = Pool(tmp_path, [1_280])
    whole = pool.undisturbed()
    job = pool.job(tmp_path / "root", seconds=0.05)
    parts = [Part(0, 2), Part(1, 3), Part(0, 1), Part(4, 5)]

    def label(part):
        (summary,) = label_pool(load_job(job), "teacher", engine="local", part=part)
        return summary.label_hash

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(label, parts)) == {whole}
    require_whole(job, pool)


def test_a_finished_set_is_looked_at_for_parts(tmp_path):
    pool = Pool(tmp_path, [1_280])
    job = pool.job(tmp_path / "root")
    label_in_threads(job, 2)
    before = requests()
    (summary,) = label_in_threads(job, 2, [1])
    spent = requests() - before
    assert summary.labelled_now == 0
    assert spent.list + spent.get + spent.put + spent.delete <= 40
