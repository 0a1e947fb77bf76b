"""A student as a folder that `AutoModelForSequenceClassification` loads: its encoder is that class
already (`pooling = "cls"`), and a head is its last layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from distill.models.encoder_module import EncoderModule
from distill.spec.outputs import Outputs
from distill.stages.export.forms import Form, Refused, TextStudent, Weights
from distill.stages.export.tokenizer_files import tokenizer_files

LIBRARY = "transformers"
_WEIGHTS = "model.safetensors"
_USE = """```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForSequenceClassification.from_pretrained("{folder}")
logits = model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits
```"""
_OF_BEFORE = frozenset(
    {"_name_or_path", "id2label", "label2id", "num_labels", "problem_type", "torch_dtype"}
)


def transformers_form(student: TextStudent, head: str, folder: str) -> Form | Refused:
    """Return the folder of one head, or why there is none."""
    trunk = student.trunk
    if not isinstance(trunk, EncoderModule):
        return Refused(LIBRARY, "a table of token vectors is none of its architectures")
    if trunk.pooling != "cls":
        why = (
            "its classes for sequences take a text's first token through a layer of their own, and"
            f' not pooling = "{trunk.pooling}"; "cls" is what they compute'
        )
        return Refused(LIBRARY, why)
    if student.layers_above or trunk.normalize or not trunk.head_has_bias:
        why = "its classes have no place for what stands between the encoder and the head"
        if not trunk.head_has_bias:
            why = f"the last layer of a {type(trunk.body).__name__} has no bias, and the head has"
        return Refused(LIBRARY, why)
    return Form(
        folder=folder,
        library=LIBRARY,
        head=head,
        use=_USE.format(folder=folder),
        files={"config.json": _config(student, trunk, head), **tokenizer_files(trunk.tokens)},
        weights={_WEIGHTS: _weights(student, trunk, head)},
    )


def _weights(student: TextStudent, trunk: EncoderModule, head: str) -> Weights:
    state = trunk.body.state_dict()
    tensors = dict(state)
    ours = {name: f"trunk.body.{name}" for name in tensors}
    layer = student.linear(head)
    for part, tensor in (("weight", layer.weight), ("bias", layer.bias)):
        name = f"{trunk.head}.{part}"
        tensors[name] = tensor
        ours[name] = student.head_tensor(head, part)
    return Weights(tensors, ours)


def _config(student: TextStudent, trunk: EncoderModule, head: str) -> bytes:
    outputs = student.outputs(head)
    layer = student.linear(head)
    width = layer.out_features
    names = outputs.classes or tuple(f"value_{number}" for number in range(width))
    own = named_outputs(names) | {"problem_type": _problem_type(outputs)}
    return encoder_config(trunk, own)


def encoder_config(trunk: EncoderModule, own: Mapping[str, object]) -> bytes:
    """Return config.json of a student's encoder; `own` is what it says of the student's outputs."""
    config = {
        **trunk.text_files.config,
        "architectures": [type(trunk.body).__name__],
        **own,
        "pad_token_id": trunk.pad,
        "dtype": "float32",
    }
    # what the encoder was before it is a student says nothing of the student's outputs
    for key in _OF_BEFORE.difference(own):
        config.pop(key, None)
    return json.dumps(config, indent=2, ensure_ascii=False).encode()


def named_outputs(names: Sequence[str]) -> dict[str, object]:
    """Return the keys of a configuration that say what each output is called."""
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }


def _problem_type(outputs: Outputs) -> str:
    if outputs.kind == "value":
        return "regression"
    return "single_label_classification" if outputs.exclusive else "multi_label_classification"
