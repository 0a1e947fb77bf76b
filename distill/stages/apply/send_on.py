"""Where a student is sure, chosen on labelled rows, and the addresses of the pool's other rows.

    labelled rows ► threshold (`thresholds`) ► one pass over the student's labels of the pool ►
    files of addresses (`pools.formats.selection`) ► a round of the selection ► the cascade's result

Addresses are those that the selection lacks (`asked_rows`) and that no label set has
(`answered_rows`): rows that the teacher was asked about before are not bought twice. The round's record is
put when all files are there, and the result last; so a killed pass is gone on with, and memory holds
some fragments. Where no teacher is asked, rows are counted alone: who writes the answers finds them
again by `sureness.unsure_rows`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from distill.core.cascades import CascadeResult, Threshold
from distill.core.errors import LimitError
from distill.core.failpoints import reach
from distill.core.schema import seal
from distill.engine.protocol import Engine
from distill.labels.encoding import DenseLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.lease import make_once
from distill.loader.dataset import Dataset
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.plan.accounts import files_by_place
from distill.plan.apply_steps import Answered, CascadeStep
from distill.plan.cascades import RESULT, read_result
from distill.pools.base_pool import base_pool
from distill.pools.chosen import ChosenRound, put_round, read_rounds
from distill.pools.inventory import Fragment, Inventory
from distill.stages.apply.answered_rows import answered_rows
from distill.stages.apply.asked_rows import AddressBook, asked_rows
from distill.stages.apply.sureness import (
    BINS,
    Bool,
    Float64,
    Int64,
    bins_of,
    log_odds,
    softmax,
    unsure_rows,
)
from distill.stages.apply.thresholds import UnprovenError, choose_sets, choose_threshold
from distill.storage.open import open_storage

_RECORD_FILES = 16_000  # of 45 bytes each, where a record may have 1 MiB

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """What a student says of some rows: how sure it is, and what labelled rows tell of it."""

    bins: Int64
    right: Bool
    of_truth: Float64
    """The probability of the true class."""

    def plus(self, other: Rows) -> Rows:
        """Return both."""
        return Rows(
            np.concatenate([self.bins, other.bins]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.of_truth, other.of_truth]),
        )


@dataclass(frozen=True)
class Added:
    """What the selection lacked of one fragment."""

    files: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Sent:
    """What one pass over some fragments found."""

    added: tuple[Added, ...]
    rows: int
    """That are sent on."""
    unreadable: int

    def plus(self, other: Sent) -> Sent:
        """Return both."""
        return Sent(
            self.added + other.added, self.rows + other.rows, self.unreadable + other.unreadable
        )


def send_on(step: CascadeStep, engine: Engine) -> CascadeResult:
    """Choose the threshold and find the rows that are sent on, unless it is done, or wait for
    another driver that does. Raises LimitError where labelled rows prove no threshold."""
    if step.found is not None:
        return step.found
    folder = open_storage(step.folder)
    # of the selection, to which another threshold of the same cascade would add too
    lease = open_storage(step.selection_folder)
    what = f"cascade.{step.name} over {step.pool.name}"
    return make_once(lease, what, lambda: read_result(folder), lambda: _choose(step, engine))


def fragment_chunks(inventory: Inventory, fragment_rows: int) -> list[Chunk]:
    """Return the fragments of a pool as chunks, in order."""
    return [
        Chunk(0, each.shard.number, each.start, each.rows)
        for each in inventory.fragments(fragment_rows)
    ]


def _choose(step: CascadeStep, engine: Engine) -> CascadeResult:
    threshold = _threshold(step, engine)
    log.info(
        "cascade.%s: the student answers where %s %.6g; %d of %d labelled rows %s",
        step.name,
        "one class alone has at least" if threshold.by == "sets" else "it is sure to",
        threshold.threshold,
        threshold.right,
        threshold.answered,
        "have the truth in their set" if threshold.by == "sets" else "are right there",
    )
    sent = _record_sent(step, threshold, engine)
    result = CascadeResult(
        name=step.name,
        pool=step.pool.name,
        student=step.student,
        student_labels=step.labels.name,
        to=step.table.to,
        on=step.table.on,
        at_least=step.table.at_least,
        confidence=step.table.confidence,
        threshold=threshold,
        rows=step.pool.inventory.rows,
        unreadable=sent.unreadable,
        sent=sent.rows,
    )
    folder = open_storage(step.folder)
    reach("cascade.before_result")
    folder.put_if_absent(RESULT, seal(result.to_plain()))
    stored = read_result(folder)
    assert stored is not None
    return stored


def _threshold(step: CascadeStep, engine: Engine) -> Threshold:
    table = step.table
    labelled = engine.fold(
        f"cascade {step.name}, labelled rows of {table.on}",
        partial(_judge, step.judged),
        step.judged.chunks(step.fragment_rows),
        Rows.plus,
        unit="rows",
        size=lambda chunk: chunk.rows,
    )
    try:
        if table.by == "sets":
            return choose_sets(labelled.of_truth, table.at_least, table.confidence)
        counts = engine.fold(
            f"cascade {step.name}, labels of {step.pool.name}",
            partial(_count_bins, step.labels),
            fragment_chunks(step.pool.inventory, step.fragment_rows),
            np.add,
            unit="rows",
            size=lambda chunk: chunk.rows,
        )
        right = labelled.right
        return choose_threshold(counts, labelled.bins, right, table.at_least, table.confidence)
    except UnprovenError as error:
        raise LimitError(
            f"cascade.{step.name}: no threshold of {step.student} is proven on pools.{table.on}:"
            f" {error}. Label more rows, ask for less (at_least, confidence), or apply the student"
            " without a cascade."
        ) from None


def _judge(dataset: Dataset, chunk: Chunk) -> Rows:
    """What the student says of labelled rows, beside the truth."""
    truth = dataset.learned(chunk, "truth")
    said = dataset.learned(chunk, "student")
    usable = truth["weight"].astype(np.bool_)
    known = usable & said["weight"].astype(np.bool_)
    logits = said["outputs"][known].astype(np.float64)
    # a class that the student lacks is never right
    number = _own_numbers(dataset)[truth["target"][known].astype(np.int64)]
    rows = np.arange(len(logits))
    probabilities = softmax(logits)
    of_truth = np.where(number >= 0, probabilities[rows, np.maximum(number, 0)], 0.0)
    best = logits.argmax(axis=1)
    return Rows(bins_of(log_odds(logits)), best == number, of_truth)


def _own_numbers(dataset: Dataset) -> Int64:
    """Where the student has each class of the truth; −1 where it lacks it."""
    truth = dataset.columns["truth"].outputs  # type: ignore[union-attr]
    contract = dataset.columns["student"].contract  # type: ignore[union-attr]
    places = {name: place for place, name in enumerate(contract.classes)}
    return np.array([places.get(name, -1) for name in truth.classes], np.int64)


def _logits(labels: LabelSet, chunk: Chunk) -> tuple[Float64, Bool]:
    """A student's logits of some rows (B, C), and which of them have any (B,)."""
    soft = decode(read_label_rows(labels, chunk), labels.contract)
    assert isinstance(soft, DenseLabels)
    logits = np.where(soft.labelled[:, None], soft.outputs, np.float32(0))
    return logits.astype(np.float64), soft.labelled


