"""The files beside a job: sources of its own labelers, losses and networks, and descriptions."""

from __future__ import annotations

import csv
from functools import cached_property
from pathlib import Path

from distill.core.errors import JobError
from distill.core.source import PythonFile, read_source
from distill.models.custom_source import TRUNK, Code, custom_models
from distill.models.losses.custom import CustomLoss
from distill.models.networks.custom import CustomModel
from distill.plan.names import JobNames
from distill.spec.labels import Custom
from distill.spec.models import Eszsl
from distill.spec.students import Student


class JobSources(JobNames):
    """A job with the files that it names, each read once."""

    @cached_property
    def _sources(self) -> dict[Path, PythonFile]:
        return {}

    def custom_source(self, custom: Custom | CustomLoss | CustomModel, where: str) -> PythonFile:
        """Read the source of a labeler, loss or network of the user's own; `where` is the key that
        names it. Raises JobError."""
        file = self.beside(custom.file)
        # once a plan: several ask for it, and its neighbours are looked for
        if file not in self._sources:
            self._sources[file] = read_source(file, f"{where}.file")
        return self._sources[file]

    def student_code(self, student: Student, where: str) -> Code:
        """Read the sources of a student's own networks; `where` is its key. Raises JobError."""
        own = custom_models(student.model, student.heads)
        return {key: self.custom_source(model, f"{where}.{key}") for key, model in own.items()}

    def fit_code(self, name: str) -> Code:
        """Read the source of `fit.<name>`'s own network, if it is one. Raises JobError."""
        fit = self.fit[name]
        model = fit.model
        if not isinstance(model, CustomModel):
            return {}
        return {TRUNK: self.custom_source(model, f"fit.{name}.{TRUNK}")}

    def descriptions(self, fit: str) -> tuple[tuple[str, ...], list[list[str]]]:
        """Read class names and their attributes, as text cells, of an ESZSL fit's file.

        Raises JobError."""
        table = self.fit[fit]
        model = table.model
        assert isinstance(model, Eszsl)
        where = f"fit.{fit}.model.descriptions"
        text = read_source(self.beside(model.descriptions), where).text
        lines = csv.reader(text.splitlines())
        rows = [row for row in lines if row and not row[0].startswith("#")]
        first = rows[0][0] if rows else ""
        if first != "class":
            raise JobError(
                f"{where}: the header must be `class,ATTRIBUTE…`; it begins with {first!r}. Add it."
            )
        classes = tuple(row[0] for row in rows[1:])
        return classes, [row[1:] for row in rows[1:]]
