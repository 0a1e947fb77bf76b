"""What others have answered of a fragment's rows, from each label set that has some (`Answered`): the
teacher's over the pool itself, and those over accounts of a cascade, now or before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from distill.core.errors import StorageError
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.plan.apply_steps import Answered, SentRows
from distill.pools.inventory import Fragment
from distill.stages.apply.answers import Others, answers_of, in_order
from distill.stages.apply.asked_rows import asked_rows
from distill.stages.apply.sureness import Int64


@dataclass(frozen=True)
class _Run:
    """Consecutive rows of a label set."""

    chunk: Chunk
    rows: Int64
    """Their numbers within their shard of the pool."""


def answered_rows(answered: Sequence[Answered], fragment: Fragment) -> Int64:
    """Return the numbers, within their shard, of a fragment's rows that somebody has answered.
    Raises StorageError."""
    runs = [run.rows for each in answered for run in _runs(each, fragment)]
    return np.concatenate([np.empty(0, np.int64), *runs])


def others_of(sent: SentRows, fragment: Fragment, place: Int64, classes: tuple[str, ...]) -> Others:
    """Return what others say of rows by their numbers within a fragment, as probabilities of these
    classes. Raises StorageError where nobody has answered one that somebody was asked about."""
    by = None if sent.result.to == "nobody" else sent.result.to
    if not sent.answered or not len(place):
        return Others(by, place)
    rows = fragment.start + place
    # as wide as any label set has them: which is the largest is told before they are rounded
    probabilities = np.zeros((len(rows), len(classes)))
    labelled = np.zeros(len(rows), np.bool_)
    is_open = np.ones(len(rows), np.bool_)
    for each in sent.answered:
        for run in _runs(each, fragment):
            wanted = np.flatnonzero(is_open & np.isin(rows, run.rows))
            if not len(wanted):
                continue
            order = np.argsort(run.rows)
            found = order[np.searchsorted(run.rows, rows[wanted], sorter=order)]
            table = read_label_rows(each.labels, run.chunk).take(pa.array(found))
            contract = each.labels.contract
            answers = answers_of(table, contract)
            probabilities[wanted] = in_order(answers, contract, classes)
            labelled[wanted] = answers.labelled
            is_open[wanted] = False
    if is_open.any():
        raise StorageError(
            f"{sent.folder}: it lacks rows that are sent on. Restore it from a copy, or give the"
            " cascade another name, by which all are asked about again."
        )
    return Others(by, place, probabilities, labelled)


def _runs(answered: Answered, fragment: Fragment) -> Iterator[_Run]:
    if answered.folder:
        for key in answered.files.get(fragment.id, ()):
            numbers = asked_rows(answered.folder, [key])
            yield from _within(answered, answered.shards.get(key, -1), 0, numbers)
        return
    numbers = np.arange(fragment.start, fragment.start + fragment.rows)
    yield from _within(answered, fragment.shard.number, fragment.start, numbers)


def _within(answered: Answered, shard: int, first: int, numbers: Int64) -> Iterator[_Run]:
    """The runs of rows that are labelled, of those from `first` on of a shard of the label set;
    `numbers` says which rows of the pool they are."""
    for entry in answered.labels.entries.of_shard(shard):
        start = max(entry.start, first)
        stop = min(entry.start + entry.rows, first + len(numbers))
        if start < stop:
            chunk = Chunk(0, shard, start, stop - start)
            yield _Run(chunk, numbers[start - first : stop - first])
