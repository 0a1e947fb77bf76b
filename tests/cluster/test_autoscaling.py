"""A pool of GPU actors on a cluster that has no GPU node yet, and on one that can never have any."""

from __future__ import annotations

import os
import signal
import time

import pytest

from distill.plan.costs.ledger import read_spent
from distill.plan.load import load_job
from distill.run import last_runs, verify_labels
from distill.storage.open import open_storage
from tests.command import distill, kill_session, start
from tests.raylets import autoscaling_raylets, barren_raylets
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
    compute = { gpus = 1, min = 1, max = NODES }
"""
SLOW = '''
import os
import time
from pathlib import Path

import numpy as np


class Labeler:
    """Half a second a fragment, once all nodes have come, and beyond a quarter once some were struck;
    notes who it is and where it works."""

    revision = "1"
    classes = ("a", "b")

    def __init__(self):
        import ray

        self.node = ray.get_runtime_context().get_node_id()
        self.actors = Path(__file__).parent / "actors"
        # a worker's parent is its node's raylet
        (self.actors / f"{os.getpid()} {self.node} {os.getppid()}").touch()

    def label(self, features):
        while len({each.name.split()[1] for each in self.actors.iterdir()}) < NODES or (
            self.is_due() and not (self.actors.parent / "struck").exists()
        ):
            time.sleep(0.1)
        time.sleep(0.5)
        return np.stack([features[:, 0], features[:, 1]], axis=1)

    def is_due(self):
        """Whether a quarter is committed, and nodes are to be struck."""
        commits = self.actors.parent / "root/labels/teacher/v1/rows/commits"
        return len(list(commits.glob("*.json"))) >= FRAGMENTS // 4
'''


def of_nodes(labeler, nodes):
    return labeler.replace("NODES", str(nodes)).replace("FRAGMENTS", str(FRAGMENTS))


def actors(folder):
    """Process id, node and raylet of every actor that ever began."""
    return [tuple(each.name.split()) for each in (folder / "actors").iterdir()]


@pytest.fixture
def make_job(tmp_path):
    """`make_job(nodes)`: a job whose labeler waits for so many nodes."""

    def make(nodes=2):
        write_pool(tmp_path / "rows", [64 * FRAGMENTS])
        (tmp_path / "actors").mkdir()
        (tmp_path / "slow.py").write_text(of_nodes(SLOW, nodes), "utf-8")
        return write_job(tmp_path, JOB.replace("NODES", str(nodes)))

    return make


@pytest.mark.slow
def test_no_gpu_node_comes_or_half_of_them_lost_double_rows_or_any_is_kept(make_job):
    """Labelling begins with no GPU node; nodes come until the pool has its maximum; half of them
    are SIGKILLed; the job ends, and the nodes go. Prints what `status --timeline` says."""
    nodes = 4
    job = make_job(nodes)
    folder = job.parent
    with autoscaling_raylets(nodes) as raylets:
        assert not any("GPU" in node for node in raylets.nodes())
        process = start("label", job, "--ray", raylets.address, **raylets.environment)
        wait_until(lambda: len({node for _, node, _ in actors(folder)}) == nodes, process)
        commits = folder / "root/labels/teacher/v1/rows/commits"
        wait_until(lambda: len(list(commits.glob("*.json"))) >= FRAGMENTS // 4, process)
        first = sorted({raylet for _, _, raylet in actors(folder)})
        for raylet in first[: nodes // 2]:
            os.kill(int(raylet), signal.SIGKILL)
        (folder / "struck").touch()
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
        assert process.returncode == 0, output
        wait_until(lambda: not any("GPU" in node for node in raylets.nodes()))
    loaded = load_job(job)
    (verified,) = verify_labels(loaded, "teacher")
    assert (verified.problems, verified.rows) == ((), 64 * FRAGMENTS)
    (run,) = last_runs(loaded)
    assert run.points[0].workers == 0
    assert run.most_workers == nodes
    assert (run.rows, run.commits) == (64 * FRAGMENTS, FRAGMENTS)
    assert run.lost["node"] == nodes // 2
    assert f"Lost on the way: {run.losses}." in output
    assert output.count("(died)") == nodes // 2, output
    shown = distill("status", job, "--timeline").output
    print(shown)
    assert shown.count("node: ") == nodes // 2


def test_gpus_that_a_static_cluster_can_never_give_are_waited_for(make_job, joining):
    process = start("label", make_job(), *joining.options, **joining.environment)
    try:
        said = [(line, time.monotonic()) for line in process.stdout]
        assert process.wait() == 2
    finally:
        kill_session(process.pid)
    texts = ("(joining the Ray", "needs 1 GPU on one node, but the largest node has 0")
    joined, refused = (next(at for line, at in said if text in line) for text in texts)
    assert refused - joined < 15 * slowness()


TRAINING = """
    root = "trained"
    [pools.rows]
    path = "rows"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [students.small]
    model = { kind = "linear" }
    training = { gpus = 1, workers = 1, epochs = 1, batch_rows = 64 }
    [[students.small.terms]]
    learns = "pools.rows"
    loss = { kind = "cross_entropy" }
    """
SECONDS = 15
SHORT = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5"}
"""Ray Train hears of an interrupt when its controller looks up from waiting for a group."""
BUDGET = f"[budget]\n    hours = {SECONDS / 3600:.6f}\n"


def test_a_run_waits_beyond_its_budget_for_nodes_that_never_come(make_job):
    """Labelling, and training: neither has begun anything, and both end by 3."""
    labelling = make_job()
    labelling.write_text(labelling.read_text("utf-8") + BUDGET.replace("    ", ""), "utf-8")
    training = write_job(labelling.parent, TRAINING + BUDGET, "training.toml")
    with barren_raylets() as raylets:
        for job, step in ((labelling, "labels.teacher"), (training, "students.small")):
            ended = distill("run", job, "--ray", raylets.address, **raylets.environment, **SHORT)
            assert ended.code == 3, ended.output
            assert "the budget is spent (hours: 0.0" in ended.output
            assert f"Left: {step}" in ended.output
    assert not actors(labelling.parent)
    loaded = load_job(labelling)
    (run,) = read_spent(open_storage(loaded.root_uri))
    assert run.ended - run.began >= SECONDS
    # the driver's own start; no worker was there
    assert run.steps["labels.teacher"].hours < SECONDS / 3600
