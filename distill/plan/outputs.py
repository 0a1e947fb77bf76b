"""What each labeler, target and head says, as far as the job file alone tells: enough to refuse a
wrong job before any work."""

from __future__ import annotations

from typing import get_args

from distill.core.errors import JobError
from distill.job.job import Job
from distill.spec.labels import Custom, Ensemble, Fitted, Precision
from distill.spec.models import Eszsl
from distill.spec.outputs import Outputs
from distill.spec.ready import Ready
from distill.spec.students import Student, Term


def pool_outputs(job: Job, pool: str) -> Outputs:
    """What a pool's target says."""
    spec = job.pools[pool]
    if not spec.class_names:
        return Outputs("value")
    return Outputs("logits", spec.class_names, spec.outputs == "exclusive")


def fit_outputs(job: Job, fit: str) -> Outputs:
    """What a fitted labeler says."""
    if isinstance(job.fit[fit].model, Eszsl):
        return Outputs("logits", job.descriptions(fit)[0])
    return pool_outputs(job, job.fit[fit].on)


def label_outputs(job: Job, name: str) -> Outputs:
    """What a label set says. Raises JobError for a custom labeler that does not say it, or an
    ensemble that says several things."""
    return labeler_outputs(job, job.labels[name].labeler, f"labels.{name}.labeler")


def labeler_outputs(job: Job, labeler: Fitted | Custom | Ready | Ensemble, where: str) -> Outputs:
    """What a labeler says; `where` is its key. Raises JobError as `label_outputs`."""
    if isinstance(labeler, Ensemble):
        return _ensemble_outputs(job, labeler, where)
    if isinstance(labeler, Fitted):
        return fit_outputs(job, labeler.fit)
    if isinstance(labeler, Custom):
        return _custom_outputs(job, labeler, where)
    classes = labeler.class_names
    return Outputs("logits", classes, labeler.exclusive) if classes else Outputs("value")


def labeler_width(job: Job, labeler: Custom | Ready, where: str) -> int:
    """Numbers a row of a labeler's answers: one a class, or the width that it declares; `where` is
    its key."""
    declared = (
        job.custom_source(labeler, where).load(labeler.name, where)
        if isinstance(labeler, Custom)
        else labeler
    )
    return len(labeler_outputs(job, labeler, where).classes) or int(getattr(declared, "width", 1))


def _ensemble_outputs(job: Job, ensemble: Ensemble, where: str) -> Outputs:
    """What its first member says, and all others too, each in its own order of classes."""
    first, *others = (
        labeler_outputs(job, member, f"{where}.members.{number}")
        for number, member in enumerate(ensemble.members)
    )
    for number, other in enumerate(others, 1):
        if _meaning(other) != _meaning(first):
            raise JobError(
                f"{where}.members.{number}: says {other.said}, but the first member says"
                f" {first.said}. Members speak about the same classes: leave it out, or write it as"
                " a label set of its own."
            )
    return first


def _meaning(outputs: Outputs) -> tuple[str, bool, list[str]]:
    return outputs.kind, outputs.exclusive, sorted(outputs.classes)


def _custom_outputs(job: Job, labeler: Custom, where: str) -> Outputs:
    made = job.custom_source(labeler, where).load(labeler.name, where)
    kind, classes, revision = (
        getattr(made, "kind", "logits"),
        getattr(made, "classes", ()),
        getattr(made, "revision", ""),
    )
    ordered = isinstance(classes, tuple | list) and all(isinstance(each, str) for each in classes)
    distinct = ordered and len(set(classes)) == len(classes)
    if (
        kind not in ("logits", "value")
        or not distinct
        or (kind == "logits") != bool(classes)
        or not revision
    ):
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} must have a `revision` (text) and"
            " `classes` (distinct names in a tuple), "
            f'or `kind = "value"` and no classes; it has revision={revision!r}, kind={kind!r},'
            f" classes={classes!r}"
        )
    precision, known = getattr(made, "precision", "float32"), get_args(Precision)
    if precision not in known:
        raise JobError(
            f"{where}: class {labeler.name} in {labeler.file} has precision={precision!r}: say in"
            f" what it computes, {', '.join(known)}."
        )
    classes = tuple(classes)
    return Outputs(
        "logits" if classes else "value", classes, bool(getattr(made, "exclusive", True))
    )


def term_outputs(job: Job, term: Term) -> Outputs:
    """What a term learns from says."""
    return (
        label_outputs(job, term.label_set) if term.label_set else pool_outputs(job, str(term.pool))
    )


def head_outputs(job: Job, student: Student, head: str) -> Outputs:
    """What a head answers: its declared classes, or the union of its terms' classes in their order."""
    sources = [term_outputs(job, term) for term in student.terms_of(head)]
    declared = student.heads[head].classes if head in student.heads else None
    classes = declared or tuple(
        dict.fromkeys(name for source in sources for name in source.classes)
    )
    return Outputs(sources[0].kind, classes, sources[0].exclusive)
