"""Training through Ray while ranks, drivers and nodes are killed and nodes come: the same batches,
and the same weights to the last bit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

import numpy as np
import psutil
import pytest

from tests.command import is_alive, kill_session, processes, start
from tests.stages.train.watched import (
    LANES,
    STEPS_PER_EPOCH,
    checkpoints,
    last_batches,
    make,
    seen,
    undisturbed,
    weights,
)
from tests.waiting import LIMIT_SECONDS, slowness, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

EPOCHS, LONG_EPOCHS = 4, 80
SHRINKS_WITHIN_S = 40


@pytest.fixture
def cluster(two_nodes):
    """Both nodes, there."""
    wait_until(lambda: len(two_nodes.nodes()) == 2)
    return two_nodes


def steps(job):
    """The furthest step that was executed."""
    return max((each.step for each in seen(job)), default=-1)


@contextlib.contextmanager
def running(*command, **more):
    """`distill …` under way; nothing of it is left afterwards."""
    driver = start(*command, **more)
    try:
        yield driver
    finally:
        kill_session(driver.pid)
        driver.communicate()


def test_killed_ranks_a_killed_driver_or_a_torn_checkpoint_change_batches_or_weights(
    cluster, tmp_path, s3_root
):
    """The driver is killed at a step that a seed draws, the newest checkpoint is torn, and the next
    driver loses a rank."""
    due = undisturbed(tmp_path / "due", epochs=EPOCHS)
    job = make(tmp_path / "job", epochs=EPOCHS, workers="[1, 2]", root=s3_root)
    die = job.parent / "die"
    draw = np.random.default_rng(2)
    driver_dies, last = (int(draw.integers(low, low + 7)) for low in (8, 20))
    (die / f"{draw.integers(2)}.{last}").touch()
    (job.parent / "slow").touch()
    command = ("train", job, "--ray", cluster.address)
    with running(*command, **cluster.environment) as driver:
        wait_until(lambda: steps(job) >= driver_dies, driver)
        os.kill(driver.pid, signal.SIGKILL)
    # its ranks live on until Ray sees that it is gone, and would go on to another checkpoint
    wait_until(lambda: not any(is_alive(each.pid) for each in seen(job)))
    (job.parent / "slow").unlink()
    torn, before = torn_checkpoint(job), seen(job)[-1].at
    # the killed driver's resources are given back late: the next one waits for room
    with running(*command, **cluster.environment) as driver:
        output, share = watched_controller(cluster, driver)
    assert driver.returncode == 0, output
    assert 0 < share < 0.5, "a controller takes a CPU while it waits"
    assert not list(die.iterdir()), "every rank that should die did"
    assert min(each.step for each in seen(job) if each.at > before) < torn
    assert "training goes on with 2 training workers, from its newest checkpoint" in output
    rows = 32 * EPOCHS * STEPS_PER_EPOCH
    assert f"{rows:,} of {rows:,} rows" in output, "steps done again are not counted again"
    assert (last_batches(job), weights(job)) == due


def watched_controller(cluster, driver):
    """What a driver prints to its end, and how much of a CPU Ray Train's controller took until then."""
    share = 0.0
    while True:
        try:
            return driver.communicate(timeout=1)[0], share
        except subprocess.TimeoutExpired:
            share = controller_share(cluster) or share


def controller_share(cluster):
    """CPU time over lifetime of the newest controller; None while there is none."""
    shares = {}
    for pid in processes(cluster.session):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if "ray::TrainController" in " ".join(process.cmdline()):
                used = process.cpu_times()
                began = process.create_time()
                shares[began] = (used.user + used.system) / (time.time() - began)
    return shares[max(shares)] if shares else None


def torn_checkpoint(job):
    """The step of the newest checkpoint, whose tensors are cut."""
    stored = checkpoints(job)
    newest = max(entry.key for entry in stored.list_objects() if entry.key.endswith(".safetensors"))
    stored.put(newest, stored.read(newest)[:100])
    return int(newest.partition(".")[0].removeprefix("step_"))


def test_a_lost_node_stops_training_or_one_that_comes_is_not_used_or_the_weights_change(
    cluster, tmp_path, s3_root
):
    """Two raylets, a rank on each, labels and checkpoints on S3; the second is SIGKILLed, and later
    another joins. Prints how long each took."""
    due = undisturbed(tmp_path / "due", epochs=LONG_EPOCHS)
    job = make(tmp_path / "job", epochs=LONG_EPOCHS, workers="[1, 2]", root=s3_root)
    # where Ray takes long to see the node that comes, one worker must not have done all of it
    late = job.parent / f"wait_at_{LONG_EPOCHS * STEPS_PER_EPOCH - 2}"
    for file in (job.parent / "slow", late):
        file.touch()
    command = ("train", job, "--ray", cluster.address)
    with running(*command, **cluster.environment) as driver:
        wait_until(lambda: steps(job) >= 12, driver)
        assert {each.workers for each in seen(job)} == {2}
        cluster.kill_raylet(cluster.joined[-1].pid)
        killed = time.time()
        (alone, *_) = wait_until(lambda: [each for each in seen(job) if each.workers == 1], driver)
        assert alone.at - killed < SHRINKS_WITHIN_S * slowness()
        cluster.join()
        both = wait_until(
            lambda: [each for each in seen(job) if each.at > alone.at and each.workers == 2],
            driver,
        )[0]
        (job.parent / "slow").unlink()
        late.unlink()
        output, _ = driver.communicate(timeout=LIMIT_SECONDS)
    print(
        f"smaller group's first step {alone.at - killed:.1f} s after the kill, larger group's {both.at - alone.at:.1f} s after that"
    )
    assert driver.returncode == 0, output
    assert "training goes on with 1 training worker," in output
    assert "training goes on with 2 training workers," in output
    assert (last_batches(job), weights(job)) == due
    assert all(len(lanes) == LANES for lanes in last_batches(job).values())
