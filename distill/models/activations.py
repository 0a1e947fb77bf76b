"""Activation checkpoints: layers that are computed again on the way back, so that memory need not
hold what is between them. Modules offer it under names that the libraries gave it."""

from __future__ import annotations

from torch import nn

from distill.core.errors import UnlearnableError

_TIMM = "set_grad_checkpointing"
NOT_OFFERED = (
    "training.activation_checkpoints = true: no module of the network offers it, as Hugging Face's do"
    " by `activation_checkpointing_enable`, timm's by `set_grad_checkpointing`. Leave it out, or take"
    " fewer rows at once by accumulate_batches."
)
"""Why a training that asks for it is refused."""
# Hugging Face's, by its name of today, then by that of before
_NAMES = ("activation_checkpointing_enable", "gradient_checkpointing_enable", _TIMM)


def offers_checkpoints(network: nn.Module) -> bool:
    """Tell whether any of a network's modules offers it."""
    return any(
        callable(getattr(module, name, None)) for module in network.modules() for name in _NAMES
    )


def compute_again(network: nn.Module) -> None:
    """Ask each module for it that offers it. Raises UnlearnableError where none does."""
    for module in network.modules():
        name = next((name for name in _NAMES if callable(getattr(module, name, None))), None)
        if name is None:
            continue
        # not torch's older way, which drops gradients where the input has none
        told = True if name == _TIMM else {"use_reentrant": False}
        getattr(module, name)(told)
    if not offers_checkpoints(network):
        raise UnlearnableError(NOT_OFFERED)
