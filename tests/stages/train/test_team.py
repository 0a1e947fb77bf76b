"""What workers tell each other, by threads in place of processes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from distill.engine.protocol import WorkerContext
from distill.stages.train import team
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import WorkerGradients
from distill.stages.train.row_rules import AdamWRows
from distill.stages.train.table_rows import RowTable

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

    def broadcast(values, group, group_src):
        assert values.is_contiguous()
        sent[own.rank] = values
        barrier.wait()
        values.copy_(sent[group_src].clone())
        barrier.wait()

    monkeypatch.setattr(team.dist, "all_gather", all_gather)
    monkeypatch.setattr(team.dist, "broadcast", broadcast)
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


def test_a_small_network_begins_with_other_weights_on_another_worker(ranks):
    """Also a table, whose rows lie apart, and what is frozen."""
    networks = []
    for rank in range(WORKERS):
        torch.manual_seed(rank)
        bag = nn.EmbeddingBag(7, 3)
        table = RowTable(bag, AdamWRows(lambda _: 0.1, 0.0))
        networks.append(nn.Sequential(table, nn.Linear(3, 2), nn.BatchNorm1d(2)))
        networks[-1][1].bias.requires_grad_(False)
        networks[-1][2].running_mean += rank
    due = {name: values.clone() for name, values in networks[0].state_dict().items()}

    def begin(rank):
        ranks.rank = rank
        context = WorkerContext(rank, WORKERS, "cpu")
        WorkerGradients(networks[rank], CombinedLoss((), "cpu"), context, lambda model: model)

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(begin, range(WORKERS)))
    for network in networks:
        assert torch.equal(network[0].rows.settled, due["0.weight"])
        for name, values in network.state_dict().items():
            assert torch.equal(values, due[name])