def _count_bins(labels: LabelSet, chunk: Chunk) -> Int64:
    logits, labelled = _logits(labels, chunk)
    bins = bins_of(log_odds(logits[labelled]))
    return np.bincount(bins, minlength=BINS).astype(np.int64)


@dataclass(frozen=True)
class _Place:
    """A fragment, and its place in the pool."""

    place: int
    fragment: Fragment
    asked: tuple[str, ...]
    """Keys of the files of its rows that the teacher was asked about."""


def _record_sent(step: CascadeStep, threshold: Threshold, engine: Engine) -> Sent:
    """Find what is sent on, and let the selection have all of it."""
    folder = open_storage(step.selection_folder)
    while True:
        rounds = read_rounds(folder)
        sent = _find_sent(step, threshold, rounds, engine)
        reach("cascade.before_record")
        # where another driver came first with other rows, what it lacks is looked for again
        records = _records(step, threshold, len(rounds), sent)
        if all(put_round(folder, record).files == record.files for record in records):
            return sent


def _records(
    step: CascadeStep, threshold: Threshold, first: int, sent: Sent
) -> Iterator[ChosenRound]:
    """The rounds that are added, from number `first` on: one, but of very many files, of which a
    record would be too large for a conditional put."""
    for number, added in enumerate(_cut(sent.added), first):
        yield ChosenRound(
            number=number,
            asked=step.asked,
            method={"kind": "cascade", "by": threshold.by, "threshold": threshold.threshold},
            seed=0,
            rows=sum(each.rows for each in added),
            files=tuple(file for each in added for file in each.files),
            pins=step.pins,
            counts={
                "pool": step.pool.inventory.rows,
                "unreadable": sent.unreadable,
                "duplicates": 0,
            },
        )


def _cut(added: Sequence[Added]) -> Iterator[list[Added]]:
    run: list[Added] = []
    files = 0
    for each in added:
        if run and files + len(each.files) > _RECORD_FILES:
            yield run
            run = []
            files = 0
        run.append(each)
        files += len(each.files)
    if run:
        yield run


def _find_sent(
    step: CascadeStep, threshold: Threshold, rounds: Sequence[ChosenRound], engine: Engine
) -> Sent:
    asked = files_by_place(rounds)
    fragments = step.pool.inventory.fragments(step.fragment_rows)
    places = [
        _Place(place, each, tuple(asked.get(place, ()))) for place, each in enumerate(fragments)
    ]
    book = None
    if step.table.label_set is not None:
        book = AddressBook(step.selection_folder, len(rounds), base_pool(step.pool))
    return engine.fold(
        f"cascade {step.name}, rows of {step.pool.name} to send on",
        partial(_send_on, step.labels, threshold, step.answered, book),
        places,
        Sent.plus,
        unit="rows",
        size=lambda place: place.fragment.rows,
    )


def _send_on(
    labels: LabelSet,
    threshold: Threshold,
    answered: Sequence[Answered],
    book: AddressBook | None,
    place: _Place,
) -> Sent:
    fragment = place.fragment
    chunk = Chunk(0, fragment.shard.number, fragment.start, fragment.rows)
    logits, labelled = _logits(labels, chunk)
    sent = unsure_rows(logits, labelled, threshold)
    unreadable = int((~labelled).sum())
    if book is None:  # nobody is asked
        return Sent((), len(sent), unreadable)
    asked = asked_rows(book.folder, place.asked)
    known = np.concatenate([asked, answered_rows(answered, fragment)])
    new = sent[~np.isin(sent + fragment.start, known)]
    added: tuple[Added, ...] = ()
    if len(new):
        # addresses are plain, and how sure it is says what encrypted labels say
        sureness = np.zeros(len(new)) if labels.contract.encrypted else log_odds(logits[new])
        files = book.put(place.place, fragment, new, sureness)
        added = (Added(files, len(new)),)
    return Sent(added, len(sent), unreadable)
