"""`training.private`: private training by noisy gradients (DP-SGD, Abadi et al. 2016)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import Table


class Private(Table):
    """Each row moves a step by no more than `clip`, and noise hides it: what is trained promises
    (ε, δ) to each row that it learns from. Rows of a step are drawn anew each time, each by itself
    (Poisson sampling), `batch_rows` on average."""

    epsilon: Annotated[float, Field(gt=0, le=1e4)] | None = None
    """ε of the whole training; the least noise that keeps it is found. Default: what `noise`
    gives."""
    noise: Annotated[float, Field(gt=0, le=1e4)] | None = None
    """σ of the noise, in units of `clip`, in place of ε."""
    delta: Annotated[float, Field(gt=0, lt=0.5)]
    """δ. Well below one over the number of rows."""
    clip: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """The most that one row's gradient may measure; a larger one is scaled down to it."""
    accountant: Literal["rdp", "prv"] = "rdp"
    """Of opacus: `rdp` is never less than the truth, `prv` closer to it, up to its error."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Private:
        if (self.epsilon is None) == (self.noise is None):
            raise ValueError("has one of `epsilon` and `noise`: each follows from the other")
        return self
