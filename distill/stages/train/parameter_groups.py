"""Which parameters move at which share of the learning rate, and which of them decay.

    heads      at `head_learning_rate`, where the job says it; so do projections
    bodies     at `learning_rate` · `layer_decay` ^ layers above (Clark et al. 2020, ELECTRA; as timm
               and BEiT have it). A body's layers are those of its longest list of modules, and the
               heads stand above the last one. What comes before the list is one layer below it, what
               comes after moves as its last layer
    vectors    biases, and what norms scale by: without decay where `decayed = "matrices"`

Where a job says none of these, all parameters are one group, in the network's order.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from distill.models.network import MultiHead, trained_parameters
from distill.spec.models import Training

RATE_SHARE = "rate_share"  # of a group: its rate over `learning_rate`


def parameter_groups(training: Training, network: nn.Module) -> list[Any]:
    """Return the parameters that ask for a gradient, or torch's groups of them by `RATE_SHARE`."""
    if training.is_one_group:
        return trained_parameters(network)
    layers = layers_above(network)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            above = layers[name]
            share = rate_share(training, above)
            decay = weight_decay(training, parameter)
            groups.setdefault((share, decay), []).append(parameter)
    return [
        {"params": parameters, RATE_SHARE: share, "weight_decay": decay}
        for (share, decay), parameters in groups.items()
    ]


def rate_share(training: Training, above: int) -> float:
    """Return the rate of a parameter over `learning_rate`, where so many layers are above it."""
    if above:
        return float(training.layer_decay**above)
    head_rate = training.head_learning_rate or training.learning_rate
    return head_rate / training.learning_rate


def weight_decay(training: Training, parameter: nn.Parameter) -> float:
    """Return the decay of a parameter."""
    is_vector = parameter.ndim < 2
    return 0.0 if is_vector and training.decayed == "matrices" else training.weight_decay


def layers_above(network: nn.Module) -> dict[str, int]:
    """Count the layers above each parameter, by its name: 0 of heads and projections."""
    above = {name: 0 for name, _ in network.named_parameters()}
    by_parameter: dict[int, int] = {}
    for part in network.modules():
        if isinstance(part, MultiHead):
            bodies = [part.trunk, *part.own.values()]
            for body in bodies:
                if body is not None:
                    by_parameter |= _of_body(body)
    for name, parameter in network.named_parameters():
        above[name] = by_parameter.get(id(parameter), 0)
    return above


def _of_body(body: nn.Module) -> dict[int, int]:
    """The layers above each parameter of a body, by the parameter's id."""
    layers = _longest_list(body)
    numbered = enumerate(layers)
    numbers = {
        id(parameter): number for number, layer in numbered for parameter in layer.parameters()
    }
    above = {}
    # + 1: what comes before the first layer is one below it
    current = len(layers) + 1
    for parameter in body.parameters():
        if id(parameter) in numbers:
            current = len(layers) - numbers[id(parameter)]
        elif current <= len(layers):
            current = 1
        key = id(parameter)
        above[key] = current
    return above


def _longest_list(body: nn.Module) -> list[nn.Module]:
    """The modules with parameters of the list that has most of them; without a list the body."""
    longest = [body]
    for part in body.modules():
        if isinstance(part, nn.ModuleList | nn.Sequential):
            layers = [each for each in part.children() if any(True for _ in each.parameters())]
            if len(layers) > len(longest):
                longest = layers
    return longest
