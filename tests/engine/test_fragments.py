from __future__ import annotations

from contextlib import closing

import pytest

from distill.engine import map_fragments
from distill.errors import LabelerError, ResourceError
from distill.job import Compute
from tests.engine.working import Bar, doubling, unbuildable

pytestmark = pytest.mark.ray

TWO = Compute(min=2, max=2)


def test_every_task_is_answered_once_though_an_actor_is_killed(ray, tmp_path):
    tasks = [{"number": number} for number in range(12)]
    told = {"mark": str(tmp_path / "mark"), "fatal": 5}
    answers = list(map_fragments(doubling, told, tasks, TWO, Bar()))
    assert sorted(answer["twice"] for answer in answers) == [2 * number for number in range(12)]
    assert (tmp_path / "mark").exists()
    assert len({answer["pid"] for answer in answers}) >= 2


def test_more_tasks_than_blocks_are_all_answered(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.engine.fragments._MOST_BLOCKS", 4)
    tasks = [{"number": number} for number in range(11)]
    answers = list(map_fragments(doubling, {"mark": str(tmp_path / "mark"), "fatal": -1}, tasks, TWO, Bar()))
    assert sorted(answer["twice"] for answer in answers) == [2 * number for number in range(11)]


def test_an_actor_that_cannot_be_built_is_told_and_gives_its_cpus_back(ray):
    with pytest.raises(LabelerError, match="no weights at /nowhere"):
        list(map_fragments(unbuildable, "/nowhere", [{"number": 1}], TWO, Bar()))
    assert ray.get(ray.remote(num_cpus=2)(lambda: 7).remote(), timeout=20) == 7


@pytest.mark.parametrize("compute", [Compute(gpus=1), Compute(cpus=64), Compute(min=64, max=64)])
def test_what_the_cluster_can_never_give_is_refused_at_once(ray, compute):
    with pytest.raises(ResourceError, match=r"needs .* [CG]PU"):
        next(map_fragments(doubling, {}, [{"number": 1}], compute, Bar()))


def test_stopping_early_ends_the_actors_and_not_the_process(ray, tmp_path):
    tasks = [{"number": number} for number in range(200)]
    told = {"mark": str(tmp_path / "mark"), "fatal": -1}
    for _ in range(3):
        with closing(map_fragments(doubling, told, tasks, TWO, Bar())) as answers:
            assert next(answers)["twice"] % 2 == 0
    assert ray.get(ray.remote(num_cpus=2)(lambda: 7).remote(), timeout=20) == 7
