"""`metrics.jsonl` beside a model: a line an epoch, for whoever draws curves or reads along while it
trains.

    {"epoch": 3, "step": 24, "loss": …, "terms": [mean of each], "weights": [λ of each],
     "known": [share of each term's rows with weight], "learning_rate": …, "rows_per_second": …,
     "seconds": …, "held_out": …, "better": true}

The lines are the history that checkpoints hold, so that of a resumed training is whole. `weights`
and `learning_rate` are those of the epoch's last step; `seconds` are those of its steps since it
began, or went on after a restart, without measuring; `rows_per_second` are rows of batches in that
time, over all workers, padding included.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from distill.models.files import METRICS
from distill.storage.base import Storage


class Pace:
    """A stopwatch for the steps of one epoch."""

    def __init__(self, batch_rows: int) -> None:
        self.batch_rows = batch_rows
        self._steps = 0
        self._began = time.monotonic()

    def restart(self) -> None:
        """Begin an epoch."""
        self._steps = 0
        self._began = time.monotonic()

    def count_step(self) -> None:
        """Count one step."""
        self._steps += 1

    def numbers(self) -> dict[str, float]:
        """Return the pace since the epoch began, as `metrics.jsonl` has it."""
        now = time.monotonic()
        seconds = now - self._began
        rows = self._steps * self.batch_rows
        rate = rows / max(seconds, 1e-9)
        return {"rows_per_second": round(rate, 1), "seconds": round(seconds, 3)}


def write_metrics(folder: Storage, history: Sequence[Mapping[str, Any]]) -> None:
    """Write the file as it is now."""
    lines = [json.dumps(each, ensure_ascii=False, allow_nan=False) for each in history]
    text = "".join(f"{line}\n" for line in lines)
    # a store cannot append, so the whole of it: one small put with each checkpoint
    content = text.encode()
    folder.put(METRICS, content)
