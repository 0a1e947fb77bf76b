"""What models say of the tried rows, a task a model.

Shapes: R rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.engine.protocol import Engine
from distill.loader.dataset import Arrays
from distill.plan.audit.steps import Asked, Source
from distill.spec.outputs import Outputs
from distill.stages.audit.attacks import Signals, signals
from distill.stages.evaluate.predictions import forget_loaded, predictions_of

_CHUNK_ROWS = 8_192
TARGET = "target"


@dataclass(frozen=True)
class RowSignals:
    """What one model says of all rows that it is asked about."""

    signals: Signals
    usable: npt.NDArray[np.bool_]
    """Rows with a known target, readable features and an answer."""


@dataclass(frozen=True)
class Ask:
    """`ask(asked)` → what it says, by its name."""

    truth: Outputs

    def __call__(self, asked: Asked) -> Mapping[str, RowSignals]:
        parts = [self._part(asked, rows) for rows in _chunks(asked.sources)]
        # many shadows follow each other in one process
        forget_loaded()
        confidence = np.concatenate([part.signals.confidence for part in parts])
        loss = np.concatenate([part.signals.loss for part in parts])
        usable = np.concatenate([part.usable for part in parts])
        is_known = usable & np.isfinite(confidence) & np.isfinite(loss)
        return {asked.name: RowSignals(Signals(confidence, loss), is_known)}

    def _part(self, asked: Asked, rows: Arrays) -> RowSignals:
        predicted = predictions_of(asked.method, rows, self.truth)
        usable = rows[f"{TARGET}.weight"] > 0  # type: ignore[operator]
        own = f"{asked.method.key}.weight"
        if own in rows:
            usable = usable & (rows[own] > 0)  # type: ignore[operator]
        return RowSignals(signals(predicted, rows[f"{TARGET}.target"], self.truth), usable)


def _chunks(sources: Sequence[Source]) -> Iterator[Arrays]:
    """The rows that are asked about, chunk by chunk."""
    for source in sources:
        for chunk in source.dataset.chunks(_CHUNK_ROWS):
            wanted = None
            if source.rows is not None:
                numbers = source.dataset.row_numbers(chunk)
                wanted = np.isin(numbers, source.rows)
                if not wanted.any():
                    continue
            rows = source.dataset.load(chunk)
            if wanted is not None:
                rows = {name: values[wanted] for name, values in rows.items()}
            yield rows


def ask_all(engine: Engine, asked: Sequence[Asked], truth: Outputs) -> Mapping[str, RowSignals]:
    """Ask every model, and return what each says by its name."""
    if not asked:
        return {}
    return engine.fold("audit", Ask(truth), asked, _both, unit="models")


def _both(
    first: Mapping[str, RowSignals], second: Mapping[str, RowSignals]
) -> Mapping[str, RowSignals]:
    return {**first, **second}
