"""`Job`: the whole job file as one frozen object."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr

import distill.job.kinds  # noqa: F401  the fields below take what is registered
from distill.core.errors import JobError
from distill.job.selection_pools import selection_pools
from distill.job.sweep import Sweep, Variant, resolve_sweeps
from distill.spec.audit import Audit
from distill.spec.base import Name, Place, Seed, Table
from distill.spec.budget import Budget
from distill.spec.cascade import Apply, Cascade
from distill.spec.evaluation import Evaluate, Gate
from distill.spec.labels import Labels
from distill.spec.models import Fit
from distill.spec.pools import Pool
from distill.spec.prices import Prices
from distill.spec.review import Review
from distill.spec.selections import Select
from distill.spec.stores import StorageSettings
from distill.spec.structures import Structure
from distill.spec.students import Student
from distill.spec.uris import resolve_uri


class Job(Table):
    """One TOML file. Relative paths resolve against it."""

    root: Place
    """Folder, `s3://`, `gs://` or `abfs://` prefix that keeps inventories, labels, fits,
    structures, selections, students and reports."""
    plugins: tuple[str, ...] = ()
    """Python files, relative to the job file, whose classes bring kinds of their own: of losses,
    networks, labelers or formats of pools. They are shipped to the workers as source."""
    seed: Seed = 0
    """Of everything that draws at random and names no seed of its own."""
    fragment_rows: Annotated[int, Field(ge=64, le=1_000_000)] = 50_000
    """Rows of a fragment: the unit of work, commit and resume."""
    storage: StorageSettings = StorageSettings()
    """Settings of stores that are no secret."""
    pools: Annotated[dict[Name, Pool], Field(min_length=1)]
    fit: dict[Name, Fit] = {}
    structure: dict[Name, Structure] = {}
    select: dict[Name, Select] = {}
    labels: dict[Name, Labels] = {}
    students: dict[Name, Student] = {}
    sweep: dict[Name, Sweep] = {}
    evaluate: Evaluate | None = None
    prices: Prices | None = None
    """What machines cost: for `distill plan` and a budget of money. Default: nothing has a price.
    """
    budget: Budget | None = None
    """What all runs of this root may spend together. Default: no limit."""
    gate: Gate | None = None
    apply: dict[Name, Apply] = {}
    cascade: dict[Name, Cascade] = {}
    audit: Audit | None = None
    """How much can be told of the labelled rows. Default: nothing is audited."""
    review: Review | None = None

    _path: Path = PrivateAttr(default=Path("job.toml"))
    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _text: str = PrivateAttr(default="")
    _written: dict[str, Student] = PrivateAttr(default_factory=dict)
    _shared: tuple[str, frozenset[str]] | None = PrivateAttr(default=None)
    """Of a job derived from another: that one's root, and the keys of what it has for itself."""

    @property
    def path(self) -> Path:
        """The job file."""
        return self._path

    @property
    def folder(self) -> Path:
        """The folder of the job file, absolute: the user's code may change the current one."""
        return self._folder

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
        return resolve_uri(self.root, self._folder)

    @property
    def shared_root_uri(self) -> str:
        """What `{root}` stands for: of a derived job the root of the one that it is derived of."""
        return self.root_uri if self._shared is None else self._shared[0]

    def root_of(self, key: str) -> str:
        """Return under which root the thing of a key (`fit.NAME`, `pools.NAME`, …) lies."""
        if self._shared is None or key in self._shared[1]:
            return self.root_uri
        return self._shared[0]

    def derived(self, root: str, own: frozenset[str], update: Mapping[str, Any]) -> Job:
        """Return the same job under a root of its own, with some tables changed. The things of the
        keys `own` lie there; all else is found, and made, where this job has it."""
        changes = {"root": root, **update}
        job = self.model_copy(update=changes)
        job.__dict__.pop("variants", None)  # of this job's students
        job._path = self._path
        job._folder = self._folder
        job._text = self._text
        # with the pools `on` that this job gives them, whatever label sets the other one has
        job._written = {
            name: written.model_copy(update={"on": self.students[name].on})
            for name, written in self._written.items()
            if name in job.students
        }
        job._shared = (self.shared_root_uri, own)
        return job

    @functools.cached_property
    def variants(self) -> tuple[Variant, ...]:
        """Every student that is trained, sweeps resolved."""
        return resolve_sweeps(self._written, self.sweep, self.completed)

    def completed(self, student: Student) -> Student:
        """Return a student with the seed and the pools `on` that it leaves to the job."""
        on = student.on or self._shared_pools(student)
        seed = self.seed if student.seed is None else student.seed
        return student.model_copy(update={"on": on, "seed": seed})

    def with_tables(self, labels: Mapping[str, Labels], select: Mapping[str, Select]) -> Job:
        """Return the job with these label sets and selections too: what a command adds for its own
        work is then stored, resumed and read like all others."""
        # found before a label set is replaced: what a student sees is told by what those are over
        assert self.variants is not None
        more = {**self.select, **select}
        pools = {**self.pools, **selection_pools(more, self.pools)}
        update = {"labels": {**self.labels, **labels}, "select": more, "pools": pools}
        return self.model_copy(update=update)

    def pool_uri(self, name: str) -> str:
        """Return where a pool lies, absolute."""
        path = self.pools[name].path.replace("{root}", self.shared_root_uri)
        return resolve_uri(path, self._folder)

    def handed_in_uri(self, name: str) -> str:
        """Return where the corrections lie that people handed in for a pool, absolute."""
        path = self.pools[name].handed_in.replace("{root}", self.root_uri)
        return resolve_uri(path, self._folder)

    def beside(self, path: str) -> Path:
        """Return a file that the job names, absolute."""
        return self._folder / path

    def chosen_variants(self, names: Sequence[str] | None) -> list[Variant]:
        """Return some variants: all of a student by its name, one by its own; or every one of the
        job. Raises JobError for a name that the job lacks."""
        if names is None:
            return list(self.variants)
        swept = [variant.name for variant in self.variants if variant.changes]
        for name in names:
            if name not in self.students and name not in swept:
                there = ", ".join(self.students) or "none"
                if swept:
                    trial = swept[0]
                    there += f"; of a sweep also one trial by its name, such as {trial!r}"
                raise JobError(f"{self._path}: there is no student {name!r}. There is: {there}.")
        return [each for each in self.variants if each.student in names or each.name in names]

    def _shared_pools(self, student: Student) -> tuple[str, ...]:
        """The pools that all label sets of a student cover, but those that judge or stop it."""
        terms = student.terms
        covered = [
            set(self.labels[term.label_set].over) for term in terms if term.label_set in self.labels
        ]
        seen = student.features
        if covered and seen is not None and seen.label_set in self.labels:
            covered.append(set(self.labels[seen.label_set].over))
        if not covered:
            # of a student without label sets: where its targets stand
            shared = {str(term.pool) for term in terms}
        else:
            shared = set.intersection(*covered)
            if self.audit:
                shared -= {self.audit.others, self.audit.whole}
            evaluate = self.evaluate
            if evaluate:
                shared.discard(evaluate.on)
                powered = evaluate.prediction_powered
                if powered:
                    shared.discard(powered.over)
            if student.early_stop:
                shared.discard(str(student.early_stop.rows))
        return tuple(name for name in self.pools if name in shared)
