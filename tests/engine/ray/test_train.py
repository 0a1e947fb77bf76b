from __future__ import annotations

import os

import pytest

from distill.core.errors import ResourceError, TrainingError, UnlearnableError
from distill.engine.ray import train
from distill.engine.ray.resources import Needs, room_now
from distill.engine.ray.train import train_workers
from tests.engine.working import Bar, raise_on_one_rank, settings_seen, sum_over_workers

pytestmark = pytest.mark.ray


def test_a_killed_rank_starts_the_group_again_whose_ranks_work_together_and_are_heard(
    ray, tmp_path
):
    bar = Bar()
    config = {"mark": str(tmp_path / "mark")}
    assert train_workers(sum_over_workers, config, workers=2, gpus="auto", bar=bar) == 3.0
    assert (tmp_path / "mark").exists()
    assert bar.amount == 5
    assert "half way" in bar.notes


def test_a_mistake_in_the_work_is_shown_and_not_tried_again(ray):
    with pytest.raises(
        TrainingError, match=r"(?s)^training raised on rank 1:\n.*read_column.*KeyError: 'pixels'"
    ) as raised:
        train_workers(raise_on_one_rank, "pixels", workers=2, gpus="auto", bar=Bar())
    assert not isinstance(raised.value, UnlearnableError)


def test_more_workers_than_cpus_are_refused(ray):
    with pytest.raises(ResourceError, match="training needs 64 × 1 CPU"):
        train_workers(sum_over_workers, {}, workers=64, gpus=0, bar=Bar())


def test_ray_trains_controller_is_not_told_of_our_timeouts_or_a_users_own_are_overridden(
    ray, monkeypatch
):
    ours, theirs = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"
    monkeypatch.setenv(theirs, "0.3")
    seen = train_workers(settings_seen, (ours, theirs), workers=(1, 2), gpus=0, bar=Bar())
    assert seen == {ours: "8", theirs: "0.3"}
    assert ours not in os.environ


def test_a_group_starts_a_process_for_datasets_that_it_has_not(ray, tmp_path):
    trainer = train._trainer({"monitor": None}, train._Group(1, 1, 0.0), str(tmp_path))
    usual = super(type(trainer), trainer)._create_default_callbacks()
    ours = {type(each).__name__ for each in trainer._create_default_callbacks()}
    assert {type(each).__name__ for each in usual} - ours == {"DatasetsCallback"}


def test_a_range_whose_fewest_do_not_fit_is_waited_for(ray):
    with pytest.raises(ResourceError, match="training needs 64 × 1 CPU"):
        train_workers(sum_over_workers, {}, workers=(64, 80), gpus=0, bar=Bar())


def test_a_controller_takes_a_cpu_while_a_group_waits_or_pauses_while_it_works(monkeypatch):
    """How much CPU that is: stages/train/test_elastic.py."""
    paused = []
    monkeypatch.setattr(train.time, "sleep", paused.append)
    (callback,) = train.paced()
    waits, runs = object(), object()
    callback.after_controller_state_update(waits, runs)
    assert not paused
    callback.after_controller_state_update(waits, waits)
    assert paused == [train.ROOM_SECONDS]


def test_processes_that_hold_cpus_are_counted_as_room(ray):
    most = int(ray.cluster_resources()["CPU"])
    assert room_now(ray, Needs(most + 1, 1, 0)) == most
    assert room_now(ray, Needs(1, 1, 0)) == 1
    assert room_now(ray, Needs(1, 1, 1)) == 0
    holder = ray.remote(num_cpus=1)(Bar).remote()
    ray.get(holder.waits.remote("here"))
    assert room_now(ray, Needs(most, 1, 0)) == most - 1
    ray.kill(holder)


@pytest.mark.parametrize(
    ("gpus", "workers", "group"), [(1, None, 1), (4, None, 2), (0, None, 2), (1, 2, 2)]
)
def test_a_machine_with_one_gpu_is_refused_a_training_that_chose_no_workers(
    monkeypatch, gpus, workers, group
):
    monkeypatch.setattr(train, "gpus_each", lambda _ray, _gpus: min(1.0, gpus))
    monkeypatch.setattr(train, "most_gpus", lambda _ray: float(gpus))
    monkeypatch.setattr(train, "require_resources", lambda *_: None)
    found = train._group(None, workers, 1, "auto")
    assert (found.fewest, found.most) == (group, group)
