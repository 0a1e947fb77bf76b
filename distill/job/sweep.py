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

from distill.job.known_keys import renamed
from distill.job.problems import problem_lines
from distill.spec.models import NOT_LEARNED
from distill.spec.networks import Network
from distill.spec.students import Student

Scalar = bool | int | float | str


class Sweep(BaseModel):
    """Every key but `student` is a path into the student, such as `"terms.1.weight"`, with its list
    of values."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    student: str | tuple[str, ...]
    """One student, or several that are swept alike."""

    @property
    def students(self) -> tuple[str, ...]:
        """The swept students' names."""
        return (self.student,) if isinstance(self.student, str) else self.student

    @property
    def values(self) -> dict[str, Any]:
        """The lists of values, by path."""
        return self.model_extra or {}

    @property
    def grid(self) -> Iterator[dict[str, Scalar]]:
        """Every combination of values, by path."""
        for combination in itertools.product(*self.values.values()):
            pairs = zip(self.values, combination, strict=True)
            yield dict(pairs)

    @model_validator(mode="after")
    def _check_values(self) -> Sweep:
        for path, values in self.values.items():
            is_list = isinstance(values, list) and len(values) > 0
            if not is_list or not all(isinstance(value, Scalar) for value in values):
                raise ValueError(f"{path} = {values!r} is not a list of values to try")
        if not self.values:
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
        changes = ",".join(f"{path}={value}" for path, value in self.changes.items())
        return f"{self.student}[{changes}]" if changes else self.student


def resolve_sweeps(
    students: Mapping[str, Student],
    sweeps: Mapping[str, Sweep],
    complete: Callable[[Student], Student],
) -> tuple[Variant, ...]:
    """Return all variants of all students as written, in the order of the job, each distinct
    specification once. `complete` fills in what a variant leaves to the job, which may depend on
    what was swept.

    Raises ValueError for a path that does not fit its student."""
    variants: list[Variant] = []
    for name, student in students.items():
        own = {sweep_name: sweep for sweep_name, sweep in sweeps.items() if name in sweep.students}
        if not own:
            spec = complete(student)
            variants.append(Variant(name, spec))
        # a list, since a table that holds dictionaries has no hash
        specs: list[Student] = []
        for sweep_name, sweep in own.items():
            for changes in sweep.grid:
                spec = complete(_changed(student, changes, f"sweep.{sweep_name}"))
                if spec not in specs:
                    specs.append(spec)
                    variant = Variant(name, spec, changes)
                    variants.append(variant)
    return tuple(variants)


def _changed(student: Student, changes: Mapping[str, Scalar], where: str) -> Student:
    """Return the student with the values at their paths; `where` is the sweep's table."""
    tables: dict[str, Any] = student.model_dump(mode="json")
    for path, value in changes.items():
        parts = path.split(".")
        if parts[0] == "training" and NOT_LEARNED.intersection(parts[1:2]):
            raise ValueError(
                f"{where}.{path}: changes how a student is trained, not what it learns,"
                " so all of them would be one student. Take it out."
            )
        _set(tables, parts, value, f"{where}.{path}")
    try:
        # by way of JSON, since the tables are strict and its lists are to become tuples
        text = json.dumps(tables)
        changed = Student.model_validate_json(text)
    except ValidationError as error:
        problems = problem_lines(error, tables, Student)
        first = next(problems)
        raise ValueError(f"{where}: {first}") from error
    if not any(path.endswith(".words") for path in changes):
        _leave_words_unsaid(student, changed)
    return changed


def _leave_words_unsaid(student: Student, changed: Student) -> None:
    """Have a variant say what a word is only where its student does."""
    # what was trained before that was a key is found by its being left out (`plan.identity`)
    pairs: list[tuple[Network | None, Network | None]] = [(student.model, changed.model)]
    pairs += [(head.model, changed.heads[name].model) for name, head in student.heads.items()]
    for before, after in pairs:
        if before and after and before.words_are_unsaid and after.text_hashing:
            fields_set = after.text_hashing.model_fields_set
            fields_set.discard("words")


def _set(tables: Any, parts: list[str], value: Scalar, where: str) -> None:
    """Set the value at a path. Raises ValueError where the student has no such path."""
    *parents, last = parts
    for part in parents:
        tables = tables[_key(tables, part, where)]
    tables[_key(tables, last, where)] = value


def _key(tables: Any, part: str, where: str) -> int | str:
    """Return the key or the index that `part` is. Raises ValueError where there is none."""
    known = []
    key: int | str = part
    if isinstance(tables, list):
        numbers = range(len(tables))
        known = list(numbers)
        key = int(part) if part.isdigit() else part
    elif isinstance(tables, dict):
        known = list(tables)
    if key not in known:
        near = renamed(part, list(map(str, known)))
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{where}: the student has no {part!r} there; there is {known}.{hint}")
    return key
