"""What was answered of the rows of one fragment, as columns.

shard, row           where the row lies: the file's key below the pool's folder, its number in it
the pool's keys      as `key_NAME` where NAME is one of these columns
class, probability   of exclusive classes: the likeliest; null where nobody answers
classes              of independent outputs: those that are likelier than not
value                of values; a list where there are several
probabilities        of all classes, in the order that the manifest says
answered_by          of a cascade: `student`, `labels.NAME`, `review`, or null where it stays open
student_class, student_probability, set
                     of a cascade: what the student says, whoever answers
rejected             whether the row could not be read by whom it was asked
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.cascades import Threshold
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, TopKLabels, decode
from distill.stages.apply.sureness import Bool, Int64, set_members

Numbers = npt.NDArray[np.floating]
"""float32, of which the student's are: in float64 they took twice the time and were rounded to it."""

_COLUMNS = (
    "shard",
    "row",
    "class",
    "probability",
    "classes",
    "value",
    "probabilities",
    "answered_by",
    "student_class",
    "student_probability",
    "set",
    "rejected",
    "reason",
    "shard_id",
)
"""What is written beside the keys, in one form or another; the last two for people."""


@dataclass(frozen=True)
class Answers:
    """What one label set says of B rows: probabilities (B, C) of its classes, or values (B, W)."""

    values: Numbers
    labelled: Bool
    raw: Numbers
    """Logits as they are stored, of a set that has all."""
    best: Int64
    """The likeliest class (B,), which rounded probabilities would not always tell."""


@dataclass(frozen=True)
class Others:
    """What others say of the rows that are sent on."""

    by: str | None
    """Who, as `answered_by` says it; None where nobody."""
    place: Int64
    """Rows within the fragment."""
    probabilities: Numbers | None = None
    """Of the student's classes; None where nobody has answered yet."""
    labelled: Bool | None = None


def answers_of(table: pa.Table, contract: Contract) -> Answers:
    """Decode a label set's columns."""
    temperatures = contract.temperatures
    temperature = None
    if temperatures:
        temperature = 1.0 if 1.0 in temperatures else temperatures[0]
    soft = decode(table, contract, temperature)
    if isinstance(soft, TopKLabels):
        probabilities = _spread(soft, contract)
        best = probabilities.argmax(axis=1)
        return Answers(probabilities, soft.labelled, probabilities, best)
    logits = _known(soft)
    best = logits.argmax(axis=1)
    return Answers(_probabilities(logits, best, contract), soft.labelled, logits, best)


def key_names(keys: Iterable[str]) -> dict[str, str]:
    """Return what each of the pool's keys is called beside the answers."""
    # DuckDB and Spark tell no capitals from small letters
    taken = set(_COLUMNS)
    names = {}
    for key in keys:
        name = key
        while name.lower() in taken:
            name = f"key_{name}"
        taken.add(name.lower())
        names[key] = name
    return names


def in_order(answers: Answers, contract: Contract, classes: tuple[str, ...]) -> Numbers:
    """Return probabilities in another order of the same classes."""
    places = {name: place for place, name in enumerate(contract.classes)}
    return answers.values[:, [places[name] for name in classes]]


def answer_columns(
    answers: Answers, contract: Contract, *, probabilities: bool
) -> dict[str, pa.Array]:
    """Return the columns of what a student says by itself."""
    unknown = ~answers.labelled
    if contract.kind == "value":
        return {"value": _values(answers.values, unknown), "rejected": pa.array(unknown)}
    columns: dict[str, pa.Array] = {}
    if contract.exclusive:
        best = answers.best
        columns["class"] = _names(best, contract.classes, unknown)
        columns["probability"] = _numbers(_of_each(answers.values, best), unknown)
    else:
        members = answers.values > 0.5
        columns["classes"] = _name_lists(members, contract.classes, unknown)
    if probabilities:
        columns["probabilities"] = _lists(answers.values, unknown)
    return {**columns, "rejected": pa.array(unknown)}


