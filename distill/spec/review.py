"""`[review]`: which rows people should see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from distill.spec.base import Name, Positive, Table, require_once

Reason = Literal["disagreement", "confidence", "suspects", "slices"]
# all, in the order in which rows are taken of each
REASONS: tuple[Reason, ...] = ("suspects", "disagreement", "slices", "confidence")


class Review(Table):
    """`[review]`: rows of a pool for people to look at, chosen by what label sets say of them."""

    over: str
    """The pool."""
    labels: tuple[Name, ...] = ()
    """Label sets over it, of exclusive classes; the first one is whose confidence counts. Default:
    all that there are, in the order of the job."""
    by: Annotated[tuple[Reason, ...], Field(min_length=1)] | None = None
    """`disagreement`: label sets name different classes; `confidence`: the first one is unsure;
    `suspects`: the pool's own target is likely wrong (confident learning, Northcutt et al. 2021);
    `slices`: rows of slices where students are worse than over all rows, by the evaluation.
    Default: all that there is something for."""
    rows: Positive = 200
    """How many in all; of each reason alike, the worst first."""

    @field_validator("labels", "by")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        require_once(value or (), "labels and by")
        return value
