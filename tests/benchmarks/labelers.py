"""The labelers of the benchmarks. This file is also what a job ships to its workers, so it imports
nothing of ours.

The constants are replaced in the copy that a job gets (`tests.benchmarks.pools.write_job`).
"""

import time

import numpy as np

HIDDEN = 64
"""Width of the network's hidden layers: what a row costs."""
MICROSECONDS = 0.0
"""What a row costs `Echo`, which sleeps."""
LOG = ""
"""File that gets a line a batch of `Echo`: process, first row's id, rows."""
FEATURES, CLASSES = 64, 100


class Network:
    """Two hidden layers; logits of 100 classes. The weights are drawn by a seed, so all processes
    have the same."""

    revision = "1"
    classes = tuple(map(str, range(CLASSES)))

    def __init__(self):
        import torch
        from torch import nn

        torch.manual_seed(0)
        layers = [
            nn.Linear(FEATURES, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, CLASSES),
        ]
        self.torch, self.network = torch, nn.Sequential(*layers).eval()

    def label(self, features):
        with self.torch.inference_mode():
            return self.network(self.torch.from_numpy(np.ascontiguousarray(features))).numpy()


class Echo:
    """Answers each row's id (its first two features: thousands and rest, exact in float32), and
    notes which rows it was asked."""

    revision = "1"
    kind = "value"
    width = 2

    def label(self, features):
        import os

        time.sleep(len(features) * MICROSECONDS * 1e-6)
        if LOG:
            first = int(features[0, 0]) * 1000 + int(features[0, 1])
            line = f"{os.getpid()} {first} {len(features)}\n".encode()
            log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(log, line)
            os.close(log)
        return features[:, :2]


class Copy:
    """Answers 100 numbers made of the features, at next to no cost: what is left is distill's."""

    revision = "1"
    classes = tuple(map(str, range(CLASSES)))

    def label(self, features):
        noise = features[:, 2:]  # the first two say a row's id, and are large
        return np.concatenate([noise, noise], axis=1)[:, :CLASSES]
