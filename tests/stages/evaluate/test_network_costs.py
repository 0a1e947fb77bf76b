from __future__ import annotations

import numpy as np
import torch

from distill.stages.evaluate.network_costs import network_costs


class Network:
    """What of a labeler is looked at."""

    def __init__(self, network):
        self.network = network

    def label(self, features):
        with torch.inference_mode():
            return self.network(torch.from_numpy(features)).numpy()


def test_products_are_counted_otherwise_than_by_hand():
    network = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    costs = network_costs(Network(network), np.zeros((64, 20), np.float32))
    assert costs["flops_per_row"] == 2 * (20 * 30 + 30 * 5)
    assert costs["weight_bytes"] == 4 * (20 * 30 + 30 + 30 * 5 + 5)
    # the hidden layer and its ReLU at once; or the ReLU and the answers
    assert 64 * 4 * 60 <= costs["batch_bytes"] <= 64 * 4 * (60 + 5 + 20)


def test_memory_that_was_given_back_is_counted():
    deep = torch.nn.Sequential(*[torch.nn.Linear(100, 100) for _ in range(12)])
    costs = network_costs(Network(deep), np.zeros((32, 100), np.float32))
    assert costs["flops_per_row"] == 12 * 2 * 100 * 100
    assert costs["batch_bytes"] <= 3 * 32 * 100 * 4


def test_what_is_no_network_has_costs():
    class Plain:
        def label(self, features):
            return features[:, :2]

    assert network_costs(Plain(), np.zeros((4, 3), np.float32)) == {}
