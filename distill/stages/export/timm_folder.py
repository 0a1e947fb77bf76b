"""A student's heads on networks of timm's, as timm itself saves them: `model.safetensors` and
`config.json`, for programs that have timm alone.

    timm.create_model("local-dir:FOLDER", pretrained=True)
    timm.create_model(NAME, num_classes=…, checkpoint_path="FOLDER/model.safetensors")

What timm answers for images less the mean that the config says, over its deviation, are the head's
outputs. That is not believed but tried: the network is made by timm of the bytes that will be
written, and answers rows beside the student.
"""

from __future__ import annotations

import json
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from distill.core.errors import ExportError
from distill.labelers.runtime import computing
from distill.models.custom_source import TRUNK, head_key
from distill.models.image_config import TIMM_CONFIG
from distill.models.network import HEAD_PREFIX, MultiHead, apart
from distill.models.networks.timm import TimmNetwork
from distill.models.record import ModelRecord, NetworkPlan
from distill.models.timm_module import (
    WEIGHTS,
    TimmTrunk,
    classifier_names,
    make_body,
    model_options,
)
from distill.spec.outputs import Outputs
from distill.spec.pools import Features, ImageFeatures

FOLDER = "timm"
# how far timm may be from the student: the same float32 operations on the same numbers
_TOLERANCE = 1e-5
_CROP_MODES = {"crop": "center", "stretch": "squash", "pad": "border"}
# of what timm says of the architecture
_COPIED = ("pool_size", "first_conv", "classifier", "fixed_input_size")


def timm_files(
    record: ModelRecord, network: MultiHead, features: Features, rows: Tensor
) -> dict[str, bytes]:
    """Return the files of each head on a network of timm's, by their keys below the export: in
    `timm`, or where there are several heads in `timm/HEAD`. `rows` are some that it sees. Raises
    ExportError where timm answers otherwise."""
    assert record.plan is not None
    plan = NetworkPlan.from_plain(record.plan)
    files = {}
    for head, outputs in record.heads.items():
        own_key = f"{HEAD_PREFIX}{head}"
        key = TRUNK
        trunk = network.trunk
        if own_key in network.own:
            key = head_key(head)
            trunk = network.own[own_key]
        model = plan.networks[key]
        if not isinstance(model, TimmNetwork) or not isinstance(trunk, TimmTrunk):
            continue
        folder = FOLDER if len(record.heads) == 1 else f"{FOLDER}/{head}"
        body = _whole(model, trunk, network.heads[own_key])
        with computing("cpu", "float32"):
            _require_same(record.name, head, _said_by(body, trunk, rows), network(rows)[head])
        state = body.state_dict()
        weights = apart(state)
        config = _config(model, trunk, body, outputs, features)
        text = json.dumps(config, indent=2, ensure_ascii=False)
        files[f"{folder}/{WEIGHTS}"] = safetensors.torch.save(weights, {"format": "pt"})
        files[f"{folder}/{TIMM_CONFIG}"] = text.encode()
    return files


def _whole(model: TimmNetwork, trunk: TimmTrunk, head: nn.Module) -> nn.Module:
    """timm's module with the head as its classifier. Raises ExportError where it has none such."""
    name = str(model.name)
    options = model_options(name, model.shape, model.options)
    width = len(head.state_dict()["bias"])
    with torch.random.fork_rng(devices=[]):
        body = make_body(name, options, "export", classes=width)
    names = classifier_names(body)
    weights = trunk.body.state_dict()
    for part, values in head.state_dict().items():
        weights[f"{names[0] if names else ''}.{part}"] = values
    try:
        body.load_state_dict(weights)
    except RuntimeError as error:
        raise ExportError(
            f"timm's {name} has a classifier of its own kind ({list(names)}), which a head is not:"
            f" it cannot be saved as timm's. {error}"
        ) from error
    return body.eval()


def _said_by(body: nn.Module, trunk: TimmTrunk, rows: Tensor) -> Tensor:
    images = rows.reshape(-1, *trunk.shape)
    said: Tensor = body((images - trunk.mean) / trunk.std)
    return said


def _require_same(name: str, head: str, said: Tensor, due: Tensor) -> None:
    difference = float((said - due).abs().max())
    largest = max(1.0, float(due.abs().max()))
    # not `>`: a NaN must not pass
    if not difference <= _TOLERANCE * largest:
        raise ExportError(
            f"students.{name}: timm answers by up to {difference:.3g} otherwise than the student for"
            f" the head {head!r}. Nothing was written. Its classifier is more than an affine map;"
            " take another network."
        )


def _config(
    model: TimmNetwork, trunk: TimmTrunk, body: nn.Module, outputs: Outputs, features: Features
) -> dict[str, Any]:
    known: dict[str, Any] = dict(getattr(body, "pretrained_cfg", {}))
    options = model_options(str(model.name), model.shape, model.options)
    pretrained = {
        "input_size": list(model.shape),
        "mean": list(trunk.normalization.mean),
        "std": list(trunk.normalization.std),
        "num_classes": body.num_classes,
        "custom_load": False,
        **_seen(features),
        **{key: known[key] for key in _COPIED if known.get(key) is not None},
    }
    config: dict[str, Any] = {
        "architecture": str(model.name).partition(".")[0],
        "num_classes": body.num_classes,
        "num_features": body.num_features,
        "model_args": options,
        "pretrained_cfg": pretrained,
    }
    if outputs.classes:
        config["label_names"] = list(outputs.classes)
    return config


def _seen(features: Features) -> dict[str, Any]:
    """How images became those that the student saw, as timm says it."""
    if not isinstance(features, ImageFeatures):
        return {}
    preprocess = features.preprocess
    if preprocess is None:
        interpolation = features.resize or "bicubic"
        return {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": interpolation}
    height, _, _ = features.shape
    sides = preprocess.sides or features.shape[:2]
    return {
        "crop_pct": height / sides[0],
        "crop_mode": _CROP_MODES[preprocess.fit],
        "interpolation": preprocess.interpolation,
    }
