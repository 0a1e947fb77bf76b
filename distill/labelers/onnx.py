"""A network as an ONNX file, by ONNX Runtime: images or vectors → logits of classes, or values.

A single file is opened by its bytes, which its sha256 pins: it may refer to no other. A folder may
hold weights beside `model.onnx`, and `config.json` and `preprocessor_config.json` as Hugging Face's
exporter leaves them.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.shared_pass import SharedPass
from distill.labelers.validation import require_classes
from distill.models.files import read_model_file
from distill.models.image_config import Normalization, read_normalization
from distill.models.networks.timm import Channels
from distill.pools.features import as_matrix
from distill.spec.base import Positive

_FILE = "model.onnx"
_CONFIG = "config.json"
# what an input may hold
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}

Array = npt.NDArray[np.generic]


class OnnxLabelerTable(ModelLabelerKind):
    """A network as an ONNX file, by ONNX Runtime: images or vectors → logits of its classes, or
    values such as embeddings. `model` is the file, or a folder with `model.onnx`."""

    reads = "numbers"
    libraries = {"onnxruntime": "onnxruntime"}
    extra = "onnx"
    own_precision = True
    location_keys = ModelLabelerKind.location_keys | {"providers"}

    kind: Literal["onnx"]
    classes: Classes | None = None
    """Default: `id2label` of a `config.json` beside it; else it has values."""
    independent: bool = False
    """Whether each class is said or not by itself (a sigmoid each)."""
    width: Positive = 1
    """Numbers a row, where it has no classes."""
    output: str | None = None
    """Which of its outputs. Default: the first."""
    layout: Literal["channels_first", "channels_last"] = "channels_first"
    """In which order it sees an image: channels, height, width, or height, width, channels."""
    mean: Channels | None = None
    """What is taken off each channel's 0..1. Default: what a `preprocessor_config.json`, or timm's
    `config.json`, beside it says; else nothing."""
    std: Channels | None = None
    """What that is divided by."""
    providers: tuple[str, ...] | None = None
    """What ONNX Runtime computes by, in its own names and in order. Default: CUDA where the actor
    has a GPU and ONNX Runtime knows it, else the CPU."""

    @model_validator(mode="after")
    def _made_with_outputs(self) -> OnnxLabelerTable:
        is_told = self.classes or "width" in self.model_fields_set
        if self.made_by is not None and not is_told:
            raise ValueError(
                "has made_by and neither classes nor width; say what the model that is made answers"
            )
        return self

    def own_classes(self, uri: str, where: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return the classes that a `config.json` beside the file names."""
        if "width" in self.model_fields_set:  # then they are numbers, whatever the file says
            return ()
        content = None if uri.endswith(".onnx") else read_model_file(uri, _CONFIG)
        return _named_classes(json.loads(content)) if content else ()

    def build(self, runtime: Runtime) -> Labeler:
        """Open the file. Raises LabelerError where it is not what the table says."""
        return OnnxLabeler(self, runtime)

    def pass_key(self) -> tuple[object, ...]:
        """Outputs of one file are answered by one pass."""
        return (self.layout, self.mean, self.std, self.providers)

    def build_companion(self, first: Labeler, runtime: Runtime) -> Labeler:
        """Build the labeler of another output of the same file. Raises LabelerError as `build`."""
        assert isinstance(first, OnnxLabeler)
        return first.giving(self, runtime)


