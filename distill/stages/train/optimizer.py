"""How weights move: a job's optimiser, and its learning rate step by step.

Tables of n-grams are moved row by row (`table_rows`), all else by torch's own optimiser, in groups
that differ in rate and decay (`parameter_groups`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from distill.models.network import trained_parameters
from distill.spec.models import Training
from distill.stages.train.parameter_groups import (
    RATE_SHARE,
    layers_above,
    parameter_groups,
    rate_share,
)
from distill.stages.train.row_rules import AdamWRows, RowRule, SgdRows
from distill.stages.train.table_rows import find_tables, is_of_rows, put_tables, whole_state

# the most that one step's decay may be for rows to be moved by themselves: beyond it their closed
# form has no solution in real numbers (sgd), or is far from exact
_MOST_DECAY = {"adamw": 0.5, "sgd": 0.002}


class Optimizer:
    """Moves all of a network: its tables row by row, the rest by torch's optimiser."""

    def __init__(self, training: Training, network: nn.Module, total_steps: int) -> None:
        names = [name for name, each in network.named_parameters() if each.requires_grad]
        self.training = training
        self.total_steps = total_steps
        self._make_rule = _rule_maker(training, network, total_steps)
        # a compiled network would be compiled anew for each number of rows
        step_decay = training.learning_rate * training.weight_decay
        if not training.compile and step_decay <= _MOST_DECAY[training.optimizer]:
            put_tables(network, self._make_rule)
        self.tables = find_tables(network)
        self.rest = make_optimizer(training, network)
        # numbers as they are of an optimiser of all parameters, which checkpoints have
        self._table_numbers = {names.index(name): rows for name, rows in self.tables.items()}
        others = set(range(len(names))) - self._table_numbers.keys()
        self._rest_numbers = sorted(others)
        named = network.named_parameters()
        parameters = dict(named)
        self._rest = {number: (names[number], parameters[names[number]]) for number in others}

    def step(self, number: int) -> None:
        """Take a step with the gradients that are there, at the rate of that number."""
        # by the step's number, so that no checkpoint has to hold a scheduler's state
        rate = learning_rate(self.training, number, self.total_steps)
        for group in self.rest.param_groups:
            group["lr"] = rate * group.get(RATE_SHARE, 1.0)
        for rows in self.tables.values():
            rows.move()
        self.rest.step()

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the network's weights, plain tables among them."""
        state = network.state_dict()
        weights = dict(state)
        for name, rows in find_tables(network).items():
            weights[name] = rows.weights()
        return weights

    def moved(self, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
        """Yield what moved since this was last asked for, by name."""
        tables = find_tables(network)
        for name, value in network.named_parameters():
            yield name, tables[name].moved() if name in tables else value

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from, in the form of torch's optimisers."""
        plain = self.rest.state_dict()
        numbers = self._rest_numbers
        state = {numbers[number]: each for number, each in plain["state"].items()}
        state |= {number: rows.state() for number, rows in self._table_numbers.items()}
        groups = plain["param_groups"]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        """Go on from the state after `stored["step"]` steps; the network has its weights by now."""
        state = stored["state"]
        rest = {
            own: self._whole(number, stored["step"], state[number])
            for own, number in enumerate(self._rest_numbers)
            if number in state
        }
        self.rest.load_state_dict({"state": rest, "param_groups": stored["param_groups"]})
        for number, rows in self._table_numbers.items():
            rows.load(stored["step"], state.get(number, {}))

    def _whole(self, number: int, step: int, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """The state of a parameter that torch's optimiser moves."""
        # small tables were moved by rows by an older distill
        if not is_of_rows(state):
            return state
        name, weight = self._rest[number]
        return whole_state(weight, self._make_rule(name), step, state)


def _rule_maker(
    training: Training, network: nn.Module, total_steps: int
) -> Callable[[str], RowRule]:
    """How the rule of a table is made of its parameter's name."""
    layers = layers_above(network)

    def make_rule(name: str) -> RowRule:
        above = layers[name]
        share = rate_share(training, above)
        rate = partial(_lasting_rate, training, total_steps, share)
        if training.optimizer == "sgd":
            return SgdRows(rate, training.weight_decay)
        return AdamWRows(rate, training.weight_decay)

    return make_rule


def make_optimizer(training: Training, network: nn.Module) -> torch.optim.Optimizer:
    """Make the job's optimiser of the parameters that ask for a gradient."""
    groups = parameter_groups(training, network)
    rate = training.learning_rate
    decay = training.weight_decay
    if training.optimizer == "sgd":
        # plain: fused SGD takes no weight's first gradient after others had theirs
        return torch.optim.SGD(groups, rate, momentum=0.9, weight_decay=decay)
    # one pass over the weights: 1.4 ms instead of 8.3 for 2 million of them. On a CPU it walks
    # memory and looks at no strides, so that a gradient or a state laid out in another way than its
    # weight would move other weights, silently
    fused = all(parameter.is_contiguous() for parameter in trained_parameters(network))
    return torch.optim.AdamW(groups, rate, weight_decay=decay, fused=fused)


def learning_rate(training: Training, step: int, steps: int) -> float:
    """Return the rate of one step: it rises over the warm-up, then falls by the job's schedule."""
    warmup = training.warmup_fraction * steps
    warmup_steps = math.ceil(warmup)
    # + 1: the first step moves something, and the first one after the warm-up has the whole rate
    if step < warmup_steps:
        return training.learning_rate * (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(1, steps - warmup_steps)
    shares = {"constant": 1.0, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done}
    share = shares[training.schedule]
    return training.learning_rate * share


def _lasting_rate(training: Training, total_steps: int, share: float, step: int) -> float:
    """A table's rate at a step; after the last one it stays."""
    return share * learning_rate(training, min(step, total_steps - 1), total_steps)
