"""A pool of GPU actors on a cluster that has no GPU node yet, and on one that can never have any."""

from __future__ import annotations

import os
import signal
import time

import pytest

from distill.plan.load import load_job
from distill.run import verify_labels
from tests.command import kill_session, start
from tests.raylets import autoscaling_raylets, static_raylet
from tests.tiny import write_job, write_pool
from tests.waiting import LIMIT_SECONDS, slowness, wait_until

pytestmark = pytest.mark.ray

FRAGMENTS = 60
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "slow.py" }
    over = ["rows"]
    batch_rows = 64
    compute = { gpus = 1, min = 1, max = 2 }
"""
SLOW = '''
import os
import time
from pathlib import Path

import numpy as np


class Labeler:
    """Half a second a fragment, once there are two; notes who it is and where it works."""

    revision = "1"
    classes = ("a", "b")

    def __init__(self):
        import ray

        self.node = ray.get_runtime_context().get_node_id()
        self.actors = Path(__file__).parent / "actors"
        (self.actors / f"{os.getpid()} {self.node}").touch()

    def label(self, features):
        while len({each.name.split()[1] for each in self.actors.iterdir()}) < 2:
            time.sleep(0.1)
        time.sleep(0.5)
        return np.stack([features[:, 0], features[:, 1]], axis=1)
'''


def actors(folder):
    """Process id and node of every actor that ever began."""
    return [tuple(each.name.split()) for each in (folder / "actors").iterdir()]


@pytest.fixture
def job(tmp_path):
    write_pool(tmp_path / "rows", [64 * FRAGMENTS])
    (tmp_path / "actors").mkdir()
    (tmp_path / "slow.py").write_text(SLOW, "utf-8")
    return write_job(tmp_path, JOB)


def test_labelling_from_no_gpu_node_never_starts_or_stays_at_one_actor_or_keeps_the_nodes(job):
    folder = job.parent
    with autoscaling_raylets() as raylets:
        assert not any("GPU" in node for node in raylets.nodes())
        process = start("label", job, "--ray", raylets.address, **raylets.environment)
        wait_until(lambda: len({node for _, node in actors(folder)}) == 2, process)
        commits = folder / "root/labels/teacher/v1/rows/commits"
        wait_until(lambda: len(list(commits.glob("*.json"))) >= 3, process)
        os.kill(int(actors(folder)[0][0]), signal.SIGKILL)
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, output
        wait_until(lambda: not any("GPU" in node for node in raylets.nodes()))
    assert len(actors(folder)) >= 3, "the killed actor was replaced"
    (verified,) = verify_labels(load_job(job), "teacher")
    assert (verified.problems, verified.rows) == ((), 64 * FRAGMENTS)


def test_gpus_that_a_static_cluster_can_never_give_are_waited_for(job):
    with static_raylet() as raylets:
        process = start("label", job, "--ray", raylets.address, **raylets.environment)
        try:
            said = [(line, time.monotonic()) for line in process.stdout]
            assert process.wait() == 2
        finally:
            kill_session(process.pid)
    texts = ("(joining the Ray", "needs 1 GPU on one node, but the largest node has 0")
    joined, refused = (next(at for line, at in said if text in line) for text in texts)
    assert refused - joined < 15 * slowness()
