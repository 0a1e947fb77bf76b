"""The torch module of an `encoder`: tokens (B, L), padded by -1, to what the heads see (B, H).

Padding is cut off to the longest text of the batch and masked, so it never changes an answer. What
no answer is asked of again, it computes in parts of texts of about one length: a batch of texts of
all lengths would take the memory, and the time, of as many of the longest.

With the weights it keeps the model's configuration and tokenizer as bytes, so that what is stored
of a student is the whole of it.

Shapes: B texts, L tokens, H numbers of a state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own habit

from distill.core.errors import JobError
from distill.models.encoder_body import (
    Body,
    answer_of,
    empty_body,
    frozen_modules,
    pretrained_body,
)
from distill.models.encoder_files import pad_token
from distill.models.files import local_model
from distill.models.text_files import TextFiles
from distill.models.text_tokens import ModelTokens
from distill.spec.networks import BuiltNetwork, NetworkInput

if TYPE_CHECKING:
    from distill.models.networks.encoder import EncoderNetwork
    from distill.models.networks.pretrained import PretrainedNetwork

FILES = "files"
"""The buffer that has the model's text files."""
_TOKENS_AT_ONCE = 16_384
"""Rows times the longest row's tokens: enough to fill a GPU, and far from its memory."""


class EncoderModule(nn.Module):
    """A transformer, and the pooling of its states."""

    def __init__(self, body: Body, table: EncoderNetwork, above: nn.Module | None) -> None:
        super().__init__()
        self.body = body.model
        self.above = above
        self.pooling = table.pooling
        self.normalize = table.normalize
        self.head = body.head
        """The name of the classifier's last layer, which the heads stand for."""
        self.head_has_bias = body.has_bias
        self.pad = pad_token(body.files)
        self.text_files = body.files
        self.tokens = ModelTokens(body.files, table.max_tokens, "encoder", table.long_texts)
        self.register_buffer(FILES, as_bytes(body.files))
        self._frozen = frozen_modules(body, table.freeze)
        self._freeze(body)

    def forward(self, ids_BL: Tensor) -> Tensor:
        is_fixed = torch.compiler.is_compiling()
        if not is_fixed:
            ids_BL = without_padding(ids_BL)
        if is_fixed or torch.is_grad_enabled() or ids_BL.numel() <= _TOKENS_AT_ONCE:
            pooled_BH = self._pooled(ids_BL)
        else:
            pooled_BH = self._in_parts(ids_BL)
        return pooled_BH if self.above is None else self.above(pooled_BH)

    def train(self, mode: bool = True) -> EncoderModule:
        """Set training or evaluation; what is frozen draws no dropout."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def _freeze(self, body: Body) -> None:
        # what was drawn here is taught, whatever stays of the rest
        drawn = {id(body.model.get_parameter(name)) for name in _parameters(body)}
        for module in self._frozen:
            for parameter in module.parameters():
                parameter.requires_grad_(id(parameter) in drawn)

    def _in_parts(self, ids_BL: Tensor) -> Tensor:
        parts = []
        order = []
        for rows in _parts_by_length(ids_BL):
            parts.append(self._pooled(without_padding(ids_BL[rows])))
            order.append(rows)
        answers = torch.cat(parts)
        places = torch.cat(order)
        return torch.empty_like(answers).index_copy_(0, places, answers)

    def _pooled(self, ids_BL: Tensor) -> Tensor:
        mask_BL = ids_BL >= 0
        ids_BL = torch.where(mask_BL, ids_BL, self.pad).long()
        # a row without a token, as padded rows are, has one that pads: there is no mean of nothing
        first_B1 = torch.ones_like(mask_BL[:, :1])
        mask_BL = torch.cat([first_B1, mask_BL[:, 1:]], dim=1)
        answer = answer_of(self.body, ids_BL, mask_BL.long())
        pooled_BH = answer if self.pooling == "cls" else self._states_pooled(answer, mask_BL)
        return F.normalize(pooled_BH, dim=1) if self.normalize else pooled_BH

    def _states_pooled(self, states_BLH: Tensor, mask_BL: Tensor) -> Tensor:
        if self.pooling == "last":
            # gathered, since a graph that counts rows is one of so many rows
            last_B11 = (mask_BL.sum(1) - 1)[:, None, None]
            index_B1H = last_B11.expand(-1, 1, states_BLH.shape[2])
            return states_BLH.gather(1, index_B1H)[:, 0]
        weight_BL1 = mask_BL[:, :, None].to(states_BLH.dtype)
        return (states_BLH * weight_BL1).sum(1) / weight_BL1.sum(1)


def build_encoder(table: EncoderNetwork, given: NetworkInput) -> BuiltNetwork:
    """Build the module, from the model's files or for weights that are stored. Raises JobError."""
    if given.stored is None:
        body = pretrained_body(local_model(table.files), table, given.key)
    else:
        files = from_bytes(given.stored[FILES])
        body = empty_body(files, table.pooling)
    above, width = build_above(table, body.width, given)
    module = EncoderModule(body, table, above)
    _require_positions(module, given.key)
    return BuiltNetwork(module, width)


def build_above(
    table: PretrainedNetwork, width: int, given: NetworkInput
) -> tuple[nn.Module | None, int]:
    """Build what stands on top of the pretrained part, and return what the heads see. Raises
    JobError."""
    if table.above is None:
        return None, width
    built = table.above.build(NetworkInput(width, f"{given.key}.above"))
    return built.module, built.width


def without_padding(ids_BL: Tensor) -> Tensor:
    """Return tokens up to the longest text's last; at least one column."""
    longest = int((ids_BL >= 0).sum(1).max()) if len(ids_BL) else 1
    return ids_BL[:, : max(1, longest)]


def as_bytes(files: TextFiles) -> Tensor:
    """Return text files as numbers, which safetensors keep."""
    content = bytearray(files.to_bytes())
    return torch.frombuffer(content, dtype=torch.uint8)


def from_bytes(content: Tensor) -> TextFiles:
    """Return what `as_bytes` was made of."""
    return TextFiles.from_bytes(content.cpu().numpy().tobytes())


def _parameters(body: Body) -> Iterator[str]:
    there = dict(body.model.named_parameters())
    return (name for name in body.new if name in there)


def _parts_by_length(ids_BL: Tensor) -> Iterator[Tensor]:
    """The numbers of all rows, longest first, so many at once as may be computed together."""
    lengths = (ids_BL >= 0).sum(1).cpu().numpy()
    # stable: texts of one length stay in their order, and so in the same part on every machine
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        longest = max(1, int(lengths[order[0]]))
        count = max(1, _TOKENS_AT_ONCE // longest)
        yield torch.from_numpy(order[:count].copy()).to(ids_BL.device)
        order = order[count:]


def _require_positions(module: EncoderModule, where: str) -> None:
    """Refuse texts longer than the model has positions for, where only its tables tell it."""
    tables = [
        each
        for name, each in module.body.named_modules()
        if isinstance(each, nn.Embedding) and name.rpartition(".")[2] == "position_embeddings"
    ]
    for each in tables:
        begin = 0 if each.padding_idx is None else each.padding_idx + 1
        positions = each.num_embeddings - begin
        if module.tokens.most > positions:
            raise JobError(
                f"{where}.max_tokens = {module.tokens.max_tokens}: the model has positions for"
                f" {positions} tokens. Set it to that."
            )
