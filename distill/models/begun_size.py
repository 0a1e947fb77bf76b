"""How large a network is that begins as a model of the user's or as one of timm's, found by building
it without memory (torch's `meta` device), so that what cannot be trained here is refused before
labels are paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from distill.spec.networks import NetworkInput, NetworkSize

if TYPE_CHECKING:
    from distill.models.networks.encoder import EncoderNetwork
    from distill.models.networks.static import StaticNetwork
    from distill.models.networks.timm import TimmNetwork

_NOWHERE = "meta"


def encoder_size(table: EncoderNetwork) -> NetworkSize:
    """Return the size of an encoder with the layers that are kept, by its configuration. Raises
    JobError."""
    from distill.models.encoder_body import empty_body
    from distill.models.encoder_files import kept_layers, layer_count, with_layers
    from distill.models.encoder_module import EncoderModule, build_above
    from distill.models.files import local_model
    from distill.models.text_files import TextFiles, read_text_files

    files = read_text_files(local_model(table.files))
    there = layer_count(files.config)
    if table.layers is not None and there is not None:
        config = with_layers(files.config, kept_layers(table.layers, there))
        files = TextFiles(files.tokenizer, config, files.tokenizer_config)
    with torch.device(_NOWHERE):
        body = empty_body(files, table.pooling)
        above, width = build_above(table, body.width, NetworkInput(body.width))
    # the buffer of its text files is made of bytes that are here
    return size_of(EncoderModule(body, table, above), width)


def static_size(table: StaticNetwork) -> NetworkSize:
    """Return the size of a table of token vectors. Raises JobError."""
    from distill.models.static_module import build_static

    module, width = build_static(table, NetworkInput(1))
    return size_of(module, width)


def timm_size(table: TimmNetwork) -> NetworkSize:
    """Return the size of a network of timm's. Raises JobError."""
    from distill.models.timm_module import make_body, model_options, require_timm

    require_timm(f"a network of kind {table.kind!r}")
    name = str(table.name)
    options = model_options(name, table.shape, table.options)
    with torch.device(_NOWHERE):
        body = make_body(name, options, "model")
    width = getattr(body, "head_hidden_size", None) or body.num_features
    return size_of(body, int(str(width)))


def size_of(module: nn.Module, width: int) -> NetworkSize:
    """Count the numbers that a module learns, and those that stay as they are."""
    learned = 0
    frozen = 0
    for parameter in module.parameters():
        if parameter.requires_grad:
            learned += parameter.numel()
        else:
            frozen += parameter.numel()
    return NetworkSize(learned, width, frozen)
