"""What one term says of its source, its loss and its head."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from distill.job.labels import Ensemble, TopK
from distill.job.outputs import Outputs, head_outputs, term_outputs
from distill.job.spec import Job
from distill.job.students import Agreement, Confidence, Kl, Student, Term

Problems = Iterator[str]

_SUITS: Mapping[str, Callable[[Outputs], bool]] = {
    "kl": lambda outputs: outputs.kind == "logits" and outputs.exclusive,
    "cross_entropy": lambda outputs: outputs.kind == "logits" and outputs.exclusive,
    "binary_cross_entropy": lambda outputs: outputs.kind == "logits" and not outputs.exclusive,
    "mse": lambda outputs: outputs.kind == "value",
}
_TAKES = {"kl": "soft labels over exclusive classes", "cross_entropy": "exclusive classes", "mse": "values"}


def check_term(job: Job, student: Student, term: Term, where: str) -> Problems:
    """All problems of a term, as `key = value: what is wrong. What to do.`"""
    source, head = term_outputs(job, term), head_outputs(job, student, term.head)
    if term.pool and job.pools[term.pool].target is None:
        yield f"{where}.learns = {term.learns!r}: that pool has no target. Name its target column."
        return
    if not _SUITS[term.loss.kind](source) or (term.loss.kind == "kl" and term.pool):
        takes = _TAKES.get(term.loss.kind, "independent outputs")
        yield f"{where}.loss.kind = {term.loss.kind!r}: learns {takes}, but {term.learns} says {source.said}."
        return
    if (source.kind, source.exclusive) != (head.kind, head.exclusive):
        yield f"{where}.head = {term.head!r}: another term teaches it {head.said}, this one {source.said}. Give one of them a head of its own."
    lacking = [name for name in source.classes if name not in head.positions]
    if lacking:
        yield f"{where}.learns = {term.learns!r}: its classes {lacking} are not among the head's, {head.said}. Add them to students.….heads.{term.head}.classes."
    yield from _temperature(job, term, where)
    yield from _row_weight(job, term, source, where)


def _temperature(job: Job, term: Term, where: str) -> Problems:
    encoding = job.labels[term.label_set].encoding if term.label_set else None
    temperature = getattr(term.loss, "temperature", None)
    if isinstance(encoding, TopK) and temperature is not None and temperature not in encoding.temperatures:
        yield (
            f"{where}.loss.temperature = {temperature}: {term.learns} keeps its top {encoding.k} at temperatures {list(encoding.temperatures)} only. "
            f"Use one of them, or declare {temperature} in {term.learns}.encoding.temperatures (a new version), or encode dense."
        )
    if term.pool and temperature not in (None, 1.0) and not isinstance(term.loss, Kl):
        yield f"{where}.loss.temperature = {temperature}: a target has no temperature. Leave it out."


def _row_weight(job: Job, term: Term, source: Outputs, where: str) -> Problems:
    if term.row_weight is None:
        return
    said = f"{where}.row_weight.kind = {term.row_weight.kind!r}"
    if term.label_set is None:
        yield f"{said}: {term.learns} is a target, of which nobody is more or less sure. Leave it out."
    elif isinstance(term.row_weight, Agreement) and not isinstance(job.labels[term.label_set].labeler, Ensemble):
        yield f"{said}: {term.learns} comes from one labeler, which agrees with itself. Use an ensemble, or leave it out."
    elif isinstance(term.row_weight, Confidence) and source.kind == "value":
        yield f"{said}: {term.learns} says {source.said}, which has no probability. Leave it out."
