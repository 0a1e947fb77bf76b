"""A head node that is killed under a labelling: where it comes back with what it knew the run goes on,
where it does not the run ends with exit code 1 and says why."""

from __future__ import annotations

import pytest

from distill.plan.load import load_job
from distill.run import verify_labels
from tests.command import kill_session, start
from tests.raylets import static_raylet
from tests.tiny import write_job, write_pool
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

FRAGMENTS = 40
PATIENCE_SECONDS = 40
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "held.py" }
    over = ["rows"]
    batch_rows = 64
    compute = { min = 1, max = 2 }
"""
HELD = """
import time
from pathlib import Path


class Labeler:
    revision = "1"
    classes = ("a", "b", "c")
    calls = 0

    def label(self, features):
        self.calls += 1
        while self.calls > 8 and not Path(__file__).with_name("struck").exists():
            time.sleep(0.05)
        return features[:, :3]
"""
"""Comes no further than to its eighth call before the head is struck."""


def make_job(folder):
    write_pool(folder / "rows", [64 * FRAGMENTS])
    (folder / "held.py").write_text(HELD, "utf-8")
    return write_job(folder, JOB)


def under_way(job, raylets):
    """A labelling that has committed something."""
    process = start("label", job, "--ray", raylets.address, **raylets.environment)
    commits = job.parent / "root/labels/teacher/v1/rows/commits"
    wait_until(lambda: len(list(commits.glob("*.json"))) >= 4, process)
    return process


def test_a_run_hangs_without_its_head_or_does_not_go_on_with_it(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    settings = {
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(kept),
        "RAY_gcs_rpc_server_reconnect_timeout_s": str(PATIENCE_SECONDS),
    }
    with static_raylet(cpus=2, **settings) as raylets:
        survives = make_job(tmp_path / "survives")
        process = under_way(survives, raylets)
        raylets.restart(raylets.kill_head())
        (survives.parent / "struck").touch()
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, output + raylets.log_of_heads.read_text("utf-8")
        ends = make_job(tmp_path / "ends")
        process = under_way(ends, raylets)
        try:
            raylets.kill_head()
            (ends.parent / "struck").touch()
            output, _ = process.communicate(timeout=LIMIT_SECONDS)
        finally:
            kill_session(process.pid)
    assert process.returncode == 1, output
    assert "the head node of Ray (127.0.0.1:" in output
    assert f"stays away for {PATIENCE_SECONDS} s, Ray ends this command with exit code 1" in output
    (verified,) = verify_labels(load_job(survives), "teacher")
    assert (verified.problems, verified.rows) == ((), 64 * FRAGMENTS)
