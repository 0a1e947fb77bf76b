"""Projections: what lets a head learn from a source of another width.

A hint of W numbers cannot be held against a head of H ≠ W, so each such term has a linear map of
its own, H → W, trained with the student and thrown away after the last step (Romero et al. 2015,
FitNets, eq. 3: a regressor on top of the guided layer). It is part of the optimiser, of the norm
that is clipped and of checkpoints; not of the exported weights, of `parameters` or of the
evaluation. Its first weights are drawn by (seed, number of the term), so that the student itself
begins as it would without it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from distill.models.network import MultiHead
from distill.plan.training import TermPlan


class Projected(nn.Module):
    """A network that answers, beside its heads, what each projection makes of them, as
    `TermPlan.answer` names it."""

    def __init__(self, network: MultiHead, terms: Sequence[TermPlan], seed: int) -> None:
        super().__init__()
        self.network = network
        self.heads = {term.column: (term.head, term.answer) for term in terms}
        self.projections = nn.ModuleDict(
            {term.column: _drawn(network, term, seed) for term in terms}
        )

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        answered: dict[str, Tensor] = self.network(x_BF)
        made = {
            self.heads[column][1]: projection(answered[self.heads[column][0]])
            for column, projection in self.projections.items()
        }
        return {**answered, **made}


def with_projections(network: MultiHead, terms: Sequence[TermPlan], seed: int) -> nn.Module:
    """What is trained: the network, and the projections that its terms need. Without any, the
    network itself."""
    projected = [term for term in terms if term.projected is not None]
    return Projected(network, projected, seed) if projected else network


def _drawn(network: MultiHead, term: TermPlan, seed: int) -> nn.Linear:
    head = network.heads[f"head_{term.head}"]
    assert isinstance(head, nn.Linear)
    assert term.projected is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(
            int(np.random.SeedSequence([seed, int(term.column)]).generate_state(1)[0])
        )
        return nn.Linear(head.out_features, term.projected)
