"""The stage `structure`: fit a structure by passes over rows, each a fold of the engine, and keep
what was fitted.

    state ◄ begin, or the last pass that is stored
    until it is done:   fold(partial, merge) over all chunks ► update ► store
    finish ► weights and done.json

A pass is the unit of work: one that was killed is gone over again from the state before it, and
gives the same state. Rows that the reader rejects (NaN, nulls, damage, or rejected by the label set
whose values they are) are left out and counted. Memory holds chunks and a statistic, whatever the
number of rows.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from distill.core.errors import PoolError
from distill.core.failpoints import reach
from distill.engine.device import current_device
from distill.engine.protocol import Engine
from distill.labelers.structure.base import FittedStructure, PassFit, State, Statistic
from distill.labelers.structure.kind import fit_of, fit_on
from distill.labelers.structure.labeler import StructureLabeler
from distill.labels.lease import make_once
from distill.loader.dataset import Dataset
from distill.loader.sampler import Chunk
from distill.models.record import ModelRecord, Trained, read_trained, weights_bytes, write_record
from distill.plan.structure_steps import StructureInputs, StructureStep
from distill.spec.outputs import Outputs
from distill.spec.students import MAIN
from distill.stages.structure.passes import Pass, keep_pass, last_pass
from distill.stages.structure.seen_rows import seen_rows
from distill.stages.structure.usable_rows import usable_rows
from distill.storage.base import Storage
from distill.storage.open import open_storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Gathered:
    """What a pass has of some rows."""

    statistic: Statistic
    rows: int  # rows that were usable


@dataclass(frozen=True)
class _Pass:
    """One pass over any chunks; what travels to the workers."""

    folder: str  # of the structure: which fit it is
    source: Dataset
    before: StructureLabeler
    fit: PassFit
    state: State

    def __call__(self, chunk: Chunk) -> _Gathered:
        reach("structure.chunk")
        read = partial(usable_rows, self.source, self.before, chunk)
        values, row = seen_rows.get(self.folder, chunk, read)
        fit = fit_on(self.fit, current_device())
        statistic = fit.partial(self.state, values, row)
        rows = len(row)
        return _Gathered(statistic, rows)

    def merge(self, first: _Gathered, second: _Gathered) -> _Gathered:
        """Return what it has of both's rows."""
        merged = self.fit.merge(first.statistic, second.statistic)
        return _Gathered(merged, first.rows + second.rows)


def fit_structure(step: StructureStep, engine: Engine) -> Trained:
    """Fit a structure by passes, unless it is done, or wait for another driver that does. Raises
    PoolError for rows that have no such structure, StorageError."""
    name = f"structure.{step.name}"
    if step.record is not None:
        return Trained(name, step.record, now=False)
    folder = open_storage(step.folder)
    find = partial(read_trained, folder, name)
    return make_once(folder, name, find, lambda: _fit(name, folder, step, engine))


def _fit(name: str, folder: Storage, step: StructureStep, engine: Engine) -> Trained:
    assert step.inputs is not None
    driver = _Driver(name, folder, step.inputs, engine)
    try:
        last = driver.last_pass()
    finally:
        seen_rows.forget()
    fitted = engine.call(partial(driver.fit.finish, last.state))
    record, content = driver.record(fitted, last.rows)
    return Trained(name, write_record(folder, record, content), now=True)


class _Driver:
    """One fit while it is under way."""

    def __init__(self, name: str, folder: Storage, inputs: StructureInputs, engine: Engine) -> None:
        self.name = name
        self.folder = folder
        self.inputs = inputs
        self.engine = engine
        self.fit = fit_of(inputs.model, inputs.seed, name)
        self.chunks: Sequence[Chunk] = inputs.dataset.chunks(inputs.most_rows)
        self.before = StructureLabeler(())
        if inputs.before is not None:
            self.before = StructureLabeler.load(inputs.before)

    def last_pass(self) -> Pass:
        """Go on from the last stored pass to the end; return the last one."""
        last = last_pass(self.folder)
        if last is None:
            first = self.fit.begin(self.inputs.width, self.inputs.dataset.rows)
            last = self._keep(first)
        elif not last.state.done:
            log.info("%s: goes on after %d stored passes", self.name, last.state.passes)
        while not last.state.done:
            last = self._keep(last.state)
        return last

    def _keep(self, state: State) -> Pass:
        """Go over all rows once, and store the pass."""
        done = keep_pass(self.folder, self._next(state))
        reach("structure.after_pass")
        return done

    def _next(self, state: State) -> Pass:
        begun = time.monotonic()
        number = state.passes + 1
        # one object, shipped once a pass: the state, and the structures below
        this_pass = _Pass(self.folder.uri, self.inputs.dataset, self.before, self.fit, state)
        gathered = self.engine.fold(
            f"{self.name}, pass {number} ({state.phase})",
            this_pass,
            self.chunks,
            this_pass.merge,
            unit="rows",
            size=lambda chunk: chunk.rows,
            gpus=self.inputs.gpus,
        )
        self._require_enough(gathered.rows)
        # by the engine, where BLAS has one thread: an update has the same bits on each
        new = self.engine.call(partial(self.fit.update, state, gathered.statistic))
        self._tell(new, gathered.rows, time.monotonic() - begun)
        return Pass(new, gathered.rows)

    def _require_enough(self, rows: int) -> None:
        """Refuse a structure that the usable rows are too few for, as `misfits` does for all."""
        dataset = self.inputs.dataset
        if not rows:
            raise PoolError(
                f"{self.name}: none of its {dataset.rows:,} rows can be used: each has nulls, NaN"
                " or damage. Mend the rows."
            )
        left_out = dataset.rows - rows
        for problem in self.inputs.model.misfits(self.inputs.width, rows):
            raise PoolError(
                f"{self.name}.model.{problem} Of {dataset.rows:,} rows {left_out:,} could not be"
                " used and were left out."
            )

    def _tell(self, state: State, rows: int, seconds: float) -> None:
        measure = dict(state.measures[-1])
        phase = measure.pop("phase")
        numbers = [
            f"{key} {value:.6g}"
            for key, value in measure.items()
            if key != "rows" and isinstance(value, float)
        ]
        left_out = self.inputs.dataset.rows - rows
        if left_out:
            numbers.append(f"{left_out:,} rows left out")
        log.info(
            "%s: pass %d (%s): %s rows, %s rows/s%s",
            self.name,
            state.passes,
            phase,
            f"{rows:,}",
            f"{rows / max(seconds, 1e-9):,.0f}",
            "".join(f", {each}" for each in numbers),
        )

    def record(self, fitted: FittedStructure, rows: int) -> tuple[ModelRecord, bytes]:
        """Return the record of what was fitted on so many usable rows, and its weights."""
        content = weights_bytes(fitted.arrays)
        model = self.inputs.model
        gives = model.output(model.features)
        left_out = self.inputs.dataset.rows - rows
        record = ModelRecord(
            name=self.name.partition(".")[2],
            digest=self.folder.uri.rsplit("/", 1)[1],
            form="structure",
            in_features=self.inputs.width,
            heads={MAIN: Outputs("value")},
            widths={MAIN: gives.width},
            sha256=hashlib.sha256(content).hexdigest(),
            parameters=sum(values.size for values in fitted.arrays.values()),
            plan=dict(fitted.plain),
            taught_by=self.inputs.taught_by,
            details={"kind": model.kind, "rows": [rows], "left_out": left_out},
        )
        return record, content
