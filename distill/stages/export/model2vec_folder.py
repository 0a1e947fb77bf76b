"""A static student as a folder of model2vec: `StaticModel.from_pretrained` loads its table, and
`StaticModelPipeline.from_pretrained` the head too, both from safetensors.

Each token's weight is multiplied into its vector. Of a student of values whose head stands on the
mean itself the head is too: a linear map of a mean is the mean of the maps, so that the model's own
`encode` gives what the student gives (of a text without any token zeros, and not the head's bias).
"""

from __future__ import annotations

import json

import torch
from torch import Tensor

from distill.models.static_module import StaticModule
from distill.spec.outputs import Outputs
from distill.stages.export.forms import Form, Refused, TextStudent, Weights
from distill.stages.export.tokenizer_files import tokenizer_json

LIBRARY = "model2vec"
_TABLE = "model.safetensors"
_HEAD = "head.safetensors"
_USE_TABLE = """```python
from model2vec import StaticModel

values = StaticModel.from_pretrained("{folder}").encode(texts)
```"""
_USE_HEAD = """```python
from model2vec.inference import StaticModelPipeline

classes = StaticModelPipeline.from_pretrained("{folder}").predict(texts)
```"""


def model2vec_form(student: TextStudent, head: str, folder: str) -> Form | Refused:
    """Return the folder of one head, or why there is none."""
    trunk = student.trunk
    if not isinstance(trunk, StaticModule):
        return Refused(LIBRARY, "it holds tables of token vectors alone")
    if student.layers_above is None:
        return Refused(LIBRARY, "its head is linear layers with ReLU between")
    is_mean = not student.layers_above and not trunk.normalize
    if student.outputs(head).kind == "value" and is_mean:
        return _folded(student, trunk, head, folder)
    return _with_head(student, trunk, head, folder)


def _folded(student: TextStudent, trunk: StaticModule, head: str, folder: str) -> Form:
    """The student as a table of its own."""
    layer = student.linear(head)
    table = _weighted(trunk) @ layer.weight.detach().T + layer.bias.detach()
    width = layer.out_features
    made = {
        "trunk.weights": ("ones", [len(table)]),
        student.head_tensor(head, "weight"): ("eye", [width, width]),
        student.head_tensor(head, "bias"): ("zeros", [width]),
    }
    weights = {_TABLE: Weights({"embeddings": table}, {"embeddings": "trunk.vectors"})}
    config = json.dumps(_config(trunk), indent=2).encode()
    files = {"config.json": config, "tokenizer.json": tokenizer_json(trunk.tokens)}
    return Form(folder, LIBRARY, head, _USE_TABLE.format(folder=folder), files, weights, made)


def _with_head(student: TextStudent, trunk: StaticModule, head: str, folder: str) -> Form:
    """The table, and the layers above it as model2vec's own head."""
    layers = [(layer, name) for layer, name, _ in student.layers_above or []]
    last = student.linear(head)
    tensors = {}
    ours = {}
    for number, (layer, name) in enumerate([*layers, (last, "")]):
        for part, tensor in (("weight", layer.weight), ("bias", layer.bias)):
            key = f"head.{number}.{part}"
            tensors[key] = tensor
            ours[key] = f"{name}.{part}" if name else student.head_tensor(head, part)
    outputs = student.outputs(head)
    config = _config(trunk)
    config["head_config"] = {
        "n_layers": len(layers) + 1,
        "activation": _activation(outputs),
        "classes": list(outputs.classes) or None,
    }
    config_bytes = json.dumps(config, indent=2, ensure_ascii=False).encode()
    files = {"config.json": config_bytes, "tokenizer.json": tokenizer_json(trunk.tokens)}
    table = _weighted(trunk)
    table_weights = Weights({"embeddings": table}, {"embeddings": "trunk.vectors"})
    weights = {_TABLE: table_weights, _HEAD: Weights(tensors, ours)}
    made = {"trunk.weights": ("ones", [len(table)])}
    return Form(folder, LIBRARY, head, _USE_HEAD.format(folder=folder), files, weights, made)


@torch.no_grad()
def _weighted(trunk: StaticModule) -> Tensor:
    return trunk.vectors * trunk.weights[:, None]


def _config(trunk: StaticModule) -> dict[str, object]:
    return {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "tokenizer_name": "tokenizer.json",
        "embedding_dtype": "float32",
        "normalize": trunk.normalize,
        "max_length": trunk.tokens.most,
    }


def _activation(outputs: Outputs) -> str:
    if outputs.kind == "value":
        return "identity"
    return "softmax" if outputs.exclusive else "sigmoid"
