"""A network as a Python file of plain torch. Its layers are the modules' own `repr`; how they are
joined stands here once more, and tests compare the file's outputs with the network's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from distill.core.errors import ExportError
from distill.models.custom_source import TRUNK, head_key
from distill.models.encoder_module import EncoderModule
from distill.models.layers import LastState
from distill.models.network import HEAD_PREFIX, MultiHead
from distill.models.networks.custom import CustomModel
from distill.models.static_module import StaticModule
from distill.models.timm_module import TimmTrunk
from distill.spec.outputs import Outputs
from distill.stages.export.text_source import (
    imports_of,
    reader_source,
    trunk_expression,
    trunk_source,
)

_FILE = '''"""{name}: a student taught by distill. Needs {needs}.

    student = load("weights.safetensors")
    outputs = student(features)                 # head → (rows, numbers): {heads}
    classes = student.predict(features)         # of its first head; of another: head=…
    shares = student.predict_proba(features)    # (rows, classes)

`features` is {features}
"""

{imports}


class LastState(nn.Module):
    """A GRU's state after the last step."""

    def __init__(self, gru):
        super().__init__()
        self.gru = gru

    def forward(self, steps):
        return self.gru(steps)[1][-1]

{timm}{loader}
class Student(nn.Module):
    """A trunk, and heads on it; a head may have a network of its own."""

    outputs = {outputs}
    """By head: the names of its classes, none where it gives values, and whether a row has one."""

    def __init__(self{given}):
        super().__init__(){read}
        self.trunk = {trunk}
        self.own = {own}
        self.heads = {heads_built}

    def forward(self, features):
        hidden = features if self.trunk is None else self.trunk(features)
        return {{
            key.removeprefix("{head_prefix}"): head(self.own[key](features) if key in self.own else hidden)
            for key, head in self.heads.items()
        }}

    @torch.inference_mode()
    def predict_proba(self, features, head=None):
        """(rows, classes), how probable each class is; of a head of values, the values."""
        head, classes, is_exclusive = self._asked(head)
        numbers = self({seen})[head].float()
        if not classes:
            return numbers
        return numbers.softmax(1) if is_exclusive else numbers.sigmoid()

    def predict(self, features, head=None):
        """A class a row; the list of those that a row has where it may have several; or values."""
        head, classes, is_exclusive = self._asked(head)
        shares = self.predict_proba(features, head)
        if not classes:
            return shares
        if is_exclusive:
            return [classes[best] for best in shares.argmax(1).tolist()]
        return [[name for name, share in zip(classes, row) if share > 0.5] for row in shares.tolist()]

    def _asked(self, head):
        head = head or next(iter(self.outputs))
        return head, *self.outputs[head]


def load(path="weights.safetensors"):
    """The student with its weights, ready to answer."""
    {load}
    return student.eval()
'''

_TIMM = '''
class TimmTrunk(nn.Module):
    """A network of timm's without its classifier, which subtracts a mean of its own."""

    def __init__(self, name, shape, mean, std, **options):
        super().__init__()
        import timm

        self.shape = shape
        self.body = timm.create_model(name, num_classes=0, **options)
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(-1, 1, 1), persistent=False)

    def forward(self, features):
        images = features.reshape(-1, *self.shape)
        return self.body((images - self.mean) / self.std)

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


_IMPORTS = """import torch
from safetensors.torch import load_file
from torch import nn
"""
_LOAD = """student = Student()
    student.load_state_dict(load_file(path))"""
_LOAD_TEXT = """tensors = load_file(path)
    files = json.loads(bytes(tensors.pop("trunk.files").tolist()))
    student = Student(files)
    student.load_state_dict(tensors)"""
_SEEN_TEXT = "self.read(features) if isinstance(features[0], str) else features"


