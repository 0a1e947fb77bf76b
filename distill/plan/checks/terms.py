"""What one term says of its source, its loss and its head."""

from __future__ import annotations

from collections.abc import Sequence

from distill.plan.checks.files import check_file
from distill.plan.checks.groups import check_groups
from distill.plan.checks.problems import Problems
from distill.plan.judged import is_of_structure
from distill.plan.tables import JobTables
from distill.spec.labels import TopK
from distill.spec.losses import EXCLUSIVE, INDEPENDENT, VALUES, Meaning
from distill.spec.outputs import Outputs
from distill.spec.students import Agreement, ClassBalance, ClusterBalance, Confidence, Student, Term


def check_term(tables: JobTables, student: Student, term: Term, where: str) -> Problems:
    """Yield all problems of a term, or of an early stop as a term; `where` is its key."""
    source = tables.term_outputs(term)
    if term.pool and tables.pools[term.pool].target is None:
        yield f"{where}.learns = {term.learns!r}: that pool has no target. Name its target column."
        return
    loss = term.loss
    learnable = loss.learns_targets if term.pool else loss.learns_labels
    if _meaning(source) not in learnable:
        yield (
            f"{where}.loss.kind = {loss.kind!r}: learns {_learnable(term)},"
            f" but {term.learns} says {source.in_words}. Use another loss."
        )
        return
    yield from _head(tables, student, term, where)
    yield from _loss(tables, term, where)
    yield from _label_temperature(tables, term, where)
    pools = student.on if term.label_set else (str(term.pool),)
    yield from _row_weight(tables, term, pools, f"{where}.row_weight")


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


def _head(tables: JobTables, student: Student, term: Term, where: str) -> Problems:
    """Whether the term's source speaks of what its head answers."""
    source = tables.term_outputs(term)
    head = tables.head_outputs(student, term.head)
    if not source.is_like(head):
        yield (
            f"{where}.head = {term.head!r}: another term teaches it {head.in_words}, this one"
            f" {source.in_words}. Give one of them a head of its own."
        )
    others = {each.learns for each in student.terms_of(term.head)} - {term.learns}
    if others and is_of_structure(tables, term) and source.classes:
        yield (
            f"{where}.head = {term.head!r}: {term.learns} says clusters by number, which are no"
            " classes of another term's, whatever their names. Give it a head of its own."
        )
    lacking = [name for name in source.classes if name not in head.positions]
    if lacking:
        yield (
            f"{where}.learns = {term.learns!r}: its classes {lacking} are not among the head's,"
            f" {head.in_words}. Add them to students.….heads.{term.head}.classes."
        )


def _loss(tables: JobTables, term: Term, where: str) -> Problems:
    loss = term.loss
    topk = _topk(tables, term)
    if topk is not None and loss.needs_every_output:
        yield (
            f"{where}.loss.kind = {loss.kind!r}: sees every logit,"
            f" but {term.learns} keeps its top {topk.k}. Encode dense, or use kl."
        )
    if term.label_set:
        for key, why in loss.keys_of_targets.items():
            value = getattr(loss, key)
            if value != type(loss).model_fields[key].default:
                yield f"{where}.loss.{key} = {value}: {why}"
    file = loss.code_file
    if file is not None:
        yield from check_file(tables, file, f"{where}.loss.file = {file!r}")


def _topk(tables: JobTables, term: Term) -> TopK | None:
    """The encoding of the term's label set, where that keeps the largest logits alone."""
    if term.label_set is None:
        return None
    encoding = tables.labels[term.label_set].encoding
    return encoding if isinstance(encoding, TopK) else None


def _label_temperature(tables: JobTables, term: Term, where: str) -> Problems:
    temperature = term.loss.label_temperature
    if temperature is None:
        return
    key = f"{where}.loss.temperature = {temperature}"
    topk = _topk(tables, term)
    if topk is not None and temperature not in topk.temperatures:
        stored = list(topk.temperatures)
        declare = f"declare {temperature} in {term.learns}.encoding.temperatures (a new version)"
        yield (
            f"{key}: {term.learns} keeps its top {topk.k} at temperatures {stored} only."
            f" Use one of them, or {declare}, or encode dense."
        )
    if term.pool and temperature != 1.0:
        yield f"{key}: a target has no temperature. Leave it out."


def _row_weight(tables: JobTables, term: Term, pools: Sequence[str], where: str) -> Problems:
    """Whether the source says what rows are weighted by."""
    row_weight = term.row_weight
    if row_weight is None:
        return
    source = tables.term_outputs(term)
    kind = f"{where}.kind = {row_weight.kind!r}"
    if isinstance(row_weight, ClusterBalance):
        key = f"{where}.labels = {row_weight.labels!r}"
        yield from check_groups(tables, row_weight.labels, pools, key)
    elif isinstance(row_weight, ClassBalance):
        if _meaning(source) != EXCLUSIVE:
            yield (
                f"{kind}: {term.learns} says {source.in_words}, where a row has no one class to"
                " balance. Leave it out."
            )
    elif term.label_set is None:
        learns = term.learns
        yield (f"{kind}: {learns} is a target, of which nobody is more or less sure. Leave it out.")
    elif isinstance(row_weight, Agreement):
        if not tables.labels[term.label_set].has_disagreement:
            yield (
                f"{kind}: {term.learns} comes from one labeler, which agrees with itself."
                " Use an ensemble, or leave it out."
            )
    elif isinstance(row_weight, Confidence) and source.kind == "value":
        yield f"{kind}: {term.learns} says {source.in_words}, which has no probability. Leave it out."
