"""What workers tell each other, by threads in place of processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from distill.engine.protocol import WorkerContext
from distill.stages.train import team

WORKERS = 3


@pytest.fixture
def ranks(monkeypatch):
    barrier = threading.Barrier(WORKERS, timeout=60)
    own = threading.local()
    sent = {}

    def all_gather(gathered, mine, group):
        sent[own.rank] = mine
        barrier.wait()
        for rank, room in enumerate(gathered):
            room.copy_(sent[rank])
        barrier.wait()

    monkeypatch.setattr(team.dist, "all_gather", all_gather)
    return own


def test_workers_know_other_rows_than_all_that_any_has(ranks):
    """Also where one has more than there is room for, as often as it happens."""
    counts = [(3, 0, 1), (1_024, 1_023, 7), (1_025, 2, 3_000), (5_000, 4_999, 5_001), (1, 1, 1)]

    def rows(rank, step):
        draw = torch.Generator().manual_seed(10 * step + rank)
        return torch.randperm(9_000, generator=draw)[: counts[step][rank]].sort().values.int()

    def work(rank):
        ranks.rank = rank
        union = team.Union(WorkerContext(rank, WORKERS, "cpu"))
        return [union(rows(rank, step)) for step in range(len(counts))]

    with ThreadPoolExecutor(WORKERS) as threads:
        found = list(threads.map(work, range(WORKERS)))
    for step in range(len(counts)):
        due = torch.cat([rows(rank, step) for rank in range(WORKERS)]).unique()
        assert all(torch.equal(mine[step], due) for mine in found)