def cascade_columns(
    answers: Answers,
    contract: Contract,
    threshold: Threshold,
    others: Others,
    *,
    probabilities: bool,
) -> dict[str, pa.Array]:
    """Return the columns of a cascade: the student's answers, and others' where it is not sure."""
    own = ~answers.labelled
    final = answers.values
    student = answers.best
    best = student
    unknown = own.copy()
    rejected = own.copy()
    if others.probabilities is None or others.labelled is None:
        unknown[others.place] = True
    else:
        final = final.copy()
        final[others.place] = others.probabilities
        best = student.copy()
        best[others.place] = others.probabilities.argmax(axis=1)
        unknown[others.place] = ~others.labelled
        rejected[others.place] = ~others.labelled
    columns = {
        "class": _names(best, contract.classes, unknown),
        "probability": _numbers(_of_each(final, best), unknown),
        "answered_by": _answered_by(others, own),
    }
    if probabilities:
        columns["probabilities"] = _lists(final, unknown)
    columns["student_class"] = _names(student, contract.classes, own)
    columns["student_probability"] = _numbers(_of_each(answers.values, student), own)
    if threshold.by == "sets":
        # as the rows were chosen by (`sure_rows`)
        members = set_members(answers.raw.astype(np.float64), threshold)
        columns["set"] = _name_lists(members, contract.classes, own)
    return {**columns, "rejected": pa.array(rejected)}


def _known(soft: DenseLabels) -> Numbers:
    """All outputs, of rows that have none zeros."""
    if soft.labelled.all():
        return soft.outputs
    return np.where(soft.labelled[:, None], soft.outputs, np.float32(0))


def _probabilities(logits: Numbers, best: Int64, contract: Contract) -> Numbers:
    if contract.kind == "value":
        return logits
    if not contract.exclusive:
        # as a tangent, which overflows nowhere
        tangent = np.tanh(np.float32(0.5) * logits)
        yes: Numbers = np.float32(0.5) * (np.float32(1) + tangent)
        return yes
    odds: Numbers = logits - _of_each(logits, best)[:, None]
    np.exp(odds, out=odds)
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def _spread(soft: TopKLabels, contract: Contract) -> Numbers:
    """Probabilities of a set that keeps the largest logits: what they lack of 1 is spread over the
    other classes."""
    index = np.where(soft.labelled[:, None], soft.index, 0)
    stored = np.where(soft.labelled[:, None], np.exp(soft.log_probs.astype(np.float64)), 0.0)
    others = max(1, contract.width - index.shape[1])
    missing = np.maximum(0.0, 1.0 - stored.sum(axis=1, keepdims=True))
    found = np.repeat(missing / others, contract.width, axis=1)
    np.put_along_axis(found, index, stored, axis=1)
    return found


def _names(best: Int64, classes: tuple[str, ...], unknown: Bool) -> pa.Array:
    """The names of classes, by number: they are written so, and no row's text is ever made."""
    numbers = pa.array(best.astype(np.int32), mask=_mask(unknown))
    return pa.DictionaryArray.from_arrays(numbers, pa.array(classes, pa.string()))


def _answered_by(others: Others, unread: Bool) -> pa.Array:
    by = np.zeros(len(unread), np.int64)
    by[others.place] = 1
    nobody = unread.copy()
    nobody[others.place] = others.by is None
    names = ("student",) if others.by is None else ("student", others.by)
    return _names(by, names, nobody)


def _of_each(values: Numbers, best: Int64) -> Numbers:
    """One number of each row (B,). Found by `argmax`, the largest takes a third of `max`'s time."""
    found: Numbers = np.take_along_axis(values, best[:, None], axis=1)
    return found[:, 0]


def _numbers(values: Numbers, unknown: Bool) -> pa.Array:
    return pa.array(values.astype(np.float32, copy=False), mask=_mask(unknown))


def _values(values: Numbers, unknown: Bool) -> pa.Array:
    if values.shape[1] == 1:
        return _numbers(values[:, 0], unknown)
    return _lists(values, unknown)


def _lists(values: Numbers, unknown: Bool) -> pa.Array:
    rows, width = values.shape
    ends = np.arange(rows + 1) * width
    if unknown.any():
        ends[1:] = np.cumsum(np.where(unknown, 0, width))
        values = values[~unknown]
    flat = values.astype(np.float32, copy=False).ravel()
    # not by numpy, which would wrap around where they are too many
    offsets = pa.array(ends, pa.int32())
    mask = pa.array(unknown) if unknown.any() else None
    return pa.ListArray.from_arrays(offsets, pa.array(flat), mask=mask)


def _mask(unknown: Bool) -> Bool | None:
    # without one, an array is taken over as it is
    return unknown if unknown.any() else None


def _name_lists(members: Bool, classes: tuple[str, ...], unknown: Bool) -> pa.Array:
    known = members & ~unknown[:, None]
    ends = np.cumsum(known.sum(axis=1))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    named = pa.DictionaryArray.from_arrays(
        pa.array(np.nonzero(known)[1], pa.int32()), pa.array(classes)
    )
    mask = pa.array(unknown)
    return pa.ListArray.from_arrays(pa.array(offsets), named.cast(pa.string()), mask=mask)
