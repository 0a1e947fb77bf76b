"""`[apply.NAME]` and `[cascade.NAME]`: a student over a whole pool, by itself, or where it is sure
alone.

`distill apply JOB NAME POOL` takes NAME for a cascade where the job has one, and else for a
student. Nothing of these tables enters a digest of labels, fits or students: they come after all.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import BatchRows, Name, Place, Table
from distill.spec.labels import OWN, Compute, Precision
from distill.spec.privacy import Encryption

REVIEW = "review"
NOBODY = "nobody"


class Apply(Table):
    """`[apply.NAME]`: how the student NAME is applied; a job needs none for the defaults."""

    model: Place | None = None
    """An exported student, or one of another job: its folder. Default: the job's own student."""
    file: str | None = None
    """Of such a model with modules of the user's own: the Python file that has their classes."""
    head: str | None = None
    """Which of its heads answers. Default: its first."""
    calibrate_on: str | None = None
    """A pool with a target: logits are divided by the temperature that makes its rows likeliest, so
    that probabilities mean what they say."""
    probabilities: bool = True
    """Write the probability of every class, and not of the answer alone."""
    batch_rows: BatchRows = 1024
    """Rows a call of the network."""
    precision: Precision = "float32"
    """In which numbers it computes."""
    max_rejected_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """More rejected rows than this stop it."""
    compute: Compute = Compute()
    encryption: Encryption | None = None
    """Encrypt the student's labels and the files that are written. Default: they are plain."""

    @model_validator(mode="after")
    def _file_of_a_model(self) -> Apply:
        if self.file is not None and self.model is None:
            raise ValueError("has a file but no model; the job knows its own students' files")
        return self


class Cascade(Table):
    """`[cascade.NAME]`: a student answers where it is sure enough, and others answer the rest."""

    student: Name | None = None
    """A student of the job, or an `[apply.NAME]` with a model. Default: the cascade's own name."""
    on: str
    """A pool with a target, which taught nobody: labelled rows that are drawn as those of the pool
    will be. What is promised is promised of such rows."""
    to: str
    """Who answers where the student is not sure: `labels.NAME`, whose labeler is asked about those
    rows alone; `review`: they are written to a file for people; `nobody`: they stay open."""
    at_least: Annotated[float, Field(gt=0, lt=1)]
    """Of the rows that the student answers, the share that is right; of sets, those that hold the
    truth."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    """How often, over draws of the labelled rows, that is so."""
    by: Literal["confidence", "sets"] = "confidence"
    """How it is told where the student is sure. `confidence`: its likeliest class is likely enough.
    `sets`: conformal prediction sets, written beside each row; it is sure where a set has one
    class. What is proven is then of the sets of all rows, and not of the rows that it answers."""

    @model_validator(mode="after")
    def _known_to(self) -> Cascade:
        if self.label_set is None and self.to not in (REVIEW, NOBODY):
            raise ValueError(f"to = {self.to!r} is none of 'labels.NAME', 'review', 'nobody'")
        return self

    @property
    def label_set(self) -> str | None:
        """The label set whose labeler answers the rest."""
        return self.to.removeprefix(OWN) if self.to.startswith(OWN) else None
