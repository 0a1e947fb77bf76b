"""A job's tables with what they imply: where things lie, whose source a key names, and what each
pool, fit, labeler, term and head answers, as far as the job file alone tells.

That is enough to refuse a wrong job before any work (`distill.plan.checks`), and what every
resolver of the plan begins with. Nothing is read but files beside the job and, of a labeler that
brings its own classes, the contract that it has begun.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from distill.core.errors import JobError
from distill.core.source import PythonFile, read_source
from distill.job.job import Job
from distill.labelers.kind import LabelerKind, ModelLabelerKind
from distill.models.custom_source import TRUNK, Code, custom_models
from distill.models.losses.custom import CustomLoss
from distill.models.networks.custom import CustomModel
from distill.plan.held_out import usual_loss
from distill.spec.labels import (
    Answers,
    Custom,
    Ensemble,
    Fitted,
    LabelerTable,
    MemberTable,
    Merge,
    Pooled,
    Precision,
    Structured,
    Taught,
)
from distill.spec.models import Eszsl
from distill.spec.outputs import Outputs
from distill.spec.selections import selection_name
from distill.spec.structures import Structure, StructureOutput
from distill.spec.students import HeldOut, Student, Term
from distill.spec.uris import resolve_uri

if TYPE_CHECKING:
    from distill.labels.contract import Contract


class JobTables:
    """What a job says, resolved."""

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

        self._sources: dict[Path, PythonFile] = {}
        self._classes_of_models: dict[str, tuple[str, ...]] = {}
        self._merges: dict[str, tuple[Outputs, int]] = {}
        self.root_uri = job.root_uri
        self.endpoints = job.storage.endpoints
        self.pool_uri = job.pool_uri
        self.beside = job.beside

    def model_uri(self, model: str) -> str:
        """Return where somebody's model lies, absolute."""
        return resolve_uri(model.replace("{root}", self.job.shared_root_uri), self.job.folder)

    def chosen_labels(self, name: str | None) -> tuple[str, ...]:
        """Return one label set by name, or all. Raises JobError for a name that the job lacks."""
        if name is None:
            return tuple(self.labels)
        if name not in self.labels:
            there = ", ".join(self.labels) or "none"
            raise JobError(f"{self.path}: there is no label set {name!r}. There is: {there}.")
        return (name,)

    def chosen_fits(self, names: Sequence[str] | None) -> list[str]:
        """Return some fits by name, or all. Raises JobError for a name that the job lacks."""
        chosen = list(self.fit) if names is None else list(names)
        unknown = [name for name in chosen if name not in self.fit]
        if unknown:
            there = ", ".join(self.fit) or "none"
            raise JobError(f"{self.path}: there is no fit {unknown[0]!r}. There is: {there}.")
        return chosen

    def chosen_structures(self, name: str | None) -> tuple[str, ...]:
        """Return one structure by name, or all. Raises JobError for a name that the job lacks."""
        if name is None:
            return tuple(self.structure)
        if name not in self.structure:
            there = ", ".join(self.structure) or "none"
            raise JobError(f"{self.path}: there is no structure {name!r}. There is: {there}.")
        return (name,)

    def chosen_selections(self, name: str | None) -> tuple[str, ...]:
        """Return one selection by name, or all. Raises JobError for a name that the job lacks."""
        if name is None:
            return tuple(self.select)
        if name not in self.select:
            there = ", ".join(self.select) or "none"
            raise JobError(f"{self.path}: there is no selection {name!r}. There is: {there}.")
        return (name,)

    def former_selections(self, name: str) -> list[str]:
        """Return the selections that `select.<name>` comes after, the nearest first. Raises JobError
        for a circle."""
        found: list[str] = []
        former = self.select[name].former
        while former is not None:
            if former in (name, *found):
                circle = " after select.".join([name, *found, former])
                raise JobError(f"select.{circle}: a circle. Let one come after none.")
            found.append(former)
            former = self.select[former].former
        return found

    def base_pool(self, pool: str) -> str:
        """Return the pool whose rows a pool has: of a selection the one that it was chosen of, of
        corrections the one that they are of."""
        name = selection_name(pool)
        if name is not None:
            return self.select[name].pool
        corrects = self.pools[pool].corrects
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
        is_later = second in self.former_selections(first)
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
            return self.structure_source(labeler.structure).label_set
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
        model = self.fit[name].model
        if not isinstance(model, CustomModel):
            return {}
        return {TRUNK: self.custom_source(model, f"fit.{name}.{TRUNK}")}

    def descriptions(self, fit: str) -> tuple[tuple[str, ...], list[list[str]]]:
        """Read class names and their attributes, as text cells, of an ESZSL fit's file.

        Raises JobError.
        """
        model = self.fit[fit].model
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

    def pool_outputs(self, pool: str) -> Outputs:
        """Return what a pool's target says."""
        spec = self.pools[pool]
        if not spec.class_names:
            return Outputs("value")
        return Outputs("logits", spec.class_names, spec.outputs == "exclusive")

    def fit_outputs(self, fit: str) -> Outputs:
        """Return what a fitted labeler answers."""
        if isinstance(self.fit[fit].model, Eszsl):
            classes, _ = self.descriptions(fit)
            return Outputs("logits", classes)
        return self.pool_outputs(self.fit[fit].on)

    def label_outputs(self, name: str) -> Outputs:
        """Return what a label set says. Raises JobError for a custom labeler that does not say it,
        or an ensemble that says several things."""
        return self.labeler_outputs(self.labels[name].labeler, f"labels.{name}.labeler")

    def labeler_outputs(self, labeler: LabelerTable, where: str) -> Outputs:
        """Return what a labeler answers; `where` is its key. Raises JobError as above."""
        if isinstance(labeler, Ensemble):
            return self._ensemble_outputs(labeler, where)
        if isinstance(labeler, Fitted):
            return self.fit_outputs(labeler.fit)
        if isinstance(labeler, Structured):
            classes = self._structure_output(labeler).classes
            return Outputs("logits" if classes else "value", classes)
        if isinstance(labeler, (Merge, Pooled, Taught)):
            return self._made_outputs(labeler, where)
        if isinstance(labeler, Custom):
            return _declared_outputs(self.custom_source(labeler, where), labeler, where)
        assert isinstance(labeler, LabelerKind)
        return self._ready_outputs(labeler, where)

    def labeler_width(self, labeler: MemberTable, where: str) -> int:
        """Return the numbers a row of a labeler's answers: one a class, or the width that it
        declares; `where` is its key. Raises JobError."""
        if isinstance(labeler, Merge):
            return self._merged(labeler, where)[1]
        classes = self.labeler_outputs(labeler, where).classes
        if classes:
            return len(classes)
        if isinstance(labeler, Structured):
            return self._structure_output(labeler).width
        declared: object = labeler
        if isinstance(labeler, Custom):
            declared = self.custom_source(labeler, where).load(labeler.name, where)
        return int(getattr(declared, "width", 1))

    def labeler_answers(self, labeler: MemberTable, where: str) -> Answers:
        """Return as what a labeler gives its outputs; `where` is its key. Raises JobError."""
        if labeler.answers is not None or not isinstance(labeler, Custom):
            return labeler.answers or "logits"
        declared = self.custom_source(labeler, where).load(labeler.name, where)
        answers: Answers = getattr(declared, "answers", "logits")
        return answers

    def term_outputs(self, term: Term) -> Outputs:
        """Return what a term learns from says."""
        if term.label_set:
            return self.label_outputs(term.label_set)
        return self.pool_outputs(str(term.pool))

    def head_outputs(self, student: Student, head: str) -> Outputs:
        """Return what a head answers: its declared classes, or the union of its terms' classes in
        their order."""
        sources = [self.term_outputs(term) for term in student.terms_of(head)]
        classes = student.heads[head].classes if head in student.heads else None
        if not classes:
            every = (name for source in sources for name in source.classes)
            classes = tuple(dict.fromkeys(every))
        return Outputs(sources[0].kind, classes, sources[0].exclusive)

    def held_out_term(self, stop: HeldOut) -> Term:
        """Return the term whose mean over the held-out rows is the measure of an early stop."""
        if stop.label_set:
            source = self.label_outputs(stop.label_set)
        else:
            source = self.pool_outputs(str(stop.pool))
        return Term(learns=stop.learns, loss=stop.loss or usual_loss(source), head=stop.head)

    def _structure_output(self, labeler: Structured) -> StructureOutput:
        return self.structure[labeler.structure].model.output(labeler.gives)

    def _ready_outputs(self, labeler: LabelerKind, where: str) -> Outputs:
        classes = labeler.class_names or self._own_classes(labeler, where)
        if not classes:
            return Outputs("value")
        return Outputs("logits", classes, labeler.exclusive)

    def _made_outputs(self, labeler: Merge | Pooled | Taught, where: str) -> Outputs:
        if isinstance(labeler, Taught):
            return self.head_outputs(self.variant(labeler.student), labeler.head)
        if isinstance(labeler, Pooled):
            return self.label_outputs(labeler.votes_of)
        return self._merged(labeler, where)[0]

    def _merged(self, labeler: Merge, where: str) -> tuple[Outputs, int]:
        """What the parties of a merge say, and the numbers of a row; looked up once."""
        # imported here: most jobs have none, and need no look into another root
        from distill.plan.merges import merge_outputs

        if where not in self._merges:
            self._merges[where] = merge_outputs(self, labeler, where)
        return self._merges[where]

    def _own_classes(self, labeler: LabelerKind, where: str) -> tuple[str, ...]:
        """The classes that a labeler's model says to have; looked up once."""
        if not isinstance(labeler, ModelLabelerKind):
            return ()
        if where not in self._classes_of_models:
            classes = labeler.own_classes(self.model_uri(labeler.model), f"{where}.model")
            begun = self._begun_by(labeler, where)
            # a pinned model that is not there says none, and of one that says some, values were
            # stored before distill asked it
            if begun is not None and (begun.kind == "value" or not classes):
                classes = begun.classes
            self._classes_of_models[where] = classes
        return self._classes_of_models[where]

    def _begun_by(self, labeler: ModelLabelerKind, where: str) -> Contract | None:
        """What is stored of the label set that a labeler has alone, where it is by this one."""
        # imported here: most jobs are refused, or go on, without a look into the root
        from distill.labels.contract import read_contract
        from distill.labels.identity import label_set_folder
        from distill.storage.open import open_storage

        for name, spec in self.labels.items():
            if where != f"labels.{name}.labeler":
                continue
            root = open_storage(self.job.root_of(f"labels.{name}"))
            folder = label_set_folder(root, name, spec.version, spec.over[0])
            stored = read_contract(folder)
            if stored is None:
                return None
            files = labeler.identify(self.model_uri(labeler.model), f"{where}.model")
            is_same = stored.contract.revision == labeler.contract_revision(files)
            return stored.contract if is_same else None
        return None

    def _ensemble_outputs(self, ensemble: Ensemble, where: str) -> Outputs:
        """What its first member says, and all others too, each in its own order of classes."""
        keys = [f"{where}.members.{number}" for number in range(len(ensemble.members))]
        first, *others = map(self.labeler_outputs, ensemble.members, keys)
        for key, other in zip(keys[1:], others, strict=True):
            if _without_order(other) != _without_order(first):
                raise JobError(
                    f"{key}: says {other.in_words}, but the first member says {first.in_words}."
                    " Members speak about the same classes: leave it out, or write it as a label"
                    " set of its own."
                )
        return first


