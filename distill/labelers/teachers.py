"""The networks of a fit with `teachers` as one labeler: how many of them vote for each class.

Their weights lie stacked in one file, the teacher first. `label` returns counts, which must not be
stored: `distill.labelers.noisy_answers` makes answers of them, in the same process.

Shapes: N teachers, B rows, C classes.
"""

from __future__ import annotations

import numpy as np
import safetensors.torch
import torch
from torch.func import functional_call

from distill.labelers.base import Inputs, Matrix
from distill.labelers.network import as_input, network_of_tensors
from distill.labelers.recipe import Recipe
from distill.labelers.runtime import computing
from distill.models.network import MultiHead, as_tensor
from distill.models.record import read_weights
from distill.storage.open import open_storage

Tensors = dict[str, torch.Tensor]


class TeachersLabeler:
    """Counts the votes of all teachers."""

    def __init__(
        self, network: MultiHead, stacked: Tensors, head: str, device: str, precision: str
    ) -> None:
        moved = network.to(device)
        self.network = moved.eval()
        self.stacked = {name: values.to(device) for name, values in stacked.items()}
        self.device = device
        self.precision = precision
        self.head = head

    @classmethod
    def load(cls, recipe: Recipe, device: str) -> TeachersLabeler:
        """Load all teachers from storage, the weights' sha256 checked. Raises StorageError, and
        LabelerError as a network does."""
        assert recipe.record is not None
        content = read_weights(open_storage(recipe.folder), recipe.record)
        stacked = safetensors.torch.load(content)
        first = {name: values[0] for name, values in stacked.items()}
        network = network_of_tensors(recipe.record, first, recipe.code)
        head = next(iter(recipe.record.heads))
        return cls(network, stacked, head, device, recipe.precision)

    def prepare(self, features: Inputs) -> Inputs:
        """Return text as the teachers read it; numbers and images as they are."""
        return as_input(self.network, features)

    def label(self, features: Inputs) -> Matrix:
        """Return the votes for each class, (B, C)."""
        rows = as_tensor(features, self.device)
        teachers = len(next(iter(self.stacked.values())))
        votes = None
        with torch.no_grad(), computing(self.device, self.precision):
            for number in range(teachers):
                weights = {name: values[number] for name, values in self.stacked.items()}
                outputs = functional_call(self.network, weights, (rows,))[self.head]
                own = torch.zeros_like(outputs, dtype=torch.float32)
                own.scatter_(1, outputs.argmax(dim=1, keepdim=True), 1.0)
                votes = own if votes is None else votes + own
        assert votes is not None
        counts: Matrix = votes.cpu().numpy().astype(np.float32)
        return counts
