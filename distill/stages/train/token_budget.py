"""Parts of a batch of texts that memory holds: as many rows, shortest first, as stay within a
budget of tokens once they are padded to the longest of them.

All parts of a batch make one step, whose loss is a mean over the whole batch, so a budget decides
what is computed at once and never what is learned, but for the last bits.

Shapes: B rows, L tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from distill.stages.train.combined_loss import Batch

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens a lane may give at once, padding counted."""

    tokens: int
    lanes: int  # lanes of a global batch
    padding: int  # what ends the rows of shorter texts

    def parts(self, batches: Sequence[Batch], lanes: int) -> list[list[Batch]]:
        """Cut one batch a dataset, of so many lanes, into parts; in each, rows of every dataset
        that are of like length, or none of it."""
        lengths = [_lengths(batch, self.padding) for batch in batches]
        sources = np.repeat(np.arange(len(batches)), [len(each) for each in lengths])
        numbers = np.concatenate([np.arange(len(each)) for each in lengths])
        joined = np.concatenate(lengths)
        # stable: rows of one length stay in order, the same on every machine
        order = np.argsort(joined, kind="stable")
        parts = []
        for rows in cut_by_length(joined[order], self.tokens * lanes):
            chosen = order[rows.start : rows.stop]
            longest = max(1, int(joined[chosen[-1]]))
            by_source = [numbers[chosen[sources[chosen] == each]] for each in range(len(batches))]
            pairs = zip(batches, by_source, strict=True)
            parts.append([_part(batch, chosen_rows, longest) for batch, chosen_rows in pairs])
        return parts


def cut_by_length(lengths: Rows, most_tokens: int) -> Iterator[range]:
    """Yield runs of rows, whose lengths rise, that stay within `most_tokens` once they are padded;
    a longer row is a run of its own."""
    start = 0
    for row, length in enumerate(lengths.tolist()):
        if row > start and (row + 1 - start) * length > most_tokens:
            yield range(start, row)
            start = row
    end = len(lengths)
    yield range(start, end)


def _lengths(batch: Batch, padding: int) -> Rows:
    lengths: Rows = (batch["features"] > padding).sum(dim=1).cpu().numpy()
    return lengths


def _part(batch: Batch, rows: Rows, longest: int) -> Batch:
    device = batch["row"].device
    on_cpu = torch.from_numpy(rows)
    chosen = on_cpu.to(device)
    part = {name: values.index_select(0, chosen) for name, values in batch.items()}
    part["features"] = part["features"][:, :longest].contiguous()
    return part
