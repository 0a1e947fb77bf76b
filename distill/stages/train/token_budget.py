"""Parts of a batch of texts that memory holds: as many rows, shortest first, as stay within a
budget of tokens once they are padded to the longest of them; on a CPU, fewer where more would be
padded than another part costs.

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
from torch import nn

from distill.stages.train.combined_loss import Batch
from distill.stages.train.table_rows import RowTable

Rows = npt.NDArray[np.int64]
# padding that costs on a CPU about as much as a pass over the weights that compute it: of MiniLM, a
# part of one word takes 27 ms, and a token 0.78
_PASS_TOKENS = 30
# weights whose pass costs about as much as a part's calls
_CALL_NUMBERS = 1 << 20


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens a lane may give at once, padding counted."""

    tokens: int
    lanes: int  # lanes of a global batch
    padding: int  # what ends the rows of shorter texts
    most_padding: int | None = None  # tokens of it in a part

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
        for rows in cut_by_length(joined[order], self.tokens * lanes, self.most_padding):
            chosen = order[rows.start : rows.stop]
            longest = max(1, int(joined[chosen[-1]]))
            by_source = [numbers[chosen[sources[chosen] == each]] for each in range(len(batches))]
            pairs = zip(batches, by_source, strict=True)
            parts.append([_part(batch, chosen_rows, longest) for batch, chosen_rows in pairs])
        return parts


def part_padding(network: nn.Module, device: str) -> int | None:
    """Return the tokens of padding that cost as much as another part, which writes the gradient of
    all weights again but those of tables (`give_rows`); None where no padding does. It depends on the
    network's shapes alone, so that all workers cut alike, and whoever resumes."""
    if device.partition(":")[0] != "cpu":
        return None
    kinds = (nn.Embedding, nn.EmbeddingBag, RowTable)
    tables = {each.weight for each in network.modules() if isinstance(each, kinds)}
    computing = sum(each.numel() for each in {*network.parameters()} - tables)
    if not computing:
        return None
    return _PASS_TOKENS * (computing + _CALL_NUMBERS) // computing


def give_rows(network: nn.Module) -> None:
    """Let transformers' tables of words give their gradient as the rows that a part's texts have.
    Written whole, that of 30,522 words takes 26 ms a part, as long as all other weights of MiniLM."""
    for each in network.modules():
        words = getattr(each, "get_input_embeddings", lambda: None)()
        if isinstance(words, nn.Embedding):
            words.sparse = True


def cut_by_length(
    lengths: Rows, most_tokens: int, most_padding: int | None = None
) -> Iterator[range]:
    """Yield runs of rows, whose lengths rise, that stay within `most_tokens` once they are padded,
    and within `most_padding` of these; a longer row is a run of its own."""
    start = 0
    tokens = 0
    for row, length in enumerate(lengths.tolist()):
        padded = (row + 1 - start) * length
        padding = padded - tokens - length
        is_over = most_padding is not None and padding > most_padding
        if row > start and (padded > most_tokens or is_over):
            yield range(start, row)
            start = row
            tokens = 0
        tokens += length
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
