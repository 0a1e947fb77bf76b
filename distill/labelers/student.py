"""A model that distill trained as a labeler: yesterday's student teaches the next, by a head or by
what a layer says."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from distill.core.errors import LabelerError
from distill.core.source import PythonFile
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.eszsl.labeler import EszslLabeler
from distill.labelers.network import NetworkLabeler, as_answer, as_input, load_network
from distill.labelers.runtime import Runtime, computing
from distill.labelers.validation import require_classes, require_width
from distill.models.custom_source import Code
from distill.models.files import ModelFiles
from distill.models.network import as_tensor
from distill.models.record import ModelRecord, read_record
from distill.spec.ready import StudentLabeler
from distill.storage.open import open_storage


def student_labeler(
    spec: StudentLabeler,
    files: ModelFiles,
    device: str,
    precision: str,
    source: PythonFile | None = None,
) -> Labeler:
    """The labeler of the model in the folder `files.uri`; `source` has what the user wrote of its
    network.

    Raises LabelerError where it is not what the job says.
    """
    folder = files.uri
    record = read_record(open_storage(folder))
    if record is None:
        raise LabelerError(
            f"{folder} has no done.json, so no finished model of distill's lies there. Give"
            " <root>/students/<name>/<digest>."
        )
    if record.sha256 != files.sha256:
        raise LabelerError(
            f"the model in {folder} has sha256 {record.sha256}, where {files.sha256} is due."
            " Restore it, or pin the one that is there."
        )
    code = dict.fromkeys((record.plan or {}).get("code", {}), source) if source else {}
    if spec.layer is not None:
        return LayerLabeler(
            folder, record, spec.layer, Runtime(Path(), device, precision), spec.width, code=code
        )
    head = spec.head or next(iter(record.heads))
    if head not in record.heads:
        raise LabelerError(f"{folder} has no head {head!r}. It has: {', '.join(record.heads)}.")
    if spec.class_names:
        require_classes(spec.kind, spec.class_names, record.heads[head].classes)
        if spec.exclusive != record.heads[head].exclusive:
            raise LabelerError(
                f"head {head!r} of {folder} says {record.heads[head].said}. Set independent ="
                f" {str(spec.exclusive).lower()}."
            )
    else:
        require_width(spec.kind, spec.width, record.widths[head])
    if record.form == "eszsl":
        return EszslLabeler.load(folder, record)
    return NetworkLabeler.load(
        folder, record, code=code, device=device, precision=precision, head=head
    )


class LayerLabeler:
    """Answers what one layer says, flattened a row: an embedding."""

    def __init__(
        self,
        folder: str,
        record: ModelRecord,
        layer: str,
        place: Runtime,
        width: int,
        *,
        code: Code | None = None,
    ) -> None:
        if record.form != "network":
            raise LabelerError(f"{folder} is no network, so it has no layers. Leave `layer` out.")
        self.network, self.place, self.width = (
            load_network(folder, record, code).to(place.device).eval(),
            place,
            width,
        )
        layers: dict[str, nn.Module] = dict(self.network.named_modules())
        if not layer or layer not in layers:
            raise LabelerError(
                f"the network in {folder} has no layer {layer!r}. It has:"
                f" {', '.join(filter(None, layers))}."
            )
        self._said: list[torch.Tensor] = []
        layers[layer].register_forward_hook(lambda _module, _given, said: self._said.append(said))

    def prepare(self, features: Inputs) -> Inputs:
        """Text as the places of its n-grams; numbers and images as they are."""
        return as_input(self.network, features)

    def label(self, features: Inputs) -> Matrix:
        """(rows, width)."""
        self._said.clear()
        with computing(self.place.device, self.place.precision):
            self.network(as_tensor(features, self.place.device))
        answered = as_answer(self._said.pop().flatten(1))
        require_width("student", self.width, answered.shape[1])
        return answered
