"""What a process may have at most is that of the nodes there are or may come; what nobody tells
refuses nothing."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace

import pytest

from distill.core.errors import ResourceError
from distill.engine.protocol import TrainingNeeds
from distill.engine.ray import memory, train
from distill.engine.ray.memory import largest_gpu_memory, largest_memory

GIB = 2**30
SMALL = {"CPU": 4.0, "memory": 8.0 * GIB}
LARGE = {"CPU": 4.0, "memory": 64.0 * GIB}
T4 = {"GPU": 1.0, "accelerator_type:T4": 1.0, "memory": 8.0 * GIB}
H100 = {"GPU": 8.0, "accelerator_type:H100": 1.0, "memory": 8.0 * GIB}
OTHER_GPU = {"GPU": 1.0, "accelerator_type:X9": 1.0, "memory": 8.0 * GIB}
NAMELESS_GPU = {"GPU": 1.0, "memory": 8.0 * GIB}


def cluster(monkeypatch, nodes, types=None):
    """A Ray of these nodes; `types` may come where they are given, and [] says nothing of theirs."""
    monkeypatch.setattr(memory, "autoscales", lambda _ray: types is not None)
    monkeypatch.setattr(memory, "_node_types", lambda: types or [])
    living = [{"Alive": True, "Resources": node} for node in nodes]
    return SimpleNamespace(nodes=lambda: [*living, {"Alive": False, "Resources": LARGE}])


@pytest.mark.parametrize(
    ("nodes", "types", "node_gib", "gpu_gib"),
    [
        ([SMALL], None, 16, math.inf),
        ([SMALL, LARGE], None, 128, math.inf),
        ([SMALL, T4], None, 16, 16),
        ([SMALL, T4, H100], None, 16, 94),
        ([T4, OTHER_GPU], None, 16, math.inf),
        ([NAMELESS_GPU], None, 16, math.inf),
        ([SMALL, T4], [], math.inf, math.inf),
        ([SMALL], [LARGE], 128, math.inf),
        ([SMALL, T4], [LARGE], 128, 16),
        ([SMALL], [T4, LARGE], 128, 16),
        ([SMALL], [{"CPU": 4.0}], math.inf, math.inf),
    ],
)
def test_memory_is_another_than_the_nodes_tell(monkeypatch, nodes, types, node_gib, gpu_gib):
    ray = cluster(monkeypatch, nodes, types)
    assert largest_memory(ray) == node_gib * GIB
    assert largest_gpu_memory(ray) == gpu_gib * GIB


@pytest.mark.parametrize(
    ("gpus", "nodes", "said"),
    [
        (1.0, [T4], "the largest GPU has 17.2 GB. Make its layers narrower"),
        (0.0, [SMALL], "the largest node has 17.2 GB. Make its layers narrower"),
        (1.0, [OTHER_GPU], None),
        (1.0, [H100], None),
    ],
)
def test_a_training_larger_than_its_gpu_begins(monkeypatch, caplog, gpus, nodes, said):
    ray = cluster(monkeypatch, nodes)
    monkeypatch.setattr(train, "require_ray", lambda: ray)
    monkeypatch.setattr(train, "_group", lambda *_: train._Group(1, 1, gpus))
    needs = TrainingNeeds("students.s", 1, gpus, 10**9, 20 * GIB)
    if said:
        with pytest.raises(ResourceError, match=f"needs 21.5 GB .*{said}"):
            train.require_training(needs)
        return
    with caplog.at_level(logging.WARNING):
        train.require_training(needs)
    told = [record.getMessage() for record in caplog.records]
    unknown = "students.s: a worker needs 21.5 GB of memory to train; nobody tells how much the"
    assert (bool(told) and told[0].startswith(unknown)) == (nodes == [OTHER_GPU])
