"""One labeler actor's work on one fragment: read ► prepare ► infer ► encode ► write ► commit. It
knows no scheduler.

Where rows are read (here or in a task on the cluster) is the engine's affair: they come as a stream
of chunks, whole batches each, and `inference` predicts them batch by batch. Torch works on one
thread, BLAS on as many as `compute.cpus` (the engine sets it), so more actors use more cores. So
labels are the same bytes on any number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from distill.core.errors import ContractError, StorageError
from distill.core.events import this_worker
from distill.core.source import user_errors
from distill.engine.protocol import Stream, stream_here
from distill.labelers.base import Predictions
from distill.labelers.versions import library_versions
from distill.labels.commit import Commit, Provenance
from distill.labels.contract import Contract
from distill.labels.encoding import encode
from distill.labels.files import with_keys
from distill.labels.written import WrittenRows, commit_written, find_written, first_rows
from distill.loader.merged_values import StoredValues
from distill.pools.formats.base import Rejected
from distill.pools.formats.open import format_named
from distill.pools.formats.selection import SelectionShard
from distill.spec.pools import Features
from distill.stages.label.deadly_rows import DeadlyRows, deadly_rows
from distill.stages.label.failures import RowFailure, error_text
from distill.stages.label.fragment_place import FragmentPlace
from distill.stages.label.fragment_rows import FragmentRows
from distill.stages.label.inference import InferenceBatch, InferenceLoop, joined
from distill.stages.label.intent import unlabelled_intent
from distill.stages.label.messages import (
    Failure,
    FragmentResult,
    FragmentTask,
    LabelConfig,
    PoolPart,
)
from distill.stages.label.noisy_fragment import NoisyFragments
from distill.stages.label.prefetch import prefetch
from distill.stages.label.rejects import rejected_rows
from distill.stages.label.row_reader import RowRequest, read_chunks
from distill.stages.label.work_clock import WorkClock
from distill.storage.open import open_storage

_Written = tuple[pa.Table, Rejected]


class LabelWorker:
    """Built once an actor; called once a fragment.

    Where the engine allows no threads (`stream.threads`), the labels are the same and the user's
    code runs where the worker is called."""

    def __init__(self, config: LabelConfig, device: str, stream: Stream = stream_here) -> None:
        self.config = config
        self.device = device
        self.stream = stream
        self.clock = WorkClock()
        with self.clock.building():
            self.inference = InferenceLoop(
                config.recipe,
                config.contract,
                device,
                threads=stream.threads,
                repeat="refused" if config.strict else "told",
                once=self.clock.once,
                companions=config.companions,
            )
        # one run is encoded while the next one is on the device
        self._prefetch_predictions = 1 if stream.threads else 0
        self._versions = library_versions(config.recipe)

    def __call__(self, plain: dict[str, Any]) -> dict[str, Any]:
        task = FragmentTask.from_plain(plain)
        try:
            result = self.label(task)
        except user_errors() as error:  # told with the fragment, so that the policy decides
            failure = _failure(task, error)
            result = FragmentResult(task.pool, task.intent.fragment, failure=failure)
        busy_seconds = self.inference.busy.take_seconds()
        return replace(result, worker=this_worker(), busy_seconds=busy_seconds).to_plain()

    def label(self, task: FragmentTask) -> FragmentResult:
        """Label and commit one fragment.

        Raises RowFailure where the labeler raised, DistillError where storage or the pool fail."""
        build_error = self.inference.build_error
        if build_error:
            where = "the labeler's own making, before any row"
            failure = Failure(where, "unbuilt", build_error)
            return FragmentResult(task.pool, task.intent.fragment, failure=failure)
        pools = self.config.pools
        part = pools[task.pool]
        folder = open_storage(part.folder)
        contract = part.own(self.config.contract)
        intent, commit = unlabelled_intent(folder, task.intent)
        was_there = commit is not None
        was_written = False
        taken: tuple[str, ...] = ()
        along: dict[str, Commit] = {}
        with (
            deadly_rows(f"{task.pool}/{intent.fragment}", intent.start) as deadly,
            self.clock.working() as clock,
        ):
            if commit is None:
                own = replace(task, intent=intent)
                place = FragmentPlace(folder, own, contract, self._provenance(part))
                found = []
                # a task is given out again where its process died, maybe with its data written
                if task.may_be_written or deadly:
                    only = place.provenance.made_on if self.config.strict else None
                    found = find_written(folder, intent, contract, part.label_set, made_on=only)
                commit = commit_written(folder, intent, contract, found)
                was_written = commit is not None
            if commit is None:
                rows = self._begun(place, found)
                was_written = rows.count == intent.rows
                taken = _taken(task, rows)
                # what a killed process did would make the others look cheap
                work = clock.drop if rows.count else clock.take
                written = self._labels(own, rows, deadly)
                # first, so that a fragment that is committed was committed for all
                along = self._commit_companions(task, written[1:])
                commit = place.commit(*written[0], work, rows.attempt)
        notes = taken + self.inference.take_notes()
        if deadly:
            notes += _named(task, deadly)
        return FragmentResult(
            task.pool,
            intent.fragment,
            commit,
            notes=notes,
            was_there=was_there,
            was_written=was_written,
            companions=along,
        )

    def _commit_companions(
        self, task: FragmentTask, written: Sequence[_Written]
    ) -> dict[str, Commit]:
        """Commit a fragment of the label sets that are written along, unless it is there."""
        commits = {}
        for config, (labels, rejected) in zip(self.config.companions, written, strict=True):
            part = config.pools[task.pool]
            folder = open_storage(part.folder)
            first = replace(task.intent, generation=0, replaces=None)
            intent, commit = unlabelled_intent(folder, first)
            # what is there already, the driver knows or finds
            if commit is None:
                provenance = Provenance(part.label_set, self.device, self._versions)
                own = replace(task, intent=intent)
                place = FragmentPlace(folder, own, part.own(config.contract), provenance)
                commits[config.name] = place.commit(labels, rejected)
        return commits

    def _begun(self, place: FragmentPlace, found: Sequence[WrittenRows]) -> FragmentRows:
        """Return the first rows of a fragment, as far as they were written ahead."""
        # votes have a journal of their own, and what several label sets share is a network's pass
        if self.config.asked is not None or self.config.companions:
            return FragmentRows()
        first = first_rows(found, place.task.intent, place.provenance.made_on)
        part = self.config.pools[place.task.pool]
        are_dear = format_named(part.format) is SelectionShard
        return FragmentRows(*first, place.write if are_dear else None)

    def _provenance(self, part: PoolPart) -> Provenance:
        """Return what the commit records. Raises ContractError where the labels must be made on
        another device or by other libraries."""
        provenance = Provenance(part.label_set, self.device, self._versions)
        if part.made_on is not None and part.made_on != provenance.made_on:
            raise ContractError(
                f"labels.{self.config.name}: what is stored was made on {part.made_on!r},"
                f" this actor works on {provenance.made_on!r},"
                ' which deterministic = "strict" refuses before anything is labelled.'
                " Go back to that device and those libraries."
            )
        return provenance

    def _request(self, task: FragmentTask, labelled: int = 0) -> RowRequest:
        """Ask for the rows of a fragment after those that are `labelled`."""
        contract = self.config.contract
        pools = self.config.pools
        part = pools[task.pool]
        intent = task.intent
        rows = range(intent.start + labelled, intent.start + intent.rows)
        features: Features | StoredValues = self.config.features
        if part.values is not None:
            features = part.values.within(intent.shard, rows)
        return RowRequest(
            part.files,
            task.key,
            intent.shard_id,
            rows.start,
            len(rows),
            features=features,
            width=self.config.width,
            batch_rows=contract.batch_rows,
            format=part.format,
            keys=contract.keys,
            shard=intent.shard,
        )

    def _labels(
        self, task: FragmentTask, rows: FragmentRows, deadly: DeadlyRows | None
    ) -> list[_Written]:
        """Return keys and labels of all rows, and which rows have none, of this label set and of
        each that is written along; `rows` are those that are labelled already."""
        if rows.count == task.intent.rows:
            return [rows.whole()]
        # memory holds some chunks of rows and a run's logits
        request = self._request(task, rows.count)
        if self.config.asked is not None:
            noisy = NoisyFragments(self.config.asked, self.config.contract, self.inference)
            with closing(self.stream(read_chunks, request)) as chunks:
                return [noisy.label(task.intent, chunks, deadly)]
        contracts = [self.config.contract, *(each.contract for each in self.config.companions)]
        labelled = [rows, *(FragmentRows() for _ in self.config.companions)]
        predict = partial(self.inference.predict, first_row=rows.count)
        one_by_one = rows.write is not None
        ahead = 0 if deadly or one_by_one else self._prefetch_predictions
        with (
            rows,
            closing(self.stream(read_chunks, request)) as chunks,
            closing(predict(chunks, deadly, task.ask_again, one_by_one=one_by_one)) as predicted,
            closing(prefetch(predicted, ahead)) as predicted_ahead,
        ):
            for batch, predictions in map(joined, predicted_ahead):
                answers = (predictions, *batch.companions)
                for taken, contract, answer in zip(labelled, contracts, answers, strict=True):
                    labels, rejected = _encode(batch, answer, contract)
                    taken.add(with_keys(labels, batch.keys, contract), rejected)
        return [taken.whole() for taken in labelled]


def _encode(batch: InferenceBatch, predictions: Predictions, contract: Contract) -> _Written:
    """Return a batch's labels, and which of its rows have none."""
    outputs, disagreement = predictions
    rejected = rejected_rows(outputs, contract, batch.rejected)
    for seen in batch.view_outputs:
        # a row whose answer to one view cannot be stored has none: its epochs would be fewer
        rejected = rejected_rows(seen, contract, rejected)
    labelled = np.ones(len(outputs), bool)
    rows = list(rejected)
    labelled[rows] = False
    return encode(outputs, labelled, contract, disagreement, batch.view_outputs), rejected


def _taken(task: FragmentTask, rows: FragmentRows) -> tuple[str, ...]:
    total = task.intent.rows
    if not 0 < rows.count < total:
        return ()
    return (
        f"{task.key}, from row {task.intent.start}: a run that did not end wrote {rows.count} of"
        f" {total} rows; the labeler is not asked about them again",
    )


def _named(task: FragmentTask, deadly: DeadlyRows) -> tuple[str, ...]:
    return tuple(
        f"its process died on {task.key}, {row}, again and again; it is rejected"
        for row in deadly.rejected
    )


def _failure(task: FragmentTask, error: BaseException) -> Failure:
    if isinstance(error, RowFailure):
        start = task.intent.start
        row = start + error.row
        return Failure(f"{task.key}, row {row}", error.signature, error.trace)
    text = error_text(error)
    # a bad file is one fragment's trouble; a store that fails is everybody's
    signature = "StorageError" if isinstance(error, StorageError) else text
    return Failure(task.key, signature, text)
