"""One labeler actor's work on one fragment: read ► prepare ► infer ► encode ► write ► commit. It
knows no scheduler.

Where rows are prepared (here or in a task on the cluster) is the engine's affair: they come as a
stream of pieces, whole batches each, and `asking` has the labeler's word on them, batch by batch.
Torch works on one thread, BLAS on as many as `compute.cpus` (Ray sets it), so more actors use more
cores. So labels are the same bytes on any number of workers.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from distill.core.errors import ContractError, StorageError
from distill.engine.protocol import Stream, stream_here
from distill.labelers.base import Predictions
from distill.labelers.versions import library_versions
from distill.labels.commit import Commit, Provenance, WriteIntent, write_fragment
from distill.labels.encoding import encode, storable
from distill.labels.files import with_keys
from distill.stages.label.failures import RowFailure, error_text
from distill.stages.label.inference import InferenceBatch, InferenceLoop
from distill.stages.label.messages import Failure, FragmentResult, FragmentTask, LabelConfig
from distill.stages.label.prefetch import ahead
from distill.stages.label.row_reader import RowRequest, read_chunks
from distill.storage.base import ObjectMissingError, Storage
from distill.storage.open import open_storage

Rejected = dict[int, tuple[str, str]]
"""Offset of a row within its fragment → reason code and message."""

_NOT_STORABLE = "the labeler's answer is NaN, infinite or too large for the encoding"


class LabelWorker:
    """Built once an actor; called once a fragment."""

    def __init__(self, assignment: LabelConfig, device: str, stream: Stream = stream_here) -> None:
        self.assignment, self.device, self.stream = assignment, device, stream
        self.asker = InferenceLoop(assignment.recipe, assignment.contract, device)
        self._versions = library_versions(assignment.recipe)

    def __call__(self, plain: dict[str, Any]) -> dict[str, Any]:
        task = FragmentTask.from_plain(plain)
        try:
            outcome = self.label(task)
        except Exception as error:  # noqa: BLE001  told with the fragment, so that the policy decides
            outcome = FragmentResult(task.pool, task.claim.fragment, failure=_failure(task, error))
        return outcome.to_plain()

    def label(self, task: FragmentTask) -> FragmentResult:
        """Label and commit one fragment. Raises Blame where the labeler raised, DistillError where
        storage or the pool fail."""
        told, part = self.assignment, self.assignment.pools[task.pool]
        if self.asker.unbuilt:
            unbuilt = Failure(
                "the labeler's own making, before any row", "unbuilt", self.asker.unbuilt
            )
            return FragmentResult(task.pool, task.claim.fragment, failure=unbuilt)
        folder = open_storage(part.folder)
        claim, there = _settled(folder, task.claim)
        if there is not None:
            return FragmentResult(task.pool, claim.fragment, there)
        origin = Provenance(part.label_set, self.device, self._versions)
        if part.made_on is not None and part.made_on != origin.made_on:
            raise ContractError(
                f"labels.{told.name}: what is stored was made on {part.made_on!r}, this actor works"
                f" on {origin.made_on!r}, which "
                f'deterministic = "strict" refuses before anything is labelled. Go back to that'
                f" device and those libraries."
            )
        labels, rejected = self._labels(self._request(task))
        rejects = [
            {"shard": task.key, "row": claim.start + row, "reason": code, "message": said}
            for row, (code, said) in sorted(rejected.items())
        ]
        commit = write_fragment(
            folder, claim, labels, rejects=rejects, contract=told.contract, provenance=origin
        )
        return FragmentResult(task.pool, claim.fragment, commit)

    def _request(self, task: FragmentTask) -> RowRequest:
        told, part = self.assignment, self.assignment.pools[task.pool]
        return RowRequest(
            part.files,
            task.key,
            task.claim.shard_id,
            task.claim.start,
            task.claim.rows,
            features=told.features,
            width=told.width,
            batch_rows=told.contract.batch_rows,
            format=part.format,
            keys=told.contract.keys,
        )

    def _labels(self, request: RowRequest) -> tuple[pa.Table, Rejected]:
        """Keys and labels of all rows, and which rows have none; memory holds some pieces of rows
        and a batch of logits."""
        tables: list[pa.Table] = []
        rejected: Rejected = {}
        with (
            closing(self.stream(read_chunks, request)) as pieces,
            closing(self.asker.answers(pieces)) as asking,
            closing(ahead(asking, 1)) as answered,
        ):
            for question, answers in answered:
                labels, refused = self._encode(question, answers)
                rejected |= {question.first + row: said for row, said in refused.items()}
                tables.append(with_keys(labels, question.keys, self.assignment.contract))
        return pa.concat_tables(tables).combine_chunks(), rejected

    def _encode(self, question: InferenceBatch, answers: Predictions) -> tuple[pa.Table, Rejected]:
        """A batch's labels, and which of its rows have none: those that could not be read before
        those whose answer is refused."""
        contract, refused = self.assignment.contract, question.rejected
        labelled = storable(answers.outputs, contract)
        rejected = {
            int(row): ("output", _NOT_STORABLE) for row in np.flatnonzero(~labelled)
        } | refused
        labelled[list(refused)] = False
        return encode(answers.outputs, labelled, contract, answers.disagreement), rejected


def _settled(folder: Storage, claim: WriteIntent) -> tuple[WriteIntent, Commit | None]:
    """The claim to make, or the commit that there is already: a fragment is given out again where
    its actor died after the commit."""
    while (content := folder.read_or_none(claim.key)) is not None:
        commit = Commit.from_bytes(content, folder.url(claim.key))
        try:
            if folder.entry(commit.data).size_bytes == commit.bytes:
                return claim, commit
        except ObjectMissingError:
            pass
        claim = replace(claim, generation=commit.generation + 1, replaces=commit.sha256)
    return claim, None


def _failure(task: FragmentTask, error: Exception) -> Failure:
    if isinstance(error, RowFailure):
        return Failure(
            f"{task.key}, row {task.claim.start + error.row}", error.signature, error.trace
        )
    said = error_text(error)
    # a bad file is one fragment's trouble; a store that fails is everybody's
    return Failure(task.key, "StorageError" if isinstance(error, StorageError) else said, said)
