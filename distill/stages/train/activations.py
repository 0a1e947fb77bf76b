"""Activation checkpoints: layers that are computed again on the way back, so that memory need not
hold what is between them. Modules offer it under names that the libraries gave it."""

from __future__ import annotations

from torch import nn

from distill.core.errors import UnlearnableError


def compute_again(network: nn.Module) -> None:
    """Ask each module for it that offers it. Raises UnlearnableError where none does."""
    is_offered = False
    for module in network.modules():
        # Hugging Face's models, and timm's
        enable = getattr(module, "gradient_checkpointing_enable", None)
        switch = getattr(module, "set_grad_checkpointing", None)
        if callable(enable):
            # not the older way, which drops gradients where the input has none
            enable({"use_reentrant": False})
        elif callable(switch):
            switch(True)
        is_offered |= callable(enable) or callable(switch)
    if not is_offered:
        raise UnlearnableError(
            "training.activation_checkpoints = true: no module of the network offers it, as Hugging"
            " Face's do by `gradient_checkpointing_enable` and timm's by `set_grad_checkpointing`."
            " Leave it out, or take fewer rows at once by accumulate_batches."
        )
