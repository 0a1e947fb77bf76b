"""`[structure.NAME]`: what is found in rows without labels, and of which rows.

A new structure is one class in one file that derives from
`distill.labelers.structure.kind.StructureKind`, which adds the fit to what stands here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field, field_validator, model_validator

from distill.spec.base import Gpus, Seed, Table, require_once
from distill.spec.kinds import Kind

_SOURCES = ("pools", "labels", "structure")


class StructureOutput(NamedTuple):
    """What a structure gives of a row."""

    width: int
    # where the numbers are logits: of these exclusive classes, in order. Empty for values.
    classes: tuple[str, ...] = ()


class StructureModel(Kind):
    """What `[structure.NAME]` can fit, by passes over rows."""

    gives: ClassVar[tuple[str, ...]]
    """What it can give of a row: the values of the labeler's `gives`."""
    features: ClassVar[str]
    """The one of them that another structure sees."""
    has_groups: ClassVar[bool] = False
    """Whether it puts rows into groups, which what was fitted then tells (`groups`)."""
    on_gpu: ClassVar[bool] = False
    """Whether its passes can compute on a GPU."""

    @abstractmethod
    def output(self, gives: str) -> StructureOutput:
        """Return how one of `gives` looks, which the table alone decides."""

    def misfits(self, width: int, rows: int) -> Iterator[str]:  # noqa: ARG002  each has its own
        """Yield why rows of `width` numbers, `rows` at the most, have no such structure; each
        begins with one of its keys."""
        yield from ()


class StructureCompute(Table):
    """What one task of a pass may take."""

    gpus: Gpus = 0.0
    """A pass of `pca` and `kmeans` computes there; it is worth it where products outweigh reading:
    from some thousand centres, or some hundred columns of a covariance, on."""


class Structure(Table):
    """`[structure.NAME]`."""

    of: str
    """`pools.NAME` for that pool's features, `labels.NAME` for a label set's values, or
    `structure.NAME` for what that one gives of what it sees."""
    model: StructureModel
    seed: Seed | None = None
    """Default: the job's."""
    compute: StructureCompute = StructureCompute()
    watch: tuple[str, ...] = ()
    """Pools whose rows are held against those that it was fitted on, cluster by cluster: whether
    what comes in is still like what was learned from."""
    most_drift: Annotated[float, Field(gt=0)] | None = None
    """A run whose watched rows drifted further ends with exit code 3, when all else is done. It is
    the population stability index: up to 0.1 is little, from 0.25 on much."""

    @field_validator("of")
    @classmethod
    def _source(cls, value: str) -> str:
        kind, _, name = value.partition(".")
        if kind not in _SOURCES or not name:
            hint = f"; the rows of a selection are 'pools.{value}'" if kind == "select" else ""
            message = f"{value!r} is none of 'pools.NAME', 'labels.NAME' and 'structure.NAME'{hint}"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _watched(self) -> Structure:
        require_once(self.watch, "watch")
        if self.most_drift is not None and not self.watch:
            raise ValueError("has most_drift but watches no pool; name some in watch")
        return self

    @property
    def pool(self) -> str | None:
        """The pool whose features it sees, if it does."""
        return self._named("pools")

    @property
    def label_set(self) -> str | None:
        """The label set whose values it sees, if it does."""
        return self._named("labels")

    @property
    def structure(self) -> str | None:
        """The structure that it is put on top of, if it is."""
        return self._named("structure")

    def _named(self, source: str) -> str | None:
        kind, _, name = self.of.partition(".")
        return name if kind == source else None
