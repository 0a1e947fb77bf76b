"""One labeler actor's work on one fragment: read ► prepare ► infer ► encode ► write ► commit. It knows no scheduler.

Two fragments may be in work at once, one reading or writing while the other holds the device.

Batches are cut from the fragment's start at a fixed size, bad rows included (as zeros), so that the same rows always meet in the same
batch and the labels are the same bytes on any number of workers.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.errors import DistillError, StorageError
from distill.label.blame import Blame, blame, own_lines
from distill.label.task import Assignment, Failure, FragmentTask, Outcome
from distill.labelers import build_labeler
from distill.labels import Origin, encode, storable, write_fragment
from distill.pool import Rows, decode_features, read_rows
from distill.storage import open_storage

Matrix = npt.NDArray[np.float32]


class LabelWorker:
    """Built once an actor; called once a fragment."""

    def __init__(self, assignment: Assignment, device: str) -> None:
        self.assignment, self.device = assignment, device
        self._device_free = Lock()
        self._unbuilt: Failure | None = None
        try:
            self.labeler = build_labeler(assignment.recipe, device)
        except Exception as error:  # noqa: BLE001  the user's own; told with each fragment, so that the policy decides
            self._unbuilt = Failure("the labeler's own making, before any row", "unbuilt", own_lines(error))

    def __call__(self, plain: dict[str, Any]) -> dict[str, Any]:
        task = FragmentTask.from_plain(plain)
        try:
            outcome = (
                Outcome(task.pool, task.claim.fragment, failure=self._unbuilt) if self._unbuilt else self.label(task)
            )
        except Blame as found:
            failure = Failure(f"{task.key}, row {task.claim.start + found.row}", found.signature, found.trace)
            outcome = Outcome(task.pool, task.claim.fragment, failure=failure)
        except DistillError as error:
            said = f"{type(error).__name__}: {error}"
            # a bad file is one fragment's trouble; a store that fails is everybody's
            failure = Failure(task.key, "StorageError" if isinstance(error, StorageError) else said, said)
            outcome = Outcome(task.pool, task.claim.fragment, failure=failure)
        return outcome.to_plain()

    def label(self, task: FragmentTask) -> Outcome:
        """Label and commit one fragment. Raises Blame where the labeler raised, DistillError where storage or the pool fail."""
        claim, told = task.claim, self.assignment
        part = told.pools[task.pool]
        began = time.perf_counter()
        table = read_rows(
            open_storage(part.files), task.key, range(claim.start, claim.start + claim.rows), told.features.columns
        )
        rows = decode_features(table, told.features, told.width)
        read = time.perf_counter()
        with self._device_free:
            outputs = self._infer(rows)
        inferred = time.perf_counter()
        rejected = self._rejected(rows, outputs)
        labelled = np.ones(claim.rows, np.bool_)
        labelled[list(rejected)] = False
        labels = encode(outputs, labelled, told.contract)
        rejects = [
            {"shard": task.key, "row": claim.start + row, "reason": code, "message": said}
            for row, (code, said) in sorted(rejected.items())
        ]
        origin = Origin(part.label_set, self.device, dict(told.versions))
        commit = write_fragment(
            open_storage(part.folder), claim, labels, rejects=rejects, contract=told.contract, origin=origin
        )
        seconds = {"read": read - began, "infer": inferred - read, "write": time.perf_counter() - inferred}
        return Outcome(task.pool, claim.fragment, commit, seconds=seconds)

    def _infer(self, rows: Rows) -> Matrix:
        size, contract = self.assignment.contract.batch_rows, self.assignment.contract
        features = rows.values.astype(np.float32, copy=False)
        outputs = np.empty((len(features), contract.width), np.float32)
        for start in range(0, len(features), size):
            batch = features[start : start + size]
            try:
                outputs[start : start + size] = self._checked(self.labeler.label(batch), len(batch))
            except Exception as error:
                raise blame(error, self.labeler, batch, start) from error
        return outputs

    def _checked(self, answered: Matrix, rows: int) -> Matrix:
        """The answer as (B, width); (B,) stands for (B, 1). Never reshaped otherwise: a transposed answer has as many numbers."""
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and its row is rejected
            made = np.asarray(answered, np.float32)
        wanted = (rows, self.assignment.contract.width)
        if (*made.shape, 1)[:2] != wanted or made.ndim > 2:
            raise ValueError(f"label() answered with shape {made.shape} for {rows} rows, where {wanted} is due")
        return made.reshape(wanted)

    def _rejected(self, rows: Rows, outputs: Matrix) -> dict[int, tuple[str, str]]:
        said = {
            int(row): ("output", "the labeler's answer is NaN, infinite or too large for the encoding")
            for row in np.flatnonzero(~storable(outputs, self.assignment.contract))
        }
        return {**said, **rows.rejected}
