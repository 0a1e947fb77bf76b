"""`[pools.NAME]`: where rows lie, what of them a model sees, and what their target is."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.job.base import Table


class VectorFeatures(Table):
    """Numbers: one list column, or several scalar columns side by side."""

    kind: Literal["vector"]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns in the order in which the model sees them; their widths are added."""
    scale: float = 1.0
    """Every number is multiplied by this (1/255 for bytes)."""


class Pool(Table):
    """A named, sharded set of rows."""

    path: str
    """Folder, file or URI. Relative to the job file; `{root}` stands for the job's root."""
    format: Literal["parquet"] = "parquet"
    on_change: Literal["refuse", "relabel"] = "refuse"
    """What becomes of a listed file that changed or vanished: an error, or it is retired with its labels, and labelled anew as it is now."""
    made_by: str | None = None
    """`FILE.py:FUNCTION`, relative to the job file: yields one Arrow table a shard, where the pool is not made yet."""
    features: VectorFeatures | None = None
    """What a model sees of a row. A pool without it takes the only features that the job declares."""
    target: str | None = None
    """The column that holds the truth."""
    classes: tuple[str, ...] | str | None = None
    """Names of the target's classes in order, or a text file with one a line. Without it the target is a number or vector."""
    outputs: Literal["exclusive", "independent"] = "exclusive"
    """Exclusive: each row has one class. Independent: the target says 0 or 1 for each class (a number where there is one class)."""
    keys: tuple[str, ...] = ()
    """Columns (strings or integers) that are copied beside the labels, for readers who join by them."""
    private: tuple[str, ...] = ()
    """Columns that are never read."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in order; empty where the target is a value."""
        return self.classes if isinstance(self.classes, tuple) else ()

    @model_validator(mode="after")
    def _combinations(self) -> Pool:
        if self.classes is not None and self.target is None:
            raise ValueError("has classes but no target; name the target column too")
        if isinstance(self.classes, tuple):
            twice = sorted(name for name, times in Counter(self.classes).items() if times > 1)
            if twice or not self.classes:
                raise ValueError(f"classes must be distinct and at least one; twice: {twice}")
        if self.outputs == "independent" and self.classes is None:
            raise ValueError("has independent outputs but no classes; name what each 0 or 1 of the target says")
        used = {*(self.features.columns if self.features else ()), *([self.target] if self.target else [])}
        if used & set(self.private):
            raise ValueError(
                f"private columns {sorted(used & set(self.private))} are used as features or target; take them out of one of the two"
            )
        return self
