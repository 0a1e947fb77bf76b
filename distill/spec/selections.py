"""`[select.NAME]`: which rows of a pool are chosen, to be labelled before or instead of others.

A selection is used like a pool, by the name `select.NAME`: `over` of a label set, `on` of a fit or
a student. `by` is an extension point: the ways to choose that come with distill stand here, and
what each computes in `distill.stages.select.methods`, one file each. One from outside derives from
`SelectBy` too and has a `choose` of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from distill.spec.base import Positive, Seed, Table, Temperature
from distill.spec.kinds import Kind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SELECT = "select."  # what the name of a selection begins with where pools are named


def selection_name(pool: str) -> str | None:
    """Return the selection that a name of a pool means; None where it means none."""
    return pool.removeprefix(SELECT) if pool.startswith(SELECT) else None


class SelectBy(Kind):
    """`by` of a selection."""

    is_blind: ClassVar[bool] = False
    """Whether it looks at no row that it chooses."""

    @property
    def by_structure(self) -> str | None:
        """The structure whose clusters it goes by."""
        return getattr(self, "structure", None)

    @property
    def by_labels(self) -> str | None:
        """The label set whose rows it goes by."""
        return getattr(self, "labels", None)

    def choose(
        self,
        values: npt.NDArray[np.float32],
        cluster: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.bool_],
        rows: int,
        seed: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Choose `rows` of m candidates: what the structure sees of them (m, d), their clusters
        (m,), and which are in a former selection and must not be chosen again (m,). Return their
        positions in the order of choice and a score each. For kinds from outside distill, which
        have a `structure`."""
        raise NotImplementedError


class Random(SelectBy):
    """Each row with the same chance."""

    is_blind = True

    kind: Literal["random"]


class Typical(SelectBy):
    """The most typical row of each cluster, cluster after cluster: those first of which no former
    selection has a row, then the larger ones (TypiClust, Hacohen et al. 2022)."""

    kind: Literal["typical"]
    structure: str
    """A k-means; as many clusters as rows is what its authors do."""
    neighbours: Annotated[int, Field(ge=1, le=1_000)] = 20
    """A row is typical where the mean distance to so many nearest rows of its cluster is small."""


class Cover(SelectBy):
    """Rows whose neighbourhoods cover as many rows as possible (ProbCover, Yehuda et al. 2022)."""

    kind: Literal["cover"]
    structure: str
    """A k-means, whose clusters stand for classes where the radius is chosen."""
    radius: Annotated[float, Field(gt=0)] | None = None
    """Of a neighbourhood, in what the structure sees. Default: the largest at which `purity` of the
    neighbourhoods lie within one cluster."""
    purity: Annotated[float, Field(gt=0, lt=1)] = 0.95


class Balanced(SelectBy):
    """As many rows of each cluster, as far as it has them; of clusters within clusters level by
    level (Vo et al. 2024)."""

    kind: Literal["balanced"]
    structure: str
    """A k-means."""


class Uncertain(SelectBy):
    """Rows of which stored labels are least sure."""

    kind: Literal["uncertain"]
    labels: str
    """A label set over the pool, such as a student's."""
    measure: Literal["entropy", "margin", "disagreement"] = "entropy"
    """Entropy of the classes; how close the two likeliest are; or how far the members of an
    ensemble disagree."""
    temperature: Temperature = 1.0
    """What logits are divided by before a softmax."""


class Novel(SelectBy):
    """Each the row furthest from all that were chosen before it, former selections too (k-center,
    Sener & Savarese 2018)."""

    kind: Literal["novel"]
    structure: str
    """Of any kind: distances are taken in what it sees."""


class Select(Table):
    """`[select.NAME]`."""

    of: str
    """`pools.NAME`: the pool of which rows are chosen."""
    by: SelectBy
    """How."""
    rows: Positive
    """How many, in the first round."""
    rounds: Positive = 1
    """`distill run` chooses, labels, trains and measures so often; each round adds rows."""
    per_round: Positive | None = None
    """Rows of each later round. Default: as many as `rows`."""
    stop_below: Annotated[float, Field(ge=0)] | None = None
    """No further round is begun where the learning curve promises less than so many points of its
    rows."""
    after: str | None = None
    """`select.OTHER`: rows of that selection, and of those that it comes after, are not chosen
    again."""
    without_duplicates: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of rows of a cluster that are more alike than this cosine, one stays (SemDeDup, Abbas et al.
    2023); the others are counted and not chosen."""
    duplicates_within: str | None = None
    """The k-means in whose clusters duplicates are looked for. Default: that of `by`."""
    seed: Seed | None = None
    """Default: the job's."""

    @field_validator("of")
    @classmethod
    def _pool(cls, value: str) -> str:
        if selection_name(value) is not None:
            raise ValueError(
                "a selection is chosen of a pool. Name that pool; to leave out what was"
                f" chosen before say after = {value!r}"
            )
        return _named(value, "pools")

    @field_validator("after")
    @classmethod
    def _selection(cls, value: str | None) -> str | None:
        return value if value is None else _named(value, "select")

    @model_validator(mode="after")
    def _combinations(self) -> Select:
        if self.without_duplicates is None and self.duplicates_within is not None:
            raise ValueError("has duplicates_within but no without_duplicates; say how alike")
        if self.rounds == 1 and (self.per_round or self.stop_below is not None):
            message = "has one round, which per_round and stop_below say nothing of; say rounds"
            raise ValueError(message)
        return self

    @property
    def later_rows(self) -> int:
        """Rows of each round but the first."""
        return self.per_round or self.rows

    @property
    def most_rows(self) -> int:
        """Rows of all rounds."""
        return self.rows + self.later_rows * (self.rounds - 1)

    @property
    def pool(self) -> str:
        """The pool of which rows are chosen."""
        return self.of.removeprefix("pools.")

    @property
    def former(self) -> str | None:
        """The selection that it comes after."""
        return None if self.after is None else selection_name(self.after)

    @property
    def structure(self) -> str | None:
        """The structure that it looks through, if it looks through one."""
        if self.without_duplicates is None:
            return self.by.by_structure
        return self.duplicates_within or self.by.by_structure


def _named(value: str, kind: str) -> str:
    found, _, name = value.partition(".")
    if found != kind or not name:
        raise ValueError(f"{value!r} is not '{kind}.NAME'")
    return value
