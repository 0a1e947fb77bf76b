"""A network of timm's as a labeler: a classifier, or what it sees of an image as an embedding."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime, computing
from distill.labelers.shared_pass import SharedPass
from distill.labelers.validation import require_classes, require_width
from distill.models.files import read_model_file
from distill.models.image_config import TIMM_CONFIG, timm_config, timm_normalization
from distill.models.networks.timm import Channels
from distill.spec.base import Positive
from distill.spec.pools import Features, ImageFeatures

_GIVEN = ("num_classes", "pretrained")  # what `make_body` tells timm itself


class TimmClassifier(ModelLabelerKind):
    """A network of timm's, `model.safetensors` and `config.json`: image → logits of its classes, an
    embedding, or the numbers of a regression."""

    reads = "images"
    libraries = {"timm": "timm"}
    extra = "vision"
    uses_torch = True

    kind: Literal["timm"]
    gives: Literal["classes", "embedding", "values"] = "classes"
    """Of an image: its classifier's logits; what its classifier sees; its classifier's numbers, of a
    regression."""
    name: str | None = None
    """What timm calls the network. Default: what `config.json` says."""
    classes: Classes | None = None
    """Default: `label_names` of its `config.json`; where it has none, their numbers."""
    independent: bool = False
    """Whether each class is said or not by itself (a sigmoid each)."""
    width: Positive = 1
    """Numbers of an embedding or a regression."""
    mean: Channels | None = None
    """What is taken off each channel's 0..1. Default: what `config.json` says."""
    std: Channels | None = None
    """What that is divided by."""

    @model_validator(mode="after")
    def _made_with_classes(self) -> TimmClassifier:
        if self.made_by is not None and self.gives == "classes" and not self.classes:
            raise ValueError("has made_by and no classes; name those of the model that is made")
        return self

    def own_classes(self, uri: str, where: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return the classes as the model's `config.json` names or counts them."""
        if self.gives != "classes":
            return ()
        return label_names(_config_at(uri))

    def misread(self, features: Features | None, uri: str) -> Iterator[str]:
        """Yield why the model at `uri` cannot read images of a pool."""
        config = _config_at(uri)
        if not isinstance(features, ImageFeatures) or not config:
            return
        own = timm_config(config)
        channels, height, width = _input_size(config)
        seen_height, seen_width, seen_channels = features.shape
        if seen_channels != channels:
            yield f"sees {channels} channels, not {seen_channels}; give the images as many"
        fixed_size = own.get("fixed_input_size")
        is_fixed = bool(fixed_size)
        if is_fixed and (seen_height, seen_width) != (height, width):
            yield (
                f"sees images of {height} × {width} alone, not {seen_height} × {seen_width};"
                " give the pool that shape"
            )

    def build(self, runtime: Runtime) -> Labeler:
        """Build it on the device. Raises LabelerError where the model is not the table's."""
        return TimmLabeler(self, runtime)

    def pass_key(self) -> tuple[object, ...]:
        """A classifier and what it sees are answered by one pass."""
        return (self.name, self.mean, self.std)

    def build_companion(self, first: Labeler, runtime: Runtime) -> Labeler:  # noqa: ARG002
        """Build the labeler of another answer of the same network. Raises LabelerError."""
        assert isinstance(first, TimmLabeler)
        return first.giving(self)


class TimmLabeler:
    """The network's answers, of images as bytes."""

    def __init__(self, spec: TimmClassifier, runtime: Runtime) -> None:
        import torch

        from distill.models.timm_module import of_channels

        self.runtime = runtime
        folder = runtime.local_model()
        config = _read_config(folder / TIMM_CONFIG) if folder.is_dir() else {}
        body, outputs = _body(spec, config, folder)
        layout = torch.channels_last  # in which images come, and convolutions are faster
        self.body = body.to(runtime.device, memory_format=layout).eval()
        self._config = config
        self._outputs = outputs
        self._require_outputs(spec)
        own = timm_config(config)
        normalization = timm_normalization(own)
        size = _input_size(config)
        channels = size[0]
        mean = of_channels(spec.mean or normalization.mean, channels)
        std = of_channels(spec.std or normalization.std, channels)
        # of bytes: 255 is divided by once, here
        self.mean = 255 * torch.tensor(mean, device=runtime.device).reshape(-1, 1, 1)
        self.std = 255 * torch.tensor(std, device=runtime.device).reshape(-1, 1, 1)
        self.pre_logits = spec.gives == "embedding"
        self.maps = SharedPass(self._all_maps)

    def giving(self, spec: TimmClassifier) -> TimmLabeler:
        """Return the labeler of another answer, given by the same pass. Raises LabelerError."""
        self._require_outputs(spec)
        other = copy.copy(self)
        other.pre_logits = spec.gives == "embedding"
        self.maps.is_shared = True
        return other

    def _require_outputs(self, spec: TimmClassifier) -> None:
        width = int(self.body.head_hidden_size or self.body.num_features)
        _require_outputs(spec, self._config, self._outputs, width)

    def label(self, features: Inputs) -> Matrix:
        """Return (rows, classes) logits, or (rows, width) numbers."""
        if features.ndim != 4:
            raise LabelerError(
                "a labeler of kind 'timm' sees images, and is given rows of another kind. Give the"
                " pool features of kind 'image'."
            )
        if features.shape[3] != len(self.mean):
            raise LabelerError(
                f"the network sees {len(self.mean)} channels, and is given images of"
                f" {features.shape[3]}. Give the pool as many."
            )
        maps = self.maps(features)
        with computing(self.runtime.device, self.runtime.precision):
            answer = self.body.forward_head(maps, pre_logits=self.pre_logits)
        # through float32, since numpy has no bfloat16
        array: Matrix = answer.float().cpu().numpy()
        return array.astype(np.float32, copy=False)

    def _all_maps(self, features: Inputs) -> Any:
        """What the network sees of images, before its classifier."""
        import torch

        images = torch.from_numpy(features).to(self.runtime.device)
        normal = (images.permute(0, 3, 1, 2).float() - self.mean) / self.std
        with computing(self.runtime.device, self.runtime.precision):
            return self.body.forward_features(normal)


def label_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a model's classes as its `config.json` says them; their numbers where it
    says how many alone."""
    own = timm_config(config)
    names = config.get("label_names") or own.get("label_names") or config.get("labels") or ()
    if isinstance(names, Mapping):
        in_order = sorted(names, key=int)
        names = [names[number] for number in in_order]
    if names:
        return tuple(map(str, names))
    count = config.get("num_classes") or own.get("num_classes") or 0
    return tuple(map(str, range(int(count))))


def _config_at(uri: str) -> Mapping[str, Any]:
    """`config.json` of the model at `uri`; empty where there is none, as of a single file."""
    if uri.endswith(".safetensors"):
        return {}
    content = read_model_file(uri, TIMM_CONFIG)
    found: Mapping[str, Any] = json.loads(content) if content else {}
    return found


def _read_config(file: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    return found


def _input_size(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Channels, height and width that the model takes."""
    # the model's arguments go before what it was trained on
    channels, height, width = timm_config(config).get("input_size") or (3, 224, 224)
    given = config.get("model_args")
    arguments = given or {}
    size = arguments.get("img_size") or (height, width)
    if isinstance(size, int):
        size = (size, size)
    return int(arguments.get("in_chans") or channels), int(size[0]), int(size[1])


def _body(spec: TimmClassifier, config: Mapping[str, Any], folder: Path) -> tuple[Any, int]:
    """timm's module with its weights, and how many outputs its classifier has."""
    from distill.models.timm_module import classifier_names, load_tensors, make_body, read_tensors

    where = "a labeler of kind 'timm'"
    name = spec.name or config.get("architecture")
    if name is None:
        message = f"{folder} has no {TIMM_CONFIG} that says its architecture. Say it: name."
        raise LabelerError(message)
    tensors = read_tensors(folder, where)
    # timm writes all that the network was made with; the classes are counted by the weights
    given = config.get("model_args")
    arguments = given or {}
    options = {key: value for key, value in arguments.items() if key not in _GIVEN}
    options.setdefault("in_chans", _input_size(config)[0])
    probe = make_body(name, options, where)
    first, *_ = classifier_names(probe) or ("",)
    weight = tensors.get(f"{first}.weight")
    outputs = 0 if weight is None else len(weight)
    body = make_body(name, options, where, classes=outputs)
    load_tensors(body, tensors, where)
    return body, outputs


def _require_outputs(
    spec: TimmClassifier, config: Mapping[str, Any], outputs: int, features: int
) -> None:
    """Refuse a model of other classes, or of another width. Raises LabelerError."""
    if spec.gives == "embedding":
        require_width(spec.kind, spec.width, features)
        return
    if not outputs:
        raise LabelerError(
            "the model has no classifier, so it says no classes. Let it give an embedding: gives ="
            f' "embedding", width = {features}.'
        )
    with_outputs = {**config, "num_classes": outputs}
    own = label_names(with_outputs)
    if spec.gives == "values":
        require_width(spec.kind, spec.width, outputs, own)
        return
    if len(own) != outputs:
        raise LabelerError(
            f"its {TIMM_CONFIG} names {len(own)} classes, but its classifier has {outputs} outputs."
            " Correct the file, or write `classes`."
        )
    has_names = bool(label_names({**config, "num_classes": 0}))
    if spec.class_names and has_names:
        require_classes(spec.kind, spec.class_names, own)
    if spec.class_names and len(spec.class_names) != outputs:
        raise LabelerError(
            f"a labeler of kind 'timm': {len(spec.class_names)} classes, but the model's classifier"
            f" has {outputs} outputs. Name each, in its order."
        )
