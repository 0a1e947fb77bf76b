"""A job's tables with what they imply: where things lie, whose source a key names, and what each
pool, fit, labeler, term and head answers, as far as the job file alone tells.

That is enough to refuse a wrong job before any work (`distill.plan.checks`), and what every
resolver of the plan begins with. Nothing is read but files beside the job and, of a labeler that
brings its own classes, the contract that it has begun.

    names     which tables there are, and how they come after each other
    sources   files beside the job
    tables    what each of them answers
"""

from __future__ import annotations

from functools import cached_property

from distill.core.errors import JobError
from distill.labelers.kind import LabelerKind, ModelLabelerKind
from distill.plan.held_out import usual_loss
from distill.plan.own_classes import declared_outputs, model_classes
from distill.plan.sources import JobSources
from distill.spec.labels import (
    Answers,
    Custom,
    Ensemble,
    Fitted,
    LabelerTable,
    MemberTable,
    Merge,
    Pooled,
    Structured,
    Taught,
)
from distill.spec.models import Eszsl
from distill.spec.outputs import Outputs
from distill.spec.structures import StructureOutput
from distill.spec.students import HeldOut, Student, Term


class JobTables(JobSources):
    """What a job says, resolved."""

    @cached_property
    def _classes_of_models(self) -> dict[str, tuple[str, ...]]:
        """By the labeler's key, as they were looked up."""
        return {}

    @cached_property
    def _merges(self) -> dict[str, tuple[Outputs, int]]:
        """What parties say together, and the numbers of a row, as they were looked up."""
        return {}

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
        fit_table = self.fit[fit]
        return self.pool_outputs(fit_table.on)

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
            output = self._structure_output(labeler)
            classes = output.classes
            return Outputs("logits" if classes else "value", classes)
        if isinstance(labeler, (Merge, Pooled, Taught)):
            return self._made_outputs(labeler, where)
        if isinstance(labeler, Custom):
            return declared_outputs(self.custom_source(labeler, where), labeler, where)
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
        pool = str(term.pool)
        return self.pool_outputs(pool)

    def head_outputs(self, student: Student, head: str) -> Outputs:
        """Return what a head answers: its declared classes, or its terms' in order."""
        sources = [self.term_outputs(term) for term in student.terms_of(head)]
        classes = student.heads[head].classes if head in student.heads else None
        if not classes:
            every = (name for source in sources for name in source.classes)
            distinct = dict.fromkeys(every)
            classes = tuple(distinct)
        return Outputs(sources[0].kind, classes, sources[0].exclusive)

    def held_out_term(self, stop: HeldOut) -> Term:
        """Return the term whose mean over the held-out rows is the measure of an early stop."""
        label_set = stop.label_set
        if label_set:
            source = self.label_outputs(label_set)
        else:
            pool = str(stop.pool)
            source = self.pool_outputs(pool)
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
            self._classes_of_models[where] = model_classes(self, labeler, where)
        return self._classes_of_models[where]

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
