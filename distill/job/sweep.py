"""`[sweep.NAME]`: the same student under other values, resolved into variants without a new
inference.

A table names one student or several and, by path, lists of values: its grid is their product.
Several tables on one student add up, and what two of them say alike is trained once. A student
without a sweep is its own only variant.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from distill.spec.models import NOT_LEARNED
from distill.spec.students import Student

Scalar = bool | int | float | str


class Sweep(BaseModel):
    """Every key but `student` is a path into the student, such as `"terms.1.weight"`, with its list
    of values."""

    model_config = ConfigDict(
        extra="allow", frozen=True, strict=True, use_attribute_docstrings=True
    )

    student: str | tuple[str, ...]
    """One student, or several that are swept alike."""

    @property
    def students(self) -> tuple[str, ...]:
        """The swept students' names."""
        return (self.student,) if isinstance(self.student, str) else self.student

    @property
    def grid(self) -> Iterator[dict[str, Scalar]]:
        """Every combination of values, by path."""
        extra = self.model_extra or {}
        return (
            dict(zip(extra, values, strict=True)) for values in itertools.product(*extra.values())
        )

    @model_validator(mode="after")
    def _lists(self) -> Sweep:
        for path, values in (self.model_extra or {}).items():
            if (
                not isinstance(values, list)
                or not values
                or not all(isinstance(value, Scalar) for value in values)
            ):
                raise ValueError(f"{path} = {values!r} is not a list of values to try")
        if not self.model_extra:
            raise ValueError(
                'sweeps nothing; add a path with a list, such as "terms.1.weight" = [0.0, 0.3, 1.0]'
            )
        return self


@dataclass(frozen=True)
class Variant:
    """A student as it is trained: `changes` says how it differs from the one the job names."""

    student: str
    spec: Student
    changes: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`combined[terms.1.weight=0.3,seed=1]`, or the student's own name."""
        said = ",".join(f"{path}={value}" for path, value in self.changes.items())
        return f"{self.student}[{said}]" if said else self.student


def resolve_sweeps(
    students: Mapping[str, Student],
    sweeps: Mapping[str, Sweep],
    complete: Callable[[Student], Student],
) -> tuple[Variant, ...]:
    """All variants of all students as written, in the order of the job, each distinct specification
    once. `complete` fills in what a variant leaves to the job, which may hang on what was swept.

    Raises ValueError with `(sweep, path, reason)` for a path that does not fit its student.
    """
    variants: list[Variant] = []
    for name, student in students.items():
        mine = {sweep_name: sweep for sweep_name, sweep in sweeps.items() if name in sweep.students}
        if not mine:
            variants.append(Variant(name, complete(student)))
        seen: list[Student] = []
        for sweep_name, sweep in mine.items():
            for changes in sweep.grid:
                spec = complete(_changed(student, changes, sweep_name))
                if spec not in seen:
                    seen.append(spec)
                    variants.append(Variant(name, spec, changes))
    return tuple(variants)


def _changed(student: Student, changes: Mapping[str, Scalar], sweep: str) -> Student:
    tables: dict[str, Any] = student.model_dump(mode="json")
    for path, value in changes.items():
        parts = path.split(".")
        if parts[0] == "training" and NOT_LEARNED.intersection(parts[1:2]):
            raise ValueError(
                f"sweep.{sweep}.{path}: changes how a student is trained, not what it learns, so"
                " all of them would be one student. Take it out."
            )
        _set(tables, parts, value, f"sweep.{sweep}.{path}")
    try:
        return Student.model_validate_json(json.dumps(tables))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"sweep.{sweep}: {where} = {first['input']!r}: {first['msg']}") from error


def _set(tables: Any, parts: list[str], value: Scalar, where: str) -> None:
    for position, part in enumerate(parts):
        key: Any = int(part) if isinstance(tables, list) and part.isdigit() else part
        known = (
            key < len(tables)
            if isinstance(key, int) and isinstance(tables, list)
            else isinstance(tables, dict) and key in tables
        )
        if not known:
            keys = (
                list(range(len(tables)))
                if isinstance(tables, list)
                else list(tables)
                if isinstance(tables, dict)
                else []
            )
            raise ValueError(f"{where}: the student has no {part!r} there; there is {keys}")
        if position == len(parts) - 1:
            tables[key] = value
        else:
            tables = tables[key]
