"""A network as a Python file of plain torch. Its layers are told by the modules themselves; how
they are joined stands here once more, and tests hold the file's answers against the network's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from distill.core.errors import ExportError
from distill.models.custom_source import TRUNK, head_key
from distill.models.layers import LastState
from distill.models.network import MultiHead
from distill.models.networks.custom import CustomModel

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

{loader}
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

_LOADER = '''
def own(file, name):
    """A class that the student's author wrote, from the file beside this one."""
    import sys
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    path = Path(__file__).with_name(file)
    spec = spec_from_file_location(f"{path.stem}_of_the_student", path)
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)

'''


def torch_source(
    name: str, network: MultiHead, heads: str, features: str, own: Mapping[str, str] | None = None
) -> str:
    """The text of `model.py`; `own` has the expressions that make the user's own networks, by their
    keys."""
    written = own or {}
    below = {
        key: written.get(head_key(key.removeprefix("head_"))) or _built(each, 3)
        for key, each in network.own.items()
    }
    said = {"name": name, "heads": heads, "features": features}
    return _FILE.format(
        **{what: _harmless(text) for what, text in said.items()},
        loader=_LOADER if written else "",
        trunk=(
            _built(None, 2)
            if network.trunk is None
            else written.get(TRUNK) or _built(network.trunk, 2)
        ),
        own=_dictionary(below, 2),
        heads_built=_built(network.heads, 2),
    )


def own_expression(model: CustomModel, in_features: int, file: str) -> str:
    """What makes a network of the user's own, from the file that lies beside `model.py`."""
    options = f", **{model.options!r}" if model.options else ""
    return f"own({file!r}, {model.name!r})({model.seen_numbers(in_features)}{options})"


def _harmless(text: str) -> str:
    """Names of classes and columns within the docstring: they can neither end it nor escape
    anything."""
    return repr(text)[1:-1].replace('"', "'")


def _built(module: nn.Module | None, depth: int) -> str:
    """A module as the expression that makes it. Raises ExportError for a layer of a plugin's."""
    if module is None:
        return "None"
    if isinstance(module, LastState):
        return f"LastState({_built(module.gru, depth)})"
    if not type(module).__module__.startswith("torch."):
        raise ExportError(
            f"the network has a {type(module).__name__} of {type(module).__module__}, and model.py"
            " knows layers of torch alone. Build it of those, or write it as a network of kind"
            " 'custom', whose file is exported too."
        )
    if isinstance(module, nn.Sequential):
        return _listed("nn.Sequential(", [_built(each, depth + 1) for each in module], ")", depth)
    if isinstance(module, nn.ModuleDict):
        return _dictionary({key: _built(each, depth + 1) for key, each in module.items()}, depth)
    return f"nn.{module!r}"


def _dictionary(built: Mapping[str, str], depth: int) -> str:
    return _listed(
        "nn.ModuleDict({", [f"{key!r}: {each}" for key, each in built.items()], "})", depth
    )


def _listed(begin: str, items: list[str], end: str, depth: int) -> str:
    inside = "".join(f"{'    ' * (depth + 1)}{item},\n" for item in items)
    return f"{begin}\n{inside}{'    ' * depth}{end}" if items else begin + end