def _without_order(outputs: Outputs) -> tuple[str, bool, list[str]]:
    return outputs.kind, outputs.exclusive, sorted(outputs.classes)


def _declared_outputs(source: PythonFile, labeler: Custom, where: str) -> Outputs:
    """What a class of the user's own says of itself. Raises JobError."""
    declared = source.load(labeler.name, where)
    if not isinstance(declared, type):
        raise JobError(
            f"{where}: {labeler.name} in {labeler.file} is no class."
            " Write a class that has `label(self, features)`."
        )
    kind = getattr(declared, "kind", "logits")
    classes = getattr(declared, "classes", ())
    revision = getattr(declared, "revision", "")
    precision = getattr(declared, "precision", "float32")
    ordered = isinstance(classes, tuple | list) and all(isinstance(each, str) for each in classes)
    distinct = ordered and len(set(classes)) == len(classes)
    has_classes = not ordered or bool(classes)  # an array's truth is none
    fits_kind = kind in ("logits", "value") and (kind == "logits") == has_classes
    # a method's text has its address, so that each run would be of another revision
    is_text = isinstance(revision, str | int | float) and bool(revision)
    if not distinct or not fits_kind or not is_text:
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} must have a `revision` (text) and"
            " `classes` (distinct names in a tuple), "
            f'or `kind = "value"` and no classes; it has revision={revision!r}, kind={kind!r},'
            f" classes={classes!r}"
        )
    answers = getattr(declared, "answers", "logits")
    if answers not in get_args(Answers) or (answers == "probabilities" and not classes):
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} has answers={answers!r}: say"
            ' "probabilities" of classes, or leave it out.'
        )
    known = get_args(Precision)
    if precision not in known:
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} has precision={precision!r}: say in"
            f" what it computes, {', '.join(known)}."
        )
    exclusive = bool(getattr(declared, "exclusive", True))
    return Outputs("logits" if classes else "value", tuple(classes), exclusive)
