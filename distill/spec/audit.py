"""`[audit]`: how much of the labelled rows can be told from what was taught by them, and the rule of
a gate that holds it against a limit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from distill.spec.base import Name, Positive, Seed, Table, require_once

WHOLE = ".whole"
# what is appended to a pool's name where a share is held out: all of its rows, and the share
HELD_OUT = ".held_out"

Key = Annotated[str, Field(pattern=r"^(fit|labels|students)\.[A-Za-z][A-Za-z0-9_-]*$")]


def split_path(name: str) -> str:
    """Return where the addresses of a pool of held-out or remaining rows lie, below the root."""
    return f"audit/pools/{name}/rows"


class Audit(Table):
    """`[audit]`: membership inference on fits, label sets and students, and canaries."""

    members: Name
    """The labelled pool whose rows are looked for."""
    held_out: Annotated[float, Field(gt=0, lt=1)] | Name
    """Rows of the same kind that taught nothing: a share of `members` that the job then leaves out
    everywhere (0.5 is the fairest), or another pool with the same target."""
    of: tuple[Key, ...] = ()
    """What is audited, as `fit.NAME`, `labels.NAME`, `students.NAME`. Default: all networks fitted
    on the pool, all label sets over both pools, and all students that come of them."""
    shadows: Annotated[int, Field(ge=0, le=1024)] = 16
    """Shadow models for LiRA, each taught by the same job on a random half of both pools' rows; an
    even number, from 4 on. 0: by the loss alone."""
    rows: Positive = 5_000
    """Rows of either pool that are tried, at most."""
    canaries: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Rows with a wrong target of which half are taught, in a run of the job that is made for them
    alone. 0: no bound on ε."""
    delta: Annotated[float, Field(ge=0, lt=1)] = 1e-5
    """δ at which ε is bounded where nothing states one."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """Of the bound on ε."""
    seed: Seed | None = None
    """Of halves and canaries. Default: the job's."""

    @field_validator("shadows")
    @classmethod
    def _pairs(cls, value: int) -> int:
        if value % 2 or value == 2:
            raise ValueError(
                f"{value} is not 0 or an even number from 4 on: shadows come in pairs that share"
                " the rows, and a spread needs two of each"
            )
        return value

    @field_validator("of")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        require_once(value, "of")
        return value

    @property
    def share(self) -> float | None:
        """The share of `members` that is held out; None where another pool is."""
        return self.held_out if isinstance(self.held_out, float) else None

    @property
    def others(self) -> str:
        """The pool of rows that taught nothing."""
        if isinstance(self.held_out, float):
            return f"{self.members}{HELD_OUT}"
        return self.held_out

    @property
    def whole(self) -> str:
        """The pool of all rows, where a share of them is held out."""
        return f"{self.members}{WHOLE}"


class AuditRule(Table):
    """One demand on what an audit finds."""

    at: Key
    """What has to keep to it, as `students.NAME`."""
    most_auc: Annotated[float, Field(ge=0.5, le=1)] | None = None
    """Of every attack: 0.5 is guessing."""
    most_tpr: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the members that every attack finds while it takes 1% of the others for members."""

    @model_validator(mode="after")
    def _one_limit(self) -> AuditRule:
        if (self.most_auc is None) == (self.most_tpr is None):
            raise ValueError("a rule of an audit has one limit: most_auc or most_tpr")
        return self

    @property
    def limit(self) -> float:
        """The one that it has."""
        limit = self.most_tpr if self.most_auc is None else self.most_auc
        assert limit is not None
        return limit
