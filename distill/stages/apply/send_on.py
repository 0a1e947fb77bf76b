"""Where a student is sure, chosen on labelled rows, and the addresses of the pool's other rows.

    labelled rows ► threshold (`thresholds`) ► one pass over the student's labels of the pool ►
    files of addresses (`pools.formats.selection`) ► the selection's record ► the cascade's result

The pass writes one file a fragment, or several where one would be too large, each under a key of
its place and content by conditional put; so a killed one is gone on with, and memory holds some
fragments. The record of the selection is put when all files are there, and the result last.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from distill.core.cascades import CascadeResult, Threshold
from distill.core.errors import LimitError, StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal
from distill.engine.protocol import Engine
from distill.labels.encoding import DenseLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.lease import make_once
from distill.loader.dataset import Dataset
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.plan.apply_steps import CascadeStep
from distill.plan.cascades import RESULT, read_result
from distill.pools.base_pool import base_pool
from distill.pools.chosen import ROWS, ChosenRound, put_round
from distill.pools.formats.selection import ADDRESSES, ENDING, BasePool, address_contents
from distill.pools.inventory import Fragment, Inventory
from distill.stages.apply.sureness import BINS, Bool, Float64, Int64, bins_of, log_odds, softmax
from distill.stages.apply.thresholds import UnprovenError, choose_sets, choose_threshold
from distill.storage.open import open_storage

log = logging.getLogger(__name__)

_REASON = "not sure"


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
class Sent:
    """What one pass over some fragments found."""

    files: tuple[str, ...]
    rows: int
    """That are sent on."""
    unreadable: int

    def plus(self, other: Sent) -> Sent:
        """Return both."""
        rows = self.rows + other.rows
        return Sent(self.files + other.files, rows, self.unreadable + other.unreadable)


def send_on(step: CascadeStep, engine: Engine) -> CascadeResult:
    """Choose the threshold and find the rows that are sent on, unless it is done, or wait for
    another driver that does. Raises LimitError where labelled rows prove no threshold."""
    if step.found is not None:
        return step.found
    folder = open_storage(step.folder)
    what = f"cascade.{step.name} over {step.pool.name}"
    return make_once(folder, what, lambda: read_result(folder), lambda: _choose(step, engine))


def sure_rows(logits: Float64, threshold: Threshold) -> Bool:
    """Find the rows (B,) that a student answers itself."""
    if threshold.by == "sets":
        found: Bool = set_members(logits, threshold).sum(axis=1) == 1
        return found
    return bins_of(log_odds(logits)) >= threshold.bin


def set_members(logits: Float64, threshold: Threshold) -> Bool:
    """Find the classes (B, C) in each row's prediction set."""
    members: Bool = softmax(logits) >= threshold.threshold
    return members


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
    sent = _find_sent(step, threshold, engine)
    reach("cascade.before_record")
    _record_selection(step, threshold, sent)
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


def _find_sent(step: CascadeStep, threshold: Threshold, engine: Engine) -> Sent:
    base = base_pool(step.pool)
    fragments = step.pool.inventory.fragments(step.fragment_rows)
    places = [_Place(place, each) for place, each in enumerate(fragments)]
    return engine.fold(
        f"cascade {step.name}, rows of {step.pool.name} to send on",
        partial(_write_addresses, step.labels, threshold, base, step.selection),
        places,
        Sent.plus,
        unit="rows",
        size=lambda place: place.fragment.rows,
    )


def _write_addresses(
    labels: LabelSet, threshold: Threshold, base: BasePool, selection: str, place: _Place
) -> Sent:
    fragment = place.fragment
    chunk = Chunk(0, fragment.shard.number, fragment.start, fragment.rows)
    logits, labelled = _logits(labels, chunk)
    sureness = log_odds(logits)
    sent = np.flatnonzero(labelled & ~sure_rows(logits, threshold))
    unreadable = int((~labelled).sum())
    if not len(sent):
        return Sent((), 0, unreadable)
    rows = open_storage(selection).folder(ROWS)
    files: list[str] = []
    for content in address_contents(base, _addresses(fragment, sent, sureness[sent])):
        name = hashlib.sha256(content).hexdigest()[:12]
        key = f"{place_prefix(place.place)}{len(files):03d}-{name}{ENDING}"
        if not rows.put_if_absent(key, content):
            raise StorageError(f"{rows.url(key)} holds something else. Move it away.")
        reach("cascade.after_file")
        files.append(key)
    return Sent(tuple(files), len(sent), unreadable)


def place_prefix(place: int) -> str:
    """Return how the keys of one fragment's addresses begin."""
    return f"000-{place:07d}-"


def _addresses(fragment: Fragment, sent: Int64, sureness: Float64) -> pa.Table:
    columns = [
        pa.repeat(fragment.shard.key, len(sent)),
        pa.array([bytes.fromhex(fragment.shard.id)] * len(sent), pa.binary(16)),
        pa.array(fragment.start + sent),
        pa.repeat(_REASON, len(sent)),
        pa.array(sureness),
    ]
    return pa.table(columns, ADDRESSES)


def _record_selection(step: CascadeStep, threshold: Threshold, sent: Sent) -> Sequence[str]:
    """Let the selection exist, where it has any row."""
    if not sent.rows:
        return ()
    record = ChosenRound(
        number=0,
        asked=step.asked,
        method={"kind": "cascade", "by": threshold.by, "threshold": threshold.threshold},
        seed=0,
        rows=sent.rows,
        files=sent.files,
        pins=step.pins,
        counts={"pool": step.pool.inventory.rows, "unreadable": sent.unreadable, "duplicates": 0},
    )
    return put_round(open_storage(step.selection), record).files
