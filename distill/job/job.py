"""`Job`: the whole job file as one frozen object."""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr

import distill.labelers.kinds  # noqa: F401  registers what `labeler` may be
from distill.core.errors import JobError
from distill.core.source import PythonFile, read_source
from distill.job.sweep import Sweep, Variant, resolve_sweeps
from distill.spec.base import Name, Seed, Table
from distill.spec.labels import Custom, Labels
from distill.spec.models import CustomModel, Eszsl, Fit
from distill.spec.pools import Pool
from distill.spec.students import CustomLoss, Evaluate, Student
from distill.spec.uris import resolve_uri


class Job(Table):
    """One TOML file. Relative paths resolve against it."""

    root: str
    """Folder or `s3://` prefix that keeps inventories, labels, fits, students and reports."""
    seed: Seed = 0
    """Of everything that draws at random and names no seed of its own."""
    fragment_rows: Annotated[int, Field(ge=64, le=1_000_000)] = 50_000
    """Rows of a fragment: the unit of work, commit and resume."""
    pools: Annotated[dict[Name, Pool], Field(min_length=1)]
    fit: dict[Name, Fit] = {}
    labels: dict[Name, Labels] = {}
    students: dict[Name, Student] = {}
    sweep: dict[Name, Sweep] = {}
    evaluate: Evaluate | None = None

    _path: Path = PrivateAttr(default=Path("job.toml"))
    _text: str = PrivateAttr(default="")
    _written: dict[str, Student] = PrivateAttr(default_factory=dict)
    _memo: dict[tuple[str, ...], Any] = PrivateAttr(default_factory=dict)

    @property
    def memo(self) -> dict[tuple[str, ...], Any]:
        """What was read from storage for this job, so that its stages list a pool once and all see
        the same files."""
        return self._memo

    @property
    def path(self) -> Path:
        """The job file."""
        return self._path

    @property
    def name(self) -> str:
        """The job file's name without its ending."""
        return self._path.stem

    @property
    def text(self) -> str:
        """The job file as it was read, for the report."""
        return self._text

    @property
    def root_uri(self) -> str:
        """The root, absolute."""
        return resolve_uri(self.root, self._path.parent)

    @functools.cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Every student that is trained, sweeps resolved."""
        return resolve_sweeps(self._written, self.sweep, self.completed)

    def completed(self, student: Student) -> Student:
        """A student with the seed and the pools `on` that it leaves to the job."""
        sets = [
            set(self.labels[term.label_set].over)
            for term in student.terms
            if term.label_set in self.labels
        ]
        judged = {self.evaluate.on} if self.evaluate else set()
        judged |= {str(student.early_stop.rows)} if student.early_stop else set()
        shared = (
            set.intersection(*sets) - judged if sets else {str(term.pool) for term in student.terms}
        )
        on = student.on or tuple(name for name in self.pools if name in shared)
        return student.model_copy(
            update={"on": on, "seed": self.seed if student.seed is None else student.seed}
        )

    def pool_uri(self, name: str) -> str:
        """Where a pool lies, absolute."""
        return resolve_uri(
            self.pools[name].path.replace("{root}", self.root_uri), self._path.parent
        )

    def model_uri(self, model: str) -> str:
        """Where somebody's model lies, absolute."""
        return resolve_uri(model.replace("{root}", self.root_uri), self._path.parent)

    def beside(self, path: str) -> Path:
        """A file that the job names, absolute."""
        return self._path.parent / path

    def chosen_labels(self, name: str | None) -> tuple[str, ...]:
        """One label set by name, or all of them. Raises JobError for a name that the job lacks."""
        if name is not None and name not in self.labels:
            raise JobError(
                f"{self._path}: there is no label set {name!r}. There is:"
                f" {', '.join(self.labels) or 'none'}."
            )
        return (name,) if name is not None else tuple(self.labels)

    def chosen_variants(self, names: Sequence[str] | None) -> list[Variant]:
        """Some variants: all of a student by its name, one by its own; or every one of the job.
        Raises JobError for a name that the job lacks."""
        swept = [variant.name for variant in self.variants if variant.changes]
        unknown = [name for name in names or () if name not in self.students and name not in swept]
        if unknown:
            hint = f"; of a sweep also one trial by its name, such as {swept[0]!r}" if swept else ""
            raise JobError(
                f"{self._path}: there is no student {unknown[0]!r}. There is:"
                f" {', '.join(self.students) or 'none'}{hint}."
            )
        return [
            each
            for each in self.variants
            if names is None or each.student in names or each.name in names
        ]

    def custom_source(self, custom: Custom | CustomLoss | CustomModel, where: str) -> PythonFile:
        """The source of a labeler, loss or network of the user's own; `where` is the key that names
        it."""
        return read_source(self.beside(custom.file), f"{where}.file")

    def descriptions(self, fit: str) -> tuple[tuple[str, ...], list[list[str]]]:
        """Class names and their attributes, as text cells, of an ESZSL fit's description file."""
        model = self.fit[fit].model
        assert isinstance(model, Eszsl)
        text = read_source(self.beside(model.descriptions), f"fit.{fit}.model.descriptions").text
        rows = [row for row in csv.reader(text.splitlines()) if row and not row[0].startswith("#")]
        if not rows or rows[0][0] != "class":
            first = rows[0][0] if rows else ""
            raise JobError(
                f"fit.{fit}.model.descriptions: the header must be `class,ATTRIBUTE…`; it begins"
                f" with {first!r}. Add it."
            )
        return tuple(row[0] for row in rows[1:]), [row[1:] for row in rows[1:]]