class OnnxLabeler:
    """One output of an ONNX file."""

    def __init__(self, spec: OnnxLabelerTable, runtime: Runtime) -> None:
        path = runtime.local_model()
        self.session = _session(path, spec, runtime.device)
        self.given = _only_input(self.session, path)
        self.output = _known_output(self.session, spec.output)
        self.spec = spec
        self.normalization = _normalization(spec, path)
        self._require_classes(path)
        self.wanted = [self.output]  # outputs that a pass computes: those of companions too
        self.answers = SharedPass(self._all_answers)

    def giving(self, spec: OnnxLabelerTable, runtime: Runtime) -> OnnxLabeler:
        """Return the labeler of another output, given by the same pass. Raises LabelerError."""
        other = copy.copy(self)
        other.spec = spec
        other.output = _known_output(self.session, spec.output)
        model = runtime.local_model()
        other._require_classes(model)
        self.wanted += [other.output]
        self.answers.is_shared = True
        return other

    def _require_classes(self, path: Path) -> None:
        spec = self.spec
        if spec.class_names and path.is_dir():
            own = _named_classes(_read_json(path / _CONFIG))
            if own:
                require_classes(spec.kind, spec.class_names, own)

    def prepare(self, features: Inputs) -> Array:
        """Return rows as the file sees them."""
        kind = _TYPES[self.given.type]
        is_flat = len(self.given.shape) == 2
        if features.ndim == 2 or is_flat:
            matrix = as_matrix(features)
            return matrix.astype(kind, copy=False)
        images: Array = features
        # a file that takes bytes has its own mean within
        if kind is not np.uint8:
            images = _normal(features, self.normalization)
        if self.spec.layout == "channels_first":
            images = images.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(images, kind)

    def label(self, features: Array) -> Matrix:
        """Return (rows, classes) logits, or (rows, width) numbers."""
        answers = self.answers(features)
        return answers[self.output]

    def _all_answers(self, features: Array) -> dict[str, Matrix]:
        fixed = self.given.shape[0]
        if not isinstance(fixed, int):
            return self._answer(features)
        parts = []
        for start in range(0, len(features), fixed):
            rows = features[start : start + fixed]
            # the file takes so many rows and no other number; zeros fill the last batch
            batch = np.zeros((fixed, *features.shape[1:]), features.dtype)
            count = len(rows)
            batch[:count] = rows
            answers = self._answer(batch)
            parts.append({name: matrix[: len(rows)] for name, matrix in answers.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _answer(self, rows: Array) -> dict[str, Matrix]:
        names = list(dict.fromkeys(self.wanted))
        answers = self.session.run(names, {self.given.name: rows})
        return {name: _flat(answer) for name, answer in zip(names, answers, strict=True)}


def _flat(answer: Any) -> Matrix:
    """An output as a row of numbers a row, without further axes of length 1."""
    matrix: Matrix = np.asarray(answer, np.float32)
    if matrix.ndim > 2 and matrix.shape[2:] == (1,) * (matrix.ndim - 2):
        return matrix.reshape(matrix.shape[:2])
    return matrix


def _session(path: Path, spec: OnnxLabelerTable, device: str) -> Any:
    import onnxruntime

    file = path / _FILE if path.is_dir() else path
    options = onnxruntime.SessionOptions()
    # as many threads as the actor has CPUs, always: another number adds in another order
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # a folder's digest covers what lies beside the file; of one file nothing else may be opened
    source: Any = str(file) if path.is_dir() else file.read_bytes()
    known = onnxruntime.get_available_providers()
    providers = list(spec.providers or _usual_providers(device, known))
    unknown = [name for name in providers if name not in known]
    if unknown:
        raise LabelerError(
            f"a labeler of kind 'onnx': providers = {providers}, but this ONNX Runtime has"
            f" {known}. Name some of these."
        )
    try:
        return onnxruntime.InferenceSession(source, options, providers=providers)
    except Exception as error:
        raise LabelerError(f"{file} is no model that ONNX Runtime opens: {error}") from error


def _usual_providers(device: str, known: Sequence[str]) -> list[str]:
    wanted = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        wanted.insert(0, "CUDAExecutionProvider")
    return [name for name in wanted if name in known]


def _only_input(session: Any, path: Path) -> Any:
    inputs = session.get_inputs()
    names = [f"{each.name} ({each.type})" for each in inputs]
    if len(inputs) != 1 or inputs[0].type not in _TYPES:
        raise LabelerError(
            f"{path} takes {names}, where one input of numbers is due: images (rows, channels,"
            " height, width) or vectors (rows, numbers)."
        )
    return inputs[0]


def _known_output(session: Any, name: str | None) -> str:
    names = [each.name for each in session.get_outputs()]
    if name is not None and name not in names:
        raise LabelerError(f"a labeler of kind 'onnx': output = {name!r}; it has {names}.")
    return name or str(names[0])


def _normalization(spec: OnnxLabelerTable, path: Path) -> Normalization:
    found = None
    if path.is_dir():
        name = str(path)
        found = read_normalization(name, "a labeler of kind 'onnx'")
    own = found or Normalization((0.0,), (1.0,))
    return Normalization(spec.mean or own.mean, spec.std or own.std)


def _normal(images: Inputs, normalization: Normalization) -> Array:
    """Images (B, H, W, C) of bytes less the mean, over the deviation. Raises LabelerError where
    these are of other channels."""
    channels = images.shape[3]
    for numbers in (normalization.mean, normalization.std):
        # numpy would make three channels of one
        if len(numbers) not in (1, channels):
            raise LabelerError(
                f"a labeler of kind 'onnx': its mean and std are of {len(numbers)} channels, and"
                f" images have {channels}. Write mean and std, or give the pool as many channels."
            )
    mean = 255 * np.asarray(normalization.mean, np.float32)
    std = 255 * np.asarray(normalization.std, np.float32)
    normal: Array = (images.astype(np.float32) - mean) / std
    return normal


def _named_classes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in the order of its numbers."""
    given = config.get("id2label")
    named = given or {}
    return tuple(str(named[number]) for number in sorted(named, key=int))


def _read_json(file: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(file.read_bytes()) if file.is_file() else {}
    return found
