"""What a job names: label sets, fits, structures and selections, how they come after each other, and
which pool's rows each has. Nothing is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill.core.errors import JobError
from distill.job.job import Job
from distill.spec.labels import Fitted, MemberTable, Structured, Taught
from distill.spec.selections import selection_name
from distill.spec.structures import Structure
from distill.spec.students import Student
from distill.spec.uris import resolve_uri


class JobNames:
    """The tables of a job by their names."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.path = job.path
        self.fragment_rows = job.fragment_rows
        self.pools = job.pools
        self.fit = job.fit
        self.structure = job.structure
        self.select = job.select
        self.labels = job.labels
        self.students = job.students
        self.sweep = job.sweep
        self.evaluate = job.evaluate
        self.gate = job.gate
        self.apply = job.apply
        self.cascade = job.cascade
        self.audit = job.audit
        self.root_uri = job.root_uri
        self.endpoints = job.storage.endpoints
        self.pool_uri = job.pool_uri
        self.beside = job.beside

    def model_uri(self, model: str) -> str:
        """Return where somebody's model lies, absolute."""
        return resolve_uri(model.replace("{root}", self.job.shared_root_uri), self.job.folder)

    def chosen_labels(self, name: str | None) -> tuple[str, ...]:
        """Return one label set by name, or all. Raises JobError for a name that the job lacks."""
        return self._chosen(self.labels, "label set", name)

    def chosen_structures(self, name: str | None) -> tuple[str, ...]:
        """Return one structure by name, or all. Raises JobError for a name that the job lacks."""
        return self._chosen(self.structure, "structure", name)

    def chosen_selections(self, name: str | None) -> tuple[str, ...]:
        """Return one selection by name, or all. Raises JobError for a name that the job lacks."""
        return self._chosen(self.select, "selection", name)

    def chosen_fits(self, names: Sequence[str] | None) -> list[str]:
        """Return some fits by name, or all. Raises JobError for a name that the job lacks."""
        if names is None:
            return list(self.fit)
        return [self._chosen(self.fit, "fit", name)[0] for name in names]

    def former_selections(self, name: str) -> list[str]:
        """Return the selections that `select.<name>` comes after, the nearest first. Raises JobError
        for a circle."""
        found: list[str] = []
        select = self.select
        former = select[name].former
        while former is not None:
            if former in (name, *found):
                circle = " after select.".join([name, *found, former])
                raise JobError(f"select.{circle}: a circle. Let one come after none.")
            found.append(former)
            former = select[former].former
        return found

    def base_pool(self, pool: str) -> str:
        """Return the pool whose rows a pool has: of a selection the one that it was chosen of, of
        corrections the one that they are of."""
        name = selection_name(pool)
        if name is not None:
            return self.select[name].pool
        spec = self.pools[pool]
        corrects = spec.corrects
        return pool if corrects is None else corrects.removeprefix("pools.")

    def may_share_rows(self, one: str, other: str) -> bool:
        """Whether two pools may have rows in common: a selection with its pool, and with another
        selection of that, unless one of them comes after the other."""
        if self.base_pool(one) != self.base_pool(other):
            return False
        first = selection_name(one)
        second = selection_name(other)
        if one == other or first is None or second is None:
            return True
        former = self.former_selections(first)
        is_later = second in former
        return not is_later and first not in self.former_selections(second)

    def label_keys(self, name: str) -> tuple[str, ...]:
        """Return the columns that are copied beside `labels.<name>`; of selections also where a row
        lies in the pool that it was chosen of."""
        keys = [self.pools[pool].keys for pool in self.labels[name].over]
        return max(keys, key=len)  # those of selections have two more

    def structure_source(self, name: str) -> Structure:
        """Return the structure at the bottom of the chain that `structure.<name>` stands on: the
        one that sees a pool or a label set."""
        table = self.structure[name]
        while table.structure is not None:
            table = self.structure[table.structure]
        return table

    def values_of(self, name: str) -> str | None:
        """Return the label set whose values the labelers of `labels.<name>` see; None where they
        see the pool's own features."""
        _, first = next(self.labels[name].members(name))
        return self.seen_by(first)

    def seen_by(self, labeler: MemberTable) -> str | None:
        """Return the label set whose values one labeler sees, as above."""
        if isinstance(labeler, Structured):
            structure = labeler.structure
            return self.structure_source(structure).label_set
        if isinstance(labeler, Fitted):
            features = self.fit[labeler.fit].features
            return features.label_set if features else None
        if isinstance(labeler, Taught):
            features = self.variant(labeler.student).features
            return features.label_set if features else None
        return None

    def variant(self, name: str) -> Student:
        """Return the student of that name, which may be a variant's of a sweep."""
        (found,) = [each.spec for each in self.job.variants if each.name == name]
        return found

    def _chosen(self, tables: Mapping[str, object], what: str, name: str | None) -> tuple[str, ...]:
        if name is None:
            return tuple(tables)
        if name not in tables:
            named = ", ".join(tables)
            there = named or "none"
            raise JobError(f"{self.path}: there is no {what} {name!r}. There is: {there}.")
        return (name,)
