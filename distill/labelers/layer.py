"""A layer of a trained network as a labeler: embeddings."""

from __future__ import annotations

import torch
from torch import nn

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.network import as_answer, as_input, load_network
from distill.labelers.runtime import Runtime, computing
from distill.labelers.validation import require_width
from distill.models.custom_source import Code
from distill.models.network import as_tensor
from distill.models.record import ModelRecord


class LayerLabeler:
    """The outputs of one layer, flattened a row."""

    def __init__(
        self,
        folder: str,
        record: ModelRecord,
        layer: str,
        runtime: Runtime,
        width: int,
        *,
        code: Code | None = None,
    ) -> None:
        if record.form != "network":
            raise LabelerError(f"{folder} is no network, so it has no layers. Leave `layer` out.")
        network = load_network(folder, record, code)
        self.network = network.to(runtime.device).eval()
        self.runtime = runtime
        self.width = width
        layers: dict[str, nn.Module] = dict(self.network.named_modules())
        if not layer or layer not in layers:
            names = ", ".join(name for name in layers if name)
            raise LabelerError(f"the network in {folder} has no layer {layer!r}. It has: {names}.")
        # a layer has no way to be asked but by running the network that it is a part of
        self._outputs: list[torch.Tensor] = []
        layers[layer].register_forward_hook(self._remember)

    def _remember(self, _module: nn.Module, _inputs: object, outputs: torch.Tensor) -> None:
        # a layer behind it may change it in place, as ReLU does
        self._outputs.append(outputs.clone())

    def prepare(self, features: Inputs) -> Inputs:
        """Return text as the buckets of its n-grams; numbers and images as they are."""
        return as_input(self.network, features)

    def label(self, features: Inputs) -> Matrix:
        """Return (rows, width). Raises LabelerError where the layer has another width."""
        device = self.runtime.device
        rows = as_tensor(features, device)
        self._outputs.clear()
        with computing(device, self.runtime.precision):
            self.network(rows)
        # a network may run a layer several times: the last counts
        last = self._outputs.pop()
        flat = last.flatten(1)
        embeddings = as_answer(flat)
        require_width("student", self.width, embeddings.shape[1])
        return embeddings
