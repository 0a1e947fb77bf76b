"""Projections: what lets a head learn from labels of another width.

A hint of W numbers cannot be held against a head of H ≠ W, so each such term has a linear map of
its own, H → W, trained with the student and thrown away after the last step (Romero et al. 2015,
FitNets, eq. 3: a regressor on top of the guided layer). It is part of the optimiser, of the norm
that is clipped and of checkpoints; not of the exported weights, of `parameters` or of the
evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from distill.models.network import HEAD_PREFIX, MultiHead
from distill.plan.training import TermPlan


class Projected(nn.Module):
    """A network whose outputs are, beside its heads', what each projection makes of them, under the
    name `TermPlan.answer`."""

    def __init__(self, network: MultiHead, terms: Sequence[TermPlan], seed: int) -> None:
        super().__init__()
        self.network = network
        # plain strings, which torch.compile takes for constants
        self.names = [(term.column, term.head, term.answer) for term in terms]
        made = {term.column: _make_projection(network, term, seed) for term in terms}
        self.projections = nn.ModuleDict(made)

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.network(x_BF)
        projected = {
            answer: self.projections[column](outputs[head]) for column, head, answer in self.names
        }
        return {**outputs, **projected}


def with_projections(network: MultiHead, terms: Sequence[TermPlan], seed: int) -> nn.Module:
    """Return what is trained: the network, and the projections that its terms need. Without any,
    the network itself."""
    projected = [term for term in terms if term.projected is not None]
    return Projected(network, projected, seed) if projected else network


def _make_projection(network: MultiHead, term: TermPlan, seed: int) -> nn.Linear:
    head = network.heads[f"{HEAD_PREFIX}{term.head}"]
    assert isinstance(head, nn.Linear)
    assert term.projected is not None
    # by the seed and the term's number: the student itself begins as it would without it, and other
    # terms' projections too
    number = int(term.column)
    sequence = np.random.SeedSequence([seed, number])
    # the caller's random state is left as it was
    with torch.random.fork_rng(devices=[]):
        states = sequence.generate_state(1)
        drawn = states[0]
        torch.manual_seed(int(drawn))
        return nn.Linear(head.out_features, term.projected)
