"""What one term says of its source, its loss and its head."""

from __future__ import annotations

from collections.abc import Iterator

from distill.plan.tables import JobTables
from distill.spec.labels import Ensemble, TopK
from distill.spec.losses import EXCLUSIVE, INDEPENDENT, VALUES, Meaning
from distill.spec.outputs import Outputs
from distill.spec.students import Agreement, ClassBalance, Confidence, Student, Term

Problems = Iterator[str]


def check_term(tables: JobTables, student: Student, term: Term, where: str) -> Problems:
    """All problems of a term, as `key = value: what is wrong. What to do.`"""
    source = tables.term_outputs(term)
    head = tables.head_outputs(student, term.head)
    if term.pool and tables.pools[term.pool].target is None:
        yield f"{where}.learns = {term.learns!r}: that pool has no target. Name its target column."
        return
    loss = term.loss
    learns = loss.learns_targets if term.pool else loss.learns_labels
    if _meaning(source) not in learns:
        yield (
            f"{where}.loss.kind = {loss.kind!r}: learns {_learnable(term)}, but {term.learns} says"
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


def _meaning(outputs: Outputs) -> Meaning:
    if outputs.kind == "value":
        return VALUES
    return EXCLUSIVE if outputs.exclusive else INDEPENDENT


def _learnable(term: Term) -> str:
    """What the term's loss learns, of such a source."""
    if term.pool:
        targets = " or ".join(term.loss.learns_targets)
        return f"{targets} of a target" if targets else "label sets alone"
    labels = " or ".join(term.loss.learns_labels)
    return f"{labels} of a label set" if labels else "targets alone"


def _loss(tables: JobTables, term: Term, where: str) -> Problems:
    loss = term.loss
    encoding = tables.labels[term.label_set].encoding if term.label_set else None
    if isinstance(encoding, TopK) and loss.needs_every_output:
        yield (
            f"{where}.loss.kind = {loss.kind!r}: sees every logit, but {term.learns} keeps its top"
            f" {encoding.k}. Encode dense, or use kl."
        )
    for key, why in loss.keys_of_targets.items():
        value = getattr(loss, key)
        if not term.pool and value != type(loss).model_fields[key].default:
            yield f"{where}.loss.{key} = {value}: {why}"
    if loss.code_file is not None and not tables.beside(loss.code_file).is_file():
        yield (
            f"{where}.loss.file = {loss.code_file!r}: there is no file"
            f" {str(tables.beside(loss.code_file))!r}. Paths are relative to the job file."
        )


def _temperature(tables: JobTables, term: Term, where: str) -> Problems:
    encoding = tables.labels[term.label_set].encoding if term.label_set else None
    temperature = term.loss.label_temperature
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
        if _meaning(source) != EXCLUSIVE:
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
