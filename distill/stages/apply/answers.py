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
from distill.labelers.base import probabilities_of
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, SoftLabels, TopKLabels, decode
from distill.spec.outputs import Outputs
from distill.stages.apply.send_on import set_members
from distill.stages.apply.sureness import Bool, Float64, Int64

Texts = npt.NDArray[np.object_]

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

    values: Float64
    labelled: Bool
    raw: Float64
    """Logits as they are stored, of a set that has all."""


@dataclass(frozen=True)
class Others:
    """What others say of the rows that are sent on."""

    by: str | None
    """Who, as `answered_by` says it; None where nobody."""
    place: Int64
    """Rows within the fragment."""
    probabilities: Float64 | None = None
    """Of the student's classes; None where nobody has answered yet."""
    labelled: Bool | None = None


def answers_of(table: pa.Table, contract: Contract) -> Answers:
    """Decode a label set's columns."""
    temperatures = contract.temperatures
    temperature = None
    if temperatures:
        temperature = 1.0 if 1.0 in temperatures else temperatures[0]
    soft = decode(table, contract, temperature)
    outputs = _outputs(soft, contract)
    meaning = Outputs(contract.kind, contract.classes, contract.exclusive)
    if isinstance(soft, TopKLabels):
        return Answers(outputs, soft.labelled, outputs)
    return Answers(probabilities_of(outputs, meaning), soft.labelled, outputs)


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


def in_order(answers: Answers, contract: Contract, classes: tuple[str, ...]) -> Float64:
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
        columns["class"] = _names(answers.values, contract.classes, unknown)
        likeliest = answers.values.max(axis=1)
        columns["probability"] = pa.array(likeliest.astype(np.float32), mask=unknown)
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
    rows = len(answers.labelled)
    final = answers.values.copy()
    unknown = ~answers.labelled
    rejected = unknown.copy()
    by: Texts = np.full(rows, "student", object)
    by[unknown] = None
    by[others.place] = others.by
    if others.probabilities is None or others.labelled is None:
        unknown[others.place] = True
    else:
        final[others.place] = others.probabilities
        unknown[others.place] = ~others.labelled
        rejected[others.place] = ~others.labelled
    columns = {
        "class": _names(final, contract.classes, unknown),
        "probability": pa.array(final.max(axis=1).astype(np.float32), mask=unknown),
        "answered_by": pa.array(by.tolist(), pa.string()),
    }
    if probabilities:
        columns["probabilities"] = _lists(final, unknown)
    own = ~answers.labelled
    likeliest = answers.values.max(axis=1)
    columns["student_class"] = _names(answers.values, contract.classes, own)
    columns["student_probability"] = pa.array(likeliest.astype(np.float32), mask=own)
    if threshold.by == "sets":
        members = set_members(answers.raw, threshold)
        columns["set"] = _name_lists(members, contract.classes, own)
    return {**columns, "rejected": pa.array(rejected)}


def _outputs(soft: SoftLabels, contract: Contract) -> Float64:
    """Logits or values; of a set that keeps the largest logits probabilities, what they lack of 1
    spread over the other classes."""
    if isinstance(soft, DenseLabels):
        outputs = np.where(soft.labelled[:, None], soft.outputs, np.float32(0))
        return outputs.astype(np.float64)
    index = np.where(soft.labelled[:, None], soft.index, 0)
    stored = np.where(soft.labelled[:, None], np.exp(soft.log_probs.astype(np.float64)), 0.0)
    others = max(1, contract.width - index.shape[1])
    missing = np.maximum(0.0, 1.0 - stored.sum(axis=1, keepdims=True))
    found = np.repeat(missing / others, contract.width, axis=1)
    np.put_along_axis(found, index, stored, axis=1)
    return found


def _names(values: Float64, classes: tuple[str, ...], unknown: Bool) -> pa.Array:
    best = pa.array(values.argmax(axis=1), pa.int32(), mask=unknown)
    return pa.DictionaryArray.from_arrays(best, pa.array(classes)).cast(pa.string())


def _values(values: Float64, unknown: Bool) -> pa.Array:
    narrow = values.astype(np.float32)
    if values.shape[1] == 1:
        return pa.array(narrow[:, 0], mask=unknown)
    return _lists(values, unknown)


def _lists(values: Float64, unknown: Bool) -> pa.Array:
    flat = pa.array(values.astype(np.float32).ravel())
    width = values.shape[1]
    mask = pa.array(unknown)
    return pa.FixedSizeListArray.from_arrays(flat, width, mask=mask).cast(pa.list_(pa.float32()))


def _name_lists(members: Bool, classes: tuple[str, ...], unknown: Bool) -> pa.Array:
    known = members & ~unknown[:, None]
    ends = np.cumsum(known.sum(axis=1))
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    named = pa.DictionaryArray.from_arrays(
        pa.array(np.nonzero(known)[1], pa.int32()), pa.array(classes)
    )
    mask = pa.array(unknown)
    return pa.ListArray.from_arrays(pa.array(offsets), named.cast(pa.string()), mask=mask)
