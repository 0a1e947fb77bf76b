"""`[evaluate]` and `[gate]`: who is judged on which rows, by which slices, and what is demanded."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.core.judgement import LEAST_ROWS
from distill.spec.audit import AuditRule
from distill.spec.base import Name, Positive, Table, require_once

COLUMNS = "columns."
LABELS = "labels."
SLICINGS = ("class", "confidence", "length")  # those that need no name of a column or a label set
USUAL_EDGES = {
    "confidence": (0.5, 0.7, 0.9, 0.99),
    "length": (20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0),
}

Edges = Annotated[tuple[float, ...], Field(min_length=1, max_length=1_000)]


class PredictionPowered(Table):
    """`[evaluate.prediction_powered]`: an interval for the truth from few labels of people and many
    of the teacher (Angelopoulos et al. 2023). Both have to be draws from the same source."""

    over: str
    """The pool that the teacher labelled and no student learned from; the test pool itself means
    those of its rows that have no target."""
    strata: Name | None = None
    """A label set over both, such as a structure's clusters: stratum by stratum it is surer."""


class Evaluate(Table):
    """`[evaluate]`: students and labelers judged on the same rows."""

    on: str
    """A pool with a target."""
    teacher: str | None = None
    """The label set that agreement is measured against and whose classes count as seen. Default:
    the job's first."""
    former: str | None = None
    """The label set of a former student over the same pool (`labeler = { kind = "student" }`):
    students are held against it, and rows are counted that it had right and they have wrong."""
    slices: tuple[str, ...] = ()
    """What rows are told apart by: `class`, the teacher's `confidence`, the `length` of a text in
    characters, `columns.NAME` of the pool, `labels.NAME` (such as a structure's clusters)."""
    edges: dict[str, Edges] = {}
    """Where numbers are cut, by slice, rising: `"columns.price" = [10, 100]` makes three slices."""
    prediction_powered: PredictionPowered | None = None

    @model_validator(mode="after")
    def _slices(self) -> Evaluate:
        require_once(self.slices, "slices")
        for name in self.slices:
            prefix, _, rest = name.partition(".")
            if name not in SLICINGS and (f"{prefix}." not in (COLUMNS, LABELS) or not rest):
                shown = map(repr, SLICINGS)
                known = ", ".join(shown)
                raise ValueError(f"slices: {name!r} is none of {known}, 'columns.X', 'labels.X'")
        for name, edges in self.edges.items():
            if name not in self.slices or name == "class":
                message = f"edges: {name!r} is no slice of numbers among {list(self.slices)}"
                raise ValueError(message)
            if any(low >= high for low, high in pairwise(edges)):
                raise ValueError(f"edges of {name!r} must rise: {list(edges)}")
        return self

    def edges_of(self, slicing: str) -> tuple[float, ...]:
        """Return where the numbers of a slicing are cut."""
        return self.edges.get(slicing, USUAL_EDGES.get(slicing, ()))

    @property
    def sliced_columns(self) -> tuple[str, ...]:
        """Columns of the pool that slices go by."""
        return tuple(name.removeprefix(COLUMNS) for name in self.slices if name.startswith(COLUMNS))

    @property
    def sliced_labels(self) -> tuple[str, ...]:
        """Label sets that slices go by."""
        return tuple(name.removeprefix(LABELS) for name in self.slices if name.startswith(LABELS))


class Rule(Table):
    """One demand."""

    measure: str
    """As in `evaluation.json`, such as `accuracy` or `mse`."""
    at_least: float | None = None
    at_most: float | None = None
    beside: Literal["teacher", "former"] | None = None
    """Hold the difference to that one against the limit: at least −0.01 is a point lost at most.
    Default: the measure itself."""
    slices: tuple[str, ...] = ()
    """Every value of these slices has to pass by itself: of `accuracy`, `nll`, `mse` or `mae`.
    Default: all rows together."""

    @model_validator(mode="after")
    def _one_limit(self) -> Rule:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a rule has one limit: at_least or at_most")
        return self

    @property
    def limit(self) -> float:
        """The one that it has."""
        limit = self.at_most if self.at_least is None else self.at_least
        assert limit is not None
        return limit

    @property
    def in_words(self) -> str:
        """The rule as a sentence says it."""
        word = "at most" if self.at_least is None else "at least"
        beside = f" beside the {self.beside}" if self.beside else ""
        return f"{self.measure}{beside} {word} {self.limit:g}"


class Gate(Table):
    """`[gate]`: what a student has to be; a run that does not pass ends with exit code 3."""

    rules: tuple[Rule, ...] = ()
    audit: tuple[AuditRule, ...] = ()
    """Demands on what `[audit]` finds: `{ most_auc = 0.6, at = "students.small" }`."""
    students: tuple[Name, ...] = ()
    """Those that have to pass `rules`. Default: all."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """A rule is passed where the measure keeps to the limit with this confidence, failed where it
    does not with this confidence, else inconclusive: too few rows."""
    least_rows: Positive = LEAST_ROWS
    """Fewer rows are inconclusive, whatever they say."""

    @model_validator(mode="after")
    def _any_rule(self) -> Gate:
        if not self.rules and not self.audit:
            raise ValueError("has neither rules nor audit; say what is demanded")
        return self
