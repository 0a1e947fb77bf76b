"""A node that is lost is told once; one that was sent away, never. Real ones are killed in
tests/cluster/test_autoscaling.py."""

from __future__ import annotations

import pytest

from distill.core import events
from distill.engine.ray import lost_nodes
from distill.engine.ray.lost_nodes import LostNodes


class Ray:
    """Says which nodes there are."""

    def __init__(self) -> None:
        self.table = [node("old", alive=False, reason=2), node("a"), node("b"), node("c")]

    def nodes(self):
        return self.table


def node(name, *, alive=True, reason=0):
    return {
        "NodeID": name,
        "Alive": alive,
        "NodeManagerHostname": f"host-{name}",
        "DeathReason": reason,
        "Labels": {"ray.io/market-type": "spot"},
    }


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(lost_nodes, "_LOOK_SECONDS", -1.0)
    monkeypatch.setattr(events, "_observers", ())
    told = []
    events.observe(told.append)
    return told


def test_a_lost_node_is_told_twice_or_an_idle_one_that_was_ended_is(seen):
    ray = Ray()
    watch = LostNodes(ray)
    watch.look()
    assert seen == []
    ray.table[1:] = [
        node("a", alive=False, reason=3),
        node("b", alive=False, reason=4),
        node("c", alive=False, reason=2),
    ]
    watch.look()
    watch.look()
    assert [(each.worker, each.figures["why"]) for each in seen] == [
        ("host-a", "preempted"),
        ("host-c", "died"),
    ]
    assert {each.figures["market"] for each in seen} == {"spot"}


def test_the_numbers_are_not_rays():
    from ray.core.generated import common_pb2

    reasons = common_pb2.NodeDeathInfo.Reason
    assert {
        reasons.Value("UNEXPECTED_TERMINATION"): "died",
        reasons.Value("AUTOSCALER_DRAIN_PREEMPTED"): "preempted",
    } == lost_nodes._WHY


def test_what_is_lost_in_the_last_seconds_of_a_work_is_not_told(seen, monkeypatch):
    monkeypatch.setattr(lost_nodes, "_LOOK_SECONDS", 3600.0)
    ray = Ray()
    watch = LostNodes(ray)
    ray.table[1:] = [node("a", alive=False, reason=2), node("b")]
    watch.look()
    assert seen == []
    watch.look(at_once=True)
    assert [each.worker for each in seen] == ["host-a"]
