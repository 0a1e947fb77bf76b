"""The number of workers is told when it changes, and only then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from distill.core import events
from distill.engine.ray import living
from distill.engine.ray.living import LivingWorkers
from distill.engine.ray.resources import Needs


@pytest.fixture
def actors(monkeypatch):
    """Class names of the job's living actors, as Ray knows them."""
    from ray._private.state import state

    names = []

    def table(actor, job, state_name):
        assert (actor, job, state_name) == (None, b"\x01", "ALIVE")
        return {number: {"ActorClassName": name} for number, name in enumerate(names)}

    monkeypatch.setattr(state, "actor_table", table)
    monkeypatch.setattr(living, "_LOOK_SECONDS", -1.0)
    monkeypatch.setattr(living, "_ACTORS_A_SECOND", 1e9)
    monkeypatch.setattr(events, "_observers", ())
    return names


def test_other_actors_are_workers_or_a_number_is_told_twice(actors):
    told = []
    kinds = set()

    def note(each):
        told.append(each.figures["workers"])
        kinds.add((each.figures.get("cpus"), each.figures.get("gpus")))

    events.observe(note)
    context = SimpleNamespace(get_job_id=lambda: "01")
    ray = SimpleNamespace(JobID=bytes, get_runtime_context=lambda: context)
    ours = LivingWorkers(ray, "MapActor", Needs(1, 2.0, 0.5))
    for now in (["Monitor"], ["MapWorker(MapBatches(MapActor))"] * 2, ["Monitor"]):
        actors[:] = now
        ours.look()
        ours.look()
    actors[:] = ["MapActor"]
    ours.look()
    ours.end()
    assert told == [0, 2, 0, 1, 0]
    assert kinds == {(None, None), (2.0, 0.5)}
