from __future__ import annotations

import pytest

from distill.engine import train_workers
from distill.errors import ResourceError, TrainingError
from tests.engine.working import Bar, raise_on_one_rank, sum_over_workers

pytestmark = pytest.mark.ray


def test_ranks_work_together_and_are_heard(ray, tmp_path):
    bar = Bar()
    told = {"dies": False, "mark": str(tmp_path / "mark")}
    assert train_workers(sum_over_workers, told, workers=2, gpus="auto", bar=bar) == 3.0
    assert bar.amount == 5
    assert "half way" in bar.notes


def test_a_killed_rank_starts_the_group_again(ray, tmp_path):
    told = {"dies": True, "mark": str(tmp_path / "mark")}
    assert train_workers(sum_over_workers, told, workers=2, gpus="auto", bar=Bar()) == 3.0
    assert (tmp_path / "mark").exists()


def test_a_mistake_in_the_work_is_shown_and_not_tried_again(ray):
    with pytest.raises(TrainingError, match=r"(?s)raised on rank 1.*read_column.*KeyError: 'pixels'"):
        train_workers(raise_on_one_rank, "pixels", workers=2, gpus="auto", bar=Bar())


def test_more_workers_than_cpus_are_refused(ray):
    with pytest.raises(ResourceError, match="training needs 64 × 1 CPU"):
        train_workers(sum_over_workers, {}, workers=64, gpus=0, bar=Bar())
