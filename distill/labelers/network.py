"""A trained network as a labeler: the teacher f_L, and every student."""

from __future__ import annotations

import numpy as np
import safetensors.torch
import torch

from distill.labelers.base import Matrix, Seen
from distill.models import ModelRecord, NetworkPlan, read_weights
from distill.models.network import MultiHead
from distill.pool import as_matrix
from distill.storage import open_storage


class NetworkLabeler:
    """Answers with one head of a network."""

    def __init__(self, network: MultiHead, *, head: str, device: str, precision: str = "float32") -> None:
        self.network = network.to(device).eval()
        self.head, self.device = head, device
        self.dtype = torch.bfloat16 if precision == "bfloat16" else None

    @classmethod
    def load(
        cls, folder: str, record: ModelRecord, *, device: str = "cpu", precision: str = "float32", head: str = ""
    ) -> NetworkLabeler:
        """From storage, the weights' sha256 checked. Without `head`: the first. Raises StorageError."""
        return cls(
            load_network(folder, record), head=head or next(iter(record.heads)), device=device, precision=precision
        )

    def label(self, features: Seen) -> Matrix:
        with (
            torch.inference_mode(),
            torch.autocast(self.device.split(":")[0], self.dtype, enabled=self.dtype is not None),
        ):
            answered = self.network(torch.from_numpy(as_matrix(features)).to(self.device))[self.head]
        made: Matrix = answered.float().cpu().numpy().astype(np.float32, copy=False)
        return made


def load_network(folder: str, record: ModelRecord) -> MultiHead:
    """A trained network from its plan and its safetensors. Raises StorageError."""
    assert record.plan is not None
    network = MultiHead(NetworkPlan.from_plain(record.plan))
    network.load_state_dict(safetensors.torch.load(read_weights(open_storage(folder), record)))
    return network.eval()
