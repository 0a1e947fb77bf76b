"""What one term says of its source, its loss and its head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from distill.plan.tables import JobTables
from distill.spec.labels import Ensemble, TopK
from distill.spec.outputs import Outputs
from distill.spec.students import (
    Agreement,
    ClassBalance,
    Confidence,
    CrossEntropy,
    CustomLoss,
    Student,
    Term,
)

Problems = Iterator[str]

_EXCLUSIVE, _INDEPENDENT, _VALUES = "exclusive classes", "independent outputs", "values"
_ANY = (_EXCLUSIVE, _INDEPENDENT, _VALUES)
_OF_LABELS: Mapping[str, tuple[str, ...]] = {
    "kl": (_EXCLUSIVE,),
    "reverse_kl": (_EXCLUSIVE,),
    "jensen_shannon": (_EXCLUSIVE,),
    "decoupled_kl": (_EXCLUSIVE,),
    "cross_entropy": (_EXCLUSIVE,),
    "binary_cross_entropy": (_INDEPENDENT,),
    "mse": _ANY,
    "cosine": (_VALUES,),
    "custom": _ANY,
}
"""What each loss learns from a label set."""
_OF_TARGETS: Mapping[str, tuple[str, ...]] = {
    "cross_entropy": (_EXCLUSIVE,),
    "binary_cross_entropy": (_INDEPENDENT,),
    "mse": (_VALUES,),
    "cosine": (_VALUES,),
    "custom": _ANY,
}
"""What each loss learns from a target."""
_WHOLE = {"mse", "custom"}
"""Losses that see every output as it is."""


def check_term(tables: JobTables, student: Student, term: Term, where: str) -> Problems:
    """All problems of a term, as `key = value: what is wrong. What to do.`"""
    source, head = tables.term_outputs(term), tables.head_outputs(student, term.head)
    if term.pool and tables.pools[term.pool].target is None:
        yield f"{where}.learns = {term.learns!r}: that pool has no target. Name its target column."
        return
    takes = (_OF_TARGETS if term.pool else _OF_LABELS).get(term.loss.kind, ())
    if _kind_of(source) not in takes:
        of = (
            f"{' or '.join(takes)} of a {'target' if term.pool else 'label set'}"
            if takes
            else "label sets alone"
        )
        yield (
            f"{where}.loss.kind = {term.loss.kind!r}: learns {of}, but {term.learns} says"
            f" {source.said}. Use another loss."
        )
        return
    if (source.kind, source.exclusive) != (head.kind, head.exclusive):
        yield (
            f"{where}.head = {term.head!r}: another term teaches it {head.said}, this one"
            f" {source.said}. Give one of them a head of its own."
        )
    lacking = [name for name in source.classes if name not in head.positions]
    if lacking:
        yield (
            f"{where}.learns = {term.learns!r}: its classes {lacking} are not among the head's,"
            f" {head.said}. Add them to students.….heads.{term.head}.classes."
        )
    yield from _loss(tables, term, where)
    yield from _temperature(tables, term, where)
    yield from _row_weight(tables, term, source, where)


def _kind_of(outputs: Outputs) -> str:
    if outputs.kind == "value":
        return _VALUES
    return _EXCLUSIVE if outputs.exclusive else _INDEPENDENT


def _loss(tables: JobTables, term: Term, where: str) -> Problems:
    encoding = tables.labels[term.label_set].encoding if term.label_set else None
    if isinstance(encoding, TopK) and term.loss.kind in _WHOLE:
        yield (
            f"{where}.loss.kind = {term.loss.kind!r}: sees every logit, but {term.learns} keeps its"
            f" top {encoding.k}. Encode dense, or use kl."
        )
    if isinstance(term.loss, CrossEntropy) and term.loss.smoothing and not term.pool:
        yield (
            f"{where}.loss.smoothing = {term.loss.smoothing}: soft labels are soft. Leave it out,"
            " or raise the temperature."
        )
    if isinstance(term.loss, CustomLoss) and not tables.beside(term.loss.file).is_file():
        yield (
            f"{where}.loss.file = {term.loss.file!r}: there is no file"
            f" {str(tables.beside(term.loss.file))!r}. Paths are relative to the job file."
        )


def _temperature(tables: JobTables, term: Term, where: str) -> Problems:
    encoding = tables.labels[term.label_set].encoding if term.label_set else None
    temperature = getattr(term.loss, "temperature", None)
    if (
        isinstance(encoding, TopK)
        and temperature is not None
        and temperature not in encoding.temperatures
    ):
        yield (
            f"{where}.loss.temperature = {temperature}: {term.learns} keeps its top {encoding.k} at"
            f" temperatures {list(encoding.temperatures)} only. Use one of them, or declare"
            f" {temperature} in {term.learns}.encoding.temperatures (a new version), or encode"
            " dense."
        )
    if term.pool and temperature not in (None, 1.0):
        yield (
            f"{where}.loss.temperature = {temperature}: a target has no temperature. Leave it out."
        )


def _row_weight(tables: JobTables, term: Term, source: Outputs, where: str) -> Problems:
    if term.row_weight is None:
        return
    said = f"{where}.row_weight.kind = {term.row_weight.kind!r}"
    if isinstance(term.row_weight, ClassBalance):
        if _kind_of(source) != _EXCLUSIVE:
            yield (
                f"{said}: {term.learns} says {source.said}, where a row has no one class to"
                " balance. Leave it out."
            )
    elif term.label_set is None:
        yield (
            f"{said}: {term.learns} is a target, of which nobody is more or less sure. Leave it"
            " out."
        )
    elif isinstance(term.row_weight, Agreement) and not isinstance(
        tables.labels[term.label_set].labeler, Ensemble
    ):
        yield (
            f"{said}: {term.learns} comes from one labeler, which agrees with itself. Use an"
            " ensemble, or leave it out."
        )
    elif isinstance(term.row_weight, Confidence) and source.kind == "value":
        yield f"{said}: {term.learns} says {source.said}, which has no probability. Leave it out."
