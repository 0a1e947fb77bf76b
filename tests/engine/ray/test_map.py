from __future__ import annotations

from contextlib import closing

import pytest

from distill.core import events
from distill.core.errors import LabelerError, ResourceError
from distill.engine.ray.map import map_fragments
from distill.engine.ray.stop_signal import NAMESPACE
from distill.spec.labels import Compute
from tests.engine.here import require_free
from tests.engine.working import Bar, doubling, unbuildable, waiting

pytestmark = pytest.mark.ray

ONE = Compute(min=1, max=1)
TWO = Compute(min=2, max=2)


def test_every_task_is_answered_once_though_an_actor_is_killed(ray, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(events, "_observers", (seen.append,))
    tasks = [[{"number": number}] for number in range(12)]
    config = {"mark": str(tmp_path / "mark"), "fatal": 5}
    answers = list(map_fragments(doubling, config, tasks, TWO, Bar()))
    assert sorted(answer["twice"] for answer in answers) == [2 * number for number in range(12)]
    assert (tmp_path / "mark").exists()
    assert len({answer["pid"] for answer in answers}) >= 2
    restarted = [each.worker for each in seen if each.name == "worker_restarted"]
    assert len(restarted) == 1
    assert restarted[0].rpartition(":")[2] in {str(answer["pid"]) for answer in answers}


def test_a_death_is_not_told_where_results_of_the_same_call_had_come(ray, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(events, "_observers", (seen.append,))
    group = [{"number": number} for number in range(12)]
    config = {"mark": str(tmp_path / "mark"), "fatal": 11}
    answers = list(map_fragments(doubling, config, [group], Compute(), Bar()))
    assert sorted(answer["twice"] for answer in answers) == [2 * number for number in range(12)]
    assert [each.name for each in seen].count("worker_restarted") == 1


def test_tasks_beyond_those_let_out_at_once_are_all_answered(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.engine.ray.hand_out._MOST_AHEAD", 4)
    monkeypatch.setattr("distill.engine.ray.hand_out._PACK_GROUPS", 3)
    groups = [[{"number": number}, {"number": number + 1}] for number in range(0, 40, 2)]
    answers = list(
        map_fragments(
            doubling, {"mark": str(tmp_path / "mark"), "fatal": 21}, groups, Compute(), Bar()
        )
    )
    assert sorted(answer["twice"] for answer in answers) == [2 * number for number in range(40)]


def test_a_group_is_scattered_over_actors(ray, tmp_path):
    groups = [[{"number": 100 * group + part} for part in range(5)] for group in range(6)]
    answers = list(
        map_fragments(doubling, {"mark": str(tmp_path / "mark"), "fatal": -1}, groups, TWO, Bar())
    )
    assert len(answers) == 30
    for group in range(6):
        assert len({answer["pid"] for answer in answers if answer["twice"] // 200 == group}) == 1


def test_an_answer_waits_for_the_others_of_its_group(ray, tmp_path):
    config = {"mark": str(tmp_path / "mark"), "fatal": -1}
    with closing(
        map_fragments(waiting, config, [[{"number": 0}, {"number": 1}]], Compute(), Bar())
    ) as answers:
        assert next(answers) == {"number": 0}  # while the second waits for the mark
        (tmp_path / "mark").touch()
        assert next(answers) == {"number": 1}


def test_an_actor_that_cannot_be_built_is_told_and_gives_its_cpus_back(ray):
    with pytest.raises(LabelerError, match="no weights at /nowhere"):
        list(map_fragments(unbuildable, "/nowhere", [[{"number": 1}]], TWO, Bar()))
    require_free(ray)


@pytest.mark.parametrize(
    "compute",
    [
        Compute(gpus=1),
        Compute(cpus=64),
        Compute(min=64, max=64),
        Compute(prepare_on="cluster", prepare_cpus=1_000),
    ],
)
def test_what_the_cluster_can_never_give_is_refused_at_once(ray, compute):
    with pytest.raises(ResourceError, match=r"needs .* [CG]PU"):
        next(map_fragments(doubling, {}, [[{"number": 1}]], compute, Bar()))


def test_stopping_early_ends_the_actors_and_not_the_process(ray, tmp_path):
    tasks = [[{"number": number}] for number in range(200)]
    config = {"mark": str(tmp_path / "mark"), "fatal": -1}
    for _ in range(2):
        with closing(map_fragments(doubling, config, tasks, TWO, Bar())) as answers:
            assert next(answers)["twice"] % 2 == 0
    require_free(ray)


def test_a_map_that_is_stopped_early_leaves_its_signal_on_the_head_node(ray, tmp_path):
    from ray.experimental.internal_kv import _internal_kv_list

    before = _internal_kv_list("", namespace=NAMESPACE)
    config = {"mark": str(tmp_path / "mark"), "fatal": -1}
    with closing(map_fragments(doubling, config, [[{"number": 0}]], ONE, Bar())) as answers:
        next(answers)
    assert sorted(_internal_kv_list("", namespace=NAMESPACE)) == sorted(before)


class Releasing(Bar):
    """Lets `waiting` go on when it has said twice what is waited for, once it has a mark."""

    mark = None

    def waits(self, what: str) -> None:
        super().waits(what)
        if self.mark and len(self.waited) == 2:
            self.mark.touch()


def test_a_bar_that_moved_just_after_the_last_answer_still_says_in_time_what_is_waited_for(
    ray, tmp_path, monkeypatch
):
    """Told once, when it could not say anything yet, it would wait for ever."""
    monkeypatch.setattr("distill.engine.ray.map.LINE_EVERY_SECONDS", 2.0)
    bar = Releasing()
    groups = [[{"number": 0}, {"number": 1}]]
    config = {"mark": str(tmp_path / "mark"), "fatal": -1}
    with closing(map_fragments(waiting, config, groups, Compute(), bar)) as answers:
        next(answers)
        bar.waited.clear()
        bar.mark = tmp_path / "mark"
        assert next(answers) == {"number": 1}
    assert len(bar.waited) >= 2
