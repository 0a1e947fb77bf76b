"""A network as a Python file of plain torch. Its layers are told by the modules themselves; how they are joined stands here once more, and tests
hold the file's answers against the network's."""

from __future__ import annotations

from torch import nn

from distill.models.network import LastState, MultiHead

_FILE = '''"""{name}: a student taught by distill. Needs torch and safetensors alone.

    student = load("weights.safetensors")
    outputs = student(features)    # head → (rows, numbers): {heads}

`features` is {features}
"""

import torch
from safetensors.torch import load_file
from torch import nn


class LastState(nn.Module):
    """A GRU's state after the last step."""

    def __init__(self, gru):
        super().__init__()
        self.gru = gru

    def forward(self, steps):
        return self.gru(steps)[1][-1]


class Student(nn.Module):
    """A trunk, and heads on it; a head may have a network of its own."""

    def __init__(self):
        super().__init__()
        self.trunk = {trunk}
        self.own = {own}
        self.heads = {heads_built}

    def forward(self, features):
        hidden = features if self.trunk is None else self.trunk(features)
        return {{
            key.removeprefix("head_"): head(self.own[key](features) if key in self.own else hidden)
            for key, head in self.heads.items()
        }}


def load(path="weights.safetensors"):
    """The student with its weights, ready to answer."""
    student = Student()
    student.load_state_dict(load_file(path))
    return student.eval()
'''


def program(name: str, network: MultiHead, heads: str, features: str) -> str:
    """The text of `model.py`."""
    built = {part: _built(getattr(network, part), 2) for part in ("trunk", "own", "heads")}
    said = {"name": name, "heads": heads, "features": features}
    return _FILE.format(
        **{what: _harmless(text) for what, text in said.items()},
        trunk=built["trunk"],
        own=built["own"],
        heads_built=built["heads"],
    )


def _harmless(text: str) -> str:
    """Names of classes and columns within the docstring: they can neither end it nor escape anything."""
    return repr(text)[1:-1].replace('"', "'")


def _built(module: nn.Module | None, depth: int) -> str:
    """A module as the expression that makes it."""
    if isinstance(module, nn.Sequential):
        return _listed("nn.Sequential(", [_built(each, depth + 1) for each in module], ")", depth)
    if isinstance(module, nn.ModuleDict):
        return _listed(
            "nn.ModuleDict({", [f"{key!r}: {_built(each, depth + 1)}" for key, each in module.items()], "})", depth
        )
    if isinstance(module, LastState):
        return f"LastState({_built(module.gru, depth)})"
    return "None" if module is None else f"nn.{module!r}"


def _listed(begin: str, items: list[str], end: str, depth: int) -> str:
    inside = "".join(f"{'    ' * (depth + 1)}{item},\n" for item in items)
    return f"{begin}\n{inside}{'    ' * depth}{end}" if items else begin + end