def torch_source(
    name: str,
    network: MultiHead,
    heads: str,
    features: str,
    own: Mapping[str, str] | None = None,
    *,
    outputs: Mapping[str, Outputs] | None = None,
) -> str:
    """Return the text of `model.py`.

    `heads` and `features` are for its docstring; `own` has the expressions that make the user's own
    networks, by their keys; `outputs` say what each head gives."""
    own = own or {}
    own_heads = {}
    for key, module in network.own.items():
        own_name = key.removeprefix(HEAD_PREFIX)
        own_key = head_key(own_name)
        custom = own.get(own_key)
        own_heads[key] = custom or _expression(module, 3)
    trunk = own.get(TRUNK) if network.trunk is not None else None
    loader = _LOADER if own else ""
    reads = network.trunk
    is_text = isinstance(reads, EncoderModule | StaticModule)
    if isinstance(reads, EncoderModule | StaticModule):
        loader = reader_source(reads) + trunk_source(reads)
        above = _expression(reads.above, 2)
        trunk = trunk_expression(reads, above)
    has_timm = any(isinstance(module, TimmTrunk) for module in network.modules())
    meanings = {
        head: (list(each.classes), each.kind == "logits" and each.exclusive)
        for head, each in (outputs or {}).items()
    }
    return _FILE.format(
        name=_in_docstring(name),
        needs=_needs(reads),
        heads=_in_docstring(heads),
        features=_in_docstring(features),
        imports=_imports(reads),
        outputs=repr(meanings),
        given=", files" if is_text else "",
        read="\n        self.read = Reader(files)" if is_text else "",
        seen=_SEEN_TEXT if is_text else "features",
        load=_LOAD_TEXT if is_text else _LOAD,
        head_prefix=HEAD_PREFIX,
        loader=loader,
        timm=_TIMM if has_timm else "",
        trunk=trunk or _expression(reads, 2),
        own=_module_dict(own_heads, 2),
        heads_built=_expression(network.heads, 2),
    )


def _imports(trunk: nn.Module | None) -> str:
    if not isinstance(trunk, EncoderModule | StaticModule):
        return _IMPORTS
    standard = "import json\nfrom statistics import median\n\n"
    return f"{standard}{_IMPORTS}{imports_of(trunk)}\n"


def _needs(trunk: nn.Module | None) -> str:
    if isinstance(trunk, EncoderModule):
        return "torch, safetensors, tokenizers and transformers"
    if isinstance(trunk, StaticModule):
        return "torch, safetensors and tokenizers"
    if isinstance(trunk, TimmTrunk):
        return "torch, safetensors and timm"
    return "torch and safetensors alone"


def own_expression(model: CustomModel, in_features: int, file: str) -> str:
    """Return what makes a network of the user's own, from the file that lies beside `model.py`."""
    options = f", **{model.options!r}" if model.options else ""
    return f"own({file!r}, {model.name!r})({model.seen_numbers(in_features)}{options})"


def _in_docstring(text: str) -> str:
    """Return names of classes and columns such that they cannot end the docstring."""
    return repr(text)[1:-1].replace('"', "'")


def _expression(module: nn.Module | None, depth: int) -> str:
    """Return the expression that makes a module, indented for `depth`. Raises ExportError for a
    layer of a plugin's."""
    if module is None:
        return "None"
    if isinstance(module, LastState):
        return f"LastState({_expression(module.gru, depth)})"
    if isinstance(module, TimmTrunk):
        return module.source
    if not type(module).__module__.startswith("torch."):
        raise ExportError(
            f"the network has a {type(module).__name__} of {type(module).__module__}, and model.py"
            " knows layers of torch alone. Build it of those, or write it as a network of kind"
            " 'custom', whose file is exported too."
        )
    if isinstance(module, nn.Sequential):
        layers = [_expression(layer, depth + 1) for layer in module]
        return _call("nn.Sequential(", layers, ")", depth)
    if isinstance(module, nn.ModuleDict):
        parts = {key: _expression(part, depth + 1) for key, part in module.items()}
        return _module_dict(parts, depth)
    # torch's layers name their own arguments, so their `repr` makes them again
    return f"nn.{module!r}"


def _module_dict(expressions: Mapping[str, str], depth: int) -> str:
    items = [f"{key!r}: {expression}" for key, expression in expressions.items()]
    return _call("nn.ModuleDict({", items, "})", depth)


def _call(begin: str, items: list[str], end: str, depth: int) -> str:
    """Return a call with one item a line."""
    if not items:
        return begin + end
    indent = "    " * depth
    lines = "".join(f"{indent}    {item},\n" for item in items)
    return f"{begin}\n{lines}{indent}{end}"
