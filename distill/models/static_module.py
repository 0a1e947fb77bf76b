"""The torch module of a `static` network: tokens (B, L), padded by -1, to the weighted mean of their
vectors (B, H); zeros for a text without tokens.

With the weights it keeps the tokenizer as bytes, as an encoder does.

Shapes: B texts, L tokens of a text, N tokens of all texts, V tokens that are known, H numbers of a
vector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own habit

from distill.models.encoder_module import FILES, as_bytes, build_above, from_bytes
from distill.models.files import local_model
from distill.models.static_table import TokenTable, read_token_table
from distill.models.text_tokens import ModelTokens
from distill.spec.networks import BuiltNetwork, NetworkInput

if TYPE_CHECKING:
    from distill.models.networks.static import StaticNetwork


class StaticModule(nn.Module):
    """Token vectors and their weights, and what stands on top."""

    def __init__(self, found: TokenTable, table: StaticNetwork, above: nn.Module | None) -> None:
        super().__init__()
        vectors = torch.from_numpy(found.vectors)
        self.vectors = nn.Parameter(vectors, requires_grad=not table.freeze)
        self.weights = nn.Parameter(torch.from_numpy(found.weights))
        self.normalize = table.normalize
        self.text_files = found.files
        self.tokens = ModelTokens(found.files, table.max_tokens, "static")
        self.register_buffer(FILES, as_bytes(found.files))
        self.above = above

    def forward(self, ids_BL: Tensor) -> Tensor:
        # what is exported has no bags, whose number of tokens no graph knows
        mean_BH = self._masked(ids_BL) if torch.compiler.is_compiling() else self._bags(ids_BL)
        if self.normalize:
            mean_BH = F.normalize(mean_BH, dim=1)
        return mean_BH if self.above is None else self.above(mean_BH)

    def _bags(self, ids_BL: Tensor) -> Tensor:
        """The mean without a look at padding."""
        is_token_BL = ids_BL >= 0
        ids_N = ids_BL[is_token_BL].long()
        count_B = is_token_BL.sum(1)
        first_B = count_B.cumsum(0) - count_B
        total_BH = F.embedding_bag(
            ids_N, self.vectors, first_B, mode="sum", per_sample_weights=self.weights[ids_N]
        )
        return total_BH / count_B.clamp_min(1)[:, None]

    def _masked(self, ids_BL: Tensor) -> Tensor:
        """The same by a mask."""
        is_token_BL = ids_BL >= 0
        ids_BL = torch.where(is_token_BL, ids_BL, 0).long()
        weight_BL = torch.where(is_token_BL, self.weights[ids_BL], 0.0)
        total_BH = (F.embedding(ids_BL, self.vectors) * weight_BL[:, :, None]).sum(1)
        return total_BH / is_token_BL.sum(1).clamp_min(1)[:, None]


def build_static(table: StaticNetwork, given: NetworkInput) -> BuiltNetwork:
    """Build the module, from the model's files or for weights that are stored. Raises JobError."""
    if given.stored is None:
        found = read_token_table(local_model(table.files), given.key)
    else:
        vectors = np.zeros(tuple(given.stored["vectors"].shape), np.float32)
        weights = np.zeros(len(vectors), np.float32)
        found = TokenTable(vectors, weights, from_bytes(given.stored[FILES]))
    above, width = build_above(table, found.vectors.shape[1], given)
    return BuiltNetwork(StaticModule(found, table, above), width)
