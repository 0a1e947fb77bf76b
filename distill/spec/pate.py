"""Teachers on disjoint parts of labelled rows, and the labeler that answers by their noisy votes
(PATE: Papernot et al. 2017, 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import Positive, Table
from distill.spec.labels import Fitted

if TYPE_CHECKING:
    from distill.core.dp.noisy_votes import NoisyVote

Votes = Annotated[float, Field(gt=0, le=1e9)]  # a number of teachers, or of their noise
Epsilon = Annotated[float, Field(gt=0, le=1e4)]
Delta = Annotated[float, Field(gt=0, lt=0.5)]


class Teachers(Table):
    """Several networks in place of one, each fitted on its own part of the pool: no row is seen by
    two, so one row, or one person's rows, moves one vote."""

    count: Annotated[int, Field(ge=2, le=10_000)]
    by: str | None = None
    """Column whose value says whose a row is: rows of one value are one teacher's, and what is
    promised is promised of all of them together. Rows without a value teach nobody. Default: each
    row by itself, which promises nothing of who has several."""


class Pate(Fitted):
    """The noisy vote of a fit's `teachers`: only the class that wins under noise leaves the
    process, never a count. Rows beyond the budget are rejected."""

    own_precision = False

    kind: Literal["pate"]  # type: ignore[assignment]
    fit: str
    """`[fit.NAME]` with `teachers`."""
    noise: Literal["gaussian", "laplace"] = "gaussian"
    """Of each class's count: GNMax or LNMax."""
    scale: Votes
    """σ of Gaussian noise, or b of Laplace noise, in votes."""
    epsilon: Epsilon
    """The budget ε of all label sets that have asked these teachers, this one included. No row is
    asked about that would exceed it."""
    delta: Delta
    """δ. Well below one over the number of protected rows, or persons."""
    threshold: Votes | None = None
    """Votes that the first class needs, under noise of its own, for its row to be answered at all
    (Confident-GNMax): others are rejected, and cost little."""
    threshold_sigma: Votes | None = None
    """σ of that noise. Default: `scale`."""
    asked: Positive | None = None
    """Rows that are asked about at the most, from the pool's first on. With a `threshold`, fewer
    questions leave more of the budget for answers. Default: as many as the budget is enough for."""

    @model_validator(mode="after")
    def _combinations(self) -> Pate:
        if self.answers is not None:
            raise ValueError("answers: votes are counted, whatever the teachers give; leave it out")
        if self.threshold is None and self.threshold_sigma is not None:
            raise ValueError("threshold_sigma: is of a threshold; name one, or leave it out")
        if self.threshold is not None and self.noise == "laplace":
            raise ValueError('threshold: is of noise = "gaussian"; leave one of them out')
        return self

    @property
    def vote(self) -> NoisyVote:
        """The mechanism, for its account."""
        # here, since accounts load numpy and a job's tables must not
        from distill.core.dp.noisy_votes import NoisyVote

        if self.noise == "laplace":
            return NoisyVote("lnmax", self.scale)
        if self.threshold is None:
            return NoisyVote("gnmax", self.scale)
        sigma = self.threshold_sigma or self.scale
        return NoisyVote("confident_gnmax", self.scale, self.threshold, sigma)
