"""Pools that a job makes: once, and again after a making that was cut off."""

import os
import signal
import subprocess
import sys

import pytest

from distill.core.errors import JobError, PoolError
from distill.storage.open import open_storage
from tests.resolved import make_pool, open_pool
from tests.tiny import tiny_job
from tests.waiting import wait_until

JOB = """
    root = "runs"
    [pools.made]
    path = "{root}/pool"
    made_by = "make.py:make"
    features = { kind = "vector", columns = ["x"] }
"""
MAKE = """
import pathlib
import pyarrow as pa

def make():
    with pathlib.Path(__file__).with_name("calls").open("a") as calls:
        calls.write("made\\n")
    for shard in range(3):
        yield pa.table({"x": [float(shard)] * 4})
"""


def job_in(folder, make=MAKE):
    (folder / "make.py").write_text(make)
    return tiny_job(folder, JOB)


def test_a_pool_is_made_once(tmp_path):
    job = job_in(tmp_path)
    assert make_pool(job, "made") is True
    assert make_pool(job, "made") is False
    assert (tmp_path / "calls").read_text() == "made\n"
    assert [shard.rows for shard in open_pool(job, "made").inventory.shards] == [4, 4, 4]


def test_a_making_that_was_killed_is_made_again_and_whole(tmp_path):
    job_in(
        tmp_path,
        MAKE.replace(
            "        yield",
            "        while shard == 2 and not pathlib.Path(__file__).with_name('go').exists(): pass\n        yield",
        ),
    )
    command = "import sys; from distill.plan.load import load_job; from tests.resolved import make_pool; make_pool(load_job(sys.argv[1]), 'made')"
    with subprocess.Popen([sys.executable, "-c", command, tmp_path / "job.toml"]) as making:
        wait_until((tmp_path / "runs/pool/part-00001.parquet").exists, making)
        os.kill(making.pid, signal.SIGKILL)
    job = job_in(tmp_path)
    assert make_pool(job, "made") is True
    assert [shard.rows for shard in open_pool(job, "made").inventory.shards] == [4, 4, 4]


def test_shards_of_an_older_making_do_not_stay_in_the_pool(tmp_path):
    job = job_in(tmp_path)
    open_storage(job.pool_uri("made")).put(
        "part-00007.parquet", b"of a making that was cut off, before the function made fewer shards"
    )
    with pytest.raises(
        JobError, match=r"pools\.made\.made_by.*part-00007\.parquet.*give the pool an empty folder"
    ):
        make_pool(job, "made")


@pytest.mark.parametrize("body", ["yield from ()", "return None", "return 3"])
def test_a_maker_that_makes_nothing_is_told_and_not_called_done(tmp_path, body):
    job = job_in(tmp_path, f"def make():\n    {body}\n")
    for _ in range(2):
        with pytest.raises(
            JobError, match=r"pools\.made\.made_by = 'make\.py:make': yielded no rows"
        ):
            make_pool(job, "made")


def test_a_function_that_the_file_lacks_is_named(tmp_path):
    job = job_in(tmp_path, "def other(): ...\n")
    with pytest.raises(JobError, match=r"has no 'make'; it has \['other'\]"):
        make_pool(job, "made")


def test_a_pool_that_no_function_makes_is_left_alone(tmp_path):
    job = tiny_job(tmp_path, JOB.replace('    made_by = "make.py:make"\n', ""))
    assert make_pool(job, "made") is False
    assert not (tmp_path / "runs").exists()


def test_files_of_somebody_else_are_not_written_over(tmp_path):
    job = job_in(tmp_path)
    files = open_storage(job.pool_uri("made"))
    files.put("part-00000.parquet", b"mine")
    with pytest.raises(JobError, match="already holds 1 files"):
        make_pool(job, "made")
    assert files.read("part-00000.parquet") == b"mine"


def test_a_second_maker_does_not_change_files_that_are_listed(tmp_path):
    job = job_in(tmp_path)
    make_pool(job, "made")
    files = open_storage(job.pool_uri("made"))
    before = [entry for entry in files.list_objects() if entry.key.endswith(".parquet")]
    files.delete("_made.json")  # as a run sees it that began before the first had ended
    assert make_pool(job, "made")
    assert [entry for entry in files.list_objects() if entry.key.endswith(".parquet")] == before


def test_a_pool_whose_making_was_cut_off_is_taken_as_whole(tmp_path):
    job = job_in(tmp_path)
    make_pool(job, "made")
    files = open_storage(job.pool_uri("made"))
    files.delete("_made.json")
    files.delete("part-00002.parquet")
    with pytest.raises(PoolError, match="was cut off, so rows are missing"):
        open_pool(job, "made")
    assert make_pool(job, "made")
    assert len(list(open_pool(job, "made").inventory.shards)) == 3
