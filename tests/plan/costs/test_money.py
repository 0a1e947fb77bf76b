"""An hour of a worker is a share of a machine that has room for it."""

from __future__ import annotations

import pytest

from distill.plan.costs.money import WorkerKind, counted_dollars, gpus_held, worker_dollars
from distill.spec.prices import InstancePrice
from tests.plan.costs.test_ledger import CPU, GPU, priced


def test_a_worker_pays_for_a_whole_machine_or_for_none():
    assert worker_dollars(GPU, WorkerKind(1.0, 1.0)) == 4.0
    assert worker_dollars(GPU, WorkerKind(8.0, 1.0)) == 8.0
    assert worker_dollars(GPU, WorkerKind(9.0, 1.0)) is None
    assert worker_dollars(CPU, WorkerKind(1.0, 1.0)) is None
    small = InstancePrice(instance="small", dollars=1.0, cpus=4, memory_gb=8)
    assert worker_dollars(small, WorkerKind(1.0, 0.0, 3e9)) == 0.5
    assert worker_dollars(small, WorkerKind(1.0, 0.0, 9e9)) is None


def test_a_machine_counts_that_is_not_used():
    used = GPU.model_copy(update={"used": True})
    assert counted_dollars(priced(CPU, GPU), WorkerKind()) == 1.0
    assert counted_dollars(priced(CPU, used), WorkerKind(2.0)) == 2.0
    assert counted_dollars(priced(CPU), WorkerKind(1.0, 1.0)) is None
    assert counted_dollars(None, WorkerKind()) is None


@pytest.mark.parametrize(
    ("gpus", "device", "held"), [("auto", "cpu", 0), ("auto", "cuda", 1), (0.5, "cuda:0", 0.5)]
)
def test_a_worker_holds_what_it_was_not_given(gpus, device, held):
    assert gpus_held(gpus, device) == held
