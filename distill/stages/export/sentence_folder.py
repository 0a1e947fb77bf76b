"""A student as a folder that sentence-transformers loads: transformer, pooling, and a `Dense` module
for each layer above. `encode` gives what the head gives: an embedding, or a class's logits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from torch import nn

from distill.models.encoder_body import base_of
from distill.models.encoder_module import EncoderModule
from distill.spec.outputs import Outputs
from distill.stages.export.forms import Form, Refused, TextStudent, Weights
from distill.stages.export.tokenizer_files import tokenizer_files
from distill.stages.export.transformers_folder import encoder_config, named_outputs

LIBRARY = "sentence-transformers"
_WEIGHTS = "model.safetensors"
_MODULES = "sentence_transformers.models"
_ACTIVATIONS = {True: "torch.nn.modules.activation.ReLU", False: "torch.nn.modules.linear.Identity"}
_POOLINGS = {"mean": "pooling_mode_mean_tokens", "last": "pooling_mode_lasttoken"}
_USE = """```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{folder}")
outputs = model.encode(texts)    # (rows, {width}): {what}
```"""
_NAMES = """
names = model.transformers_model.config.id2label
classes = [names[best] for best in outputs.argmax(axis=1).tolist()]
```"""

# a layer, what distill calls its tensors, and whether ReLU follows
_Layer = tuple[nn.Linear, Mapping[str, str], bool]


def sentence_form(student: TextStudent, head: str, folder: str) -> Form | Refused:
    """Return the folder of one head, or why there is none."""
    trunk = student.trunk
    if not isinstance(trunk, EncoderModule):
        why = "its static module counts unknown tokens, which a student leaves out"
        return Refused(LIBRARY, why)
    if trunk.pooling == "cls":
        why = "it pools states, and has no place for the layer that a classifier takes them through"
        return Refused(LIBRARY, why)
    if student.layers_above is None:
        return Refused(LIBRARY, "it has no module for what stands above the encoder")
    parts = _layers(student, head)
    layers = list(parts)
    outputs = student.outputs(head)
    files = {**_encoder_files(trunk, outputs), **_pooling_files(trunk)}
    modules = ["Transformer", "Pooling"]
    paths = ["", "1_Pooling"]
    if trunk.normalize:
        modules.append("Normalize")
        paths.append(f"{len(paths)}_Normalize")
    encoder_weights = _encoder_weights(trunk)
    weights = {_WEIGHTS: encoder_weights}
    for layer, names, is_relu in layers:
        number = len(paths)
        path = f"{number}_Dense"
        modules.append("Dense")
        paths.append(path)
        files[f"{path}/config.json"] = _dense_config(layer, is_relu)
        tensors = {"linear.weight": layer.weight, "linear.bias": layer.bias}
        weights[f"{path}/{_WEIGHTS}"] = Weights(tensors, names)
    files["modules.json"] = _modules(modules, paths)
    width = student.linear(head).out_features
    use = _USE.format(folder=folder, width=width, what=outputs.in_words)
    if outputs.classes and outputs.exclusive:
        use = use.removesuffix("```") + _NAMES.lstrip()
    return Form(folder, LIBRARY, head, use, files, weights)


def _layers(student: TextStudent, head: str) -> Iterator[_Layer]:
    for layer, name, is_relu in student.layers_above or []:
        yield layer, {f"linear.{part}": f"{name}.{part}" for part in ("weight", "bias")}, is_relu
    names = {f"linear.{part}": student.head_tensor(head, part) for part in ("weight", "bias")}
    yield student.linear(head), names, False


def _encoder_files(trunk: EncoderModule, outputs: Outputs) -> dict[str, bytes]:
    limits = {"max_seq_length": trunk.tokens.most, "do_lower_case": False}
    return {
        "config.json": _config(trunk, outputs),
        "sentence_bert_config.json": json.dumps(limits).encode(),
        "config_sentence_transformers.json": json.dumps({"similarity_fn_name": "cosine"}).encode(),
        **tokenizer_files(trunk.tokens),
    }


def _config(trunk: EncoderModule, outputs: Outputs) -> bytes:
    # of the last module, which has no place for names; the encoder itself has no outputs
    own = named_outputs(outputs.classes) if outputs.classes else {}
    return encoder_config(trunk, own)


def _encoder_weights(trunk: EncoderModule) -> Weights:
    tensors = dict(base_of(trunk.body).state_dict())
    return Weights(tensors, {name: f"trunk.body.{name}" for name in tensors})


def _pooling_files(trunk: EncoderModule) -> dict[str, bytes]:
    modes = {mode: pooling == trunk.pooling for pooling, mode in _POOLINGS.items()}
    others = (
        "pooling_mode_cls_token",
        "pooling_mode_max_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
    )
    config: dict[str, object] = {"word_embedding_dimension": trunk.body.config.hidden_size}
    config |= modes | dict.fromkeys(others, False)
    return {"1_Pooling/config.json": json.dumps(config, indent=2).encode()}


def _dense_config(layer: nn.Linear, is_relu: bool) -> bytes:
    config = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": True,
        "activation_function": _ACTIVATIONS[is_relu],
    }
    return json.dumps(config, indent=2).encode()


def _modules(modules: list[str], paths: list[str]) -> bytes:
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{module}"}
        for number, (module, path) in enumerate(zip(modules, paths, strict=True))
    ]
    return json.dumps(listed, indent=2).encode()
